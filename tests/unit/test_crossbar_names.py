"""Every name that Crossbar.io's programs use is there: nothing of them ends in a missing procedure."""

import re
from importlib.metadata import files
from pathlib import Path

import pytest

from controlplane.master.plane import PROCEDURES

NAME = re.compile(r"[\"'](crossbarfabriccenter\.[a-z_.]*[a-z])[\"']")


def source_of(part):
    """The text of one part of Crossbar.io, as it is installed; it is read, and not imported."""
    found = [file for file in files("crossbar") or () if str(file).startswith(f"crossbar/{part}")]
    return "\n".join(Path(file.locate()).read_text() for file in found if file.suffix == ".py")


@pytest.mark.parametrize("part", ["shell/command.py", "edge/node/node.py"])
def test_every_procedure_that_crossbar_calls_is_there(part):
    called = {name for name in NAME.findall(source_of(part)) if ".on_" not in name}
    called -= {"crossbarfabriccenter.node"}  # The beginning of the names that a node offers itself.
    assert called
    assert sorted(called - PROCEDURES.keys()) == []


@pytest.mark.parametrize("api", ["node", "router", "proxy", "worker", "container", "tracing", "docker"])
def test_every_procedure_that_its_master_passes_on_is_passed_on(api):
    text = source_of(f"master/api/{api}.py")
    procedures = text[text.index("PROCS = ") : text.index("EVENTS = ")]
    names = {first for first, _ in re.findall(r"\(u?[\"']([a-z_]+)[\"'], u?[\"']([a-z_]+)[\"']\)", procedures)}
    plain = re.sub(r"\(.*?\)", "", procedures)
    names |= {name for name in re.findall(r"u?[\"']([a-z_]+)[\"'],", plain) if name not in ("node", "worker")}
    # A Python shell in the controller of a node, for whoever has one key: nobody shall open that.
    names -= {"start_manhole", "stop_manhole", "get_manhole"}
    assert names
    missing = {name for name in names if f"crossbarfabriccenter.remote.{api}.{name}" not in PROCEDURES}
    assert missing == set()
