"""Every benchmark runs, on sizes that tell nothing, so that none is found broken when a figure is wanted."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted

from controlplane.paths import free_port
from tests.bench.__main__ import MODULES
from tests.e2e.installation import Installation, running

SMALL = {
    "writes": {"rounds": 1, "single": 5, "group": 250},
    "planner": {"nodes": 20, "workers": 200, "cluster": (20, 200), "rounds": 1},
    "growth": {"small": (10, 200), "large": (20, 400), "changes": 2},
    "lists": {"objects": 300, "rounds": 1},
    "restart": {"small": (10, 200), "large": (20, 400), "rounds": 1},
}
SMALL_ON_REAL_PARTS = {
    "calls": {"sequential": 5, "parallel": 100},
    "changes": {"noop_changes": 2, "real_changes": 1},
    "actions": {"clusters": 2, "actions": 6, "signals": 1},
    "joins": {"rounds": 1, "seconds": 0.5},
    "footprint": {"help_runs": 1, "settle": 0.1},
    "fanout": {"consoles": (2,), "rounds": 1},
    # Last, for it restarts the router.
    "crowd": {"agents": 6, "warm_up": 2, "idle": 0.5},
}


@pytest_twisted.async_yield_fixture(scope="module")
async def one_node(tmp_path_factory):
    """Router, master and one agent."""
    made = Installation(tmp_path_factory.mktemp("bench"), nodes=1)
    made.webhooks = free_port(0)
    made.children.master_options = ["--webhook-port", str(made.webhooks)]
    async with running(made):
        yield made


def test_every_benchmark_is_tried_here():
    known = {path.stem for path in Path("tests/bench").glob("*.py") if "async def run(" in path.read_text()}
    assert known == set(MODULES) == {*SMALL, *SMALL_ON_REAL_PARTS}


@pytest.mark.parametrize("name", SMALL)
@pytest_twisted.ensureDeferred
async def test_a_benchmark_measures_something(name):
    assert_measured(await importlib.import_module(f"tests.bench.{name}").run(**SMALL[name]))


@pytest.mark.parametrize("name", SMALL_ON_REAL_PARTS)
@pytest_twisted.ensureDeferred
async def test_a_benchmark_on_real_parts_measures_something(one_node, name):
    assert_measured(await importlib.import_module(f"tests.bench.{name}").run(one_node, **SMALL_ON_REAL_PARTS[name]))


def assert_measured(figures):
    assert figures
    for figure in figures:
        assert 0 <= figure.ratio < float("inf"), figure.line()


def test_a_benchmark_that_there_is_not_is_refused_with_those_there_are():
    found = subprocess.run([sys.executable, "-m", "tests.bench", "nope"], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "there is no benchmark nope; there are calls, writes" in found.stderr
    assert "Traceback" not in found.stderr
