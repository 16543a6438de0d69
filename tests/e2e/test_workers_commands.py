"""The commands of docs/workers.rst, run as a user would run them."""

import os
from pathlib import Path

from tests.e2e.commands import commands_of, run_commands

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "workers.rst"


def test_commands_of_the_page_on_workers(tmp_path, monkeypatch):
    # No engine, whatever there is on this machine: the agent offers its other driver.
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    commands = commands_of(DOCUMENT)
    assert any("create_profile" in command for command in commands)
    said = run_commands(commands, tmp_path)
    assert said.count("http://127.0.0.1:") == 3
    assert os.path.isdir(tmp_path / "state" / "edge1" / "drivers" / "process")
