"""Hostile input on real parts: the commands of the page about it; the one for one part with fewer inputs."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.commands import commands_of

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = commands_of(ROOT / "docs" / "hostile-input.rst")
WITHIN_S = 900


def test_the_page_shows_commands():
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_input_ends_in_errors_and_closed_links(command):
    fewer = re.sub(r"--inputs \d+", "--inputs 100", command) if "--part" in command else command
    words = shlex.split(fewer)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    assert "inputs, seed" in done.stdout or "nothing is wrong" in done.stdout
