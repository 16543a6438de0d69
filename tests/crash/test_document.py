"""The page on crashes: its commands work, and the points that it names are those that there are."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.crash.points import AGENT_POINTS, COMMIT_POINTS, MASTER_POINTS
from tests.e2e.commands import commands_of, run_commands

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "crashes.rst"


def test_every_command_of_the_page_on_crashes_works(tmp_path):
    commands = commands_of(PAGE)
    ours = [command for command in commands if command.startswith("controlplane ")]
    scripts = [command for command in commands if command.startswith("scripts/")]
    assert len(ours) == 5
    assert len(scripts) == len(commands) - 5 == 2
    assert run_commands(ours, tmp_path).count("is whole") == 2
    for command in scripts:
        ended = subprocess.run(
            command.split(),
            cwd=ROOT,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        assert "took" in ended.stdout


def test_the_page_names_every_point():
    text = PAGE.read_text()
    for point in (*MASTER_POINTS, *AGENT_POINTS, *COMMIT_POINTS):
        name = point.name.partition(".")[0]
        assert re.search(rf"``({name}|{re.escape(point.name)})``", text), point.name
