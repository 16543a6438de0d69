"""Hostile input on real parts: the commands of the page about it, with fewer inputs."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.commands import commands_of

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = commands_of(ROOT / "docs" / "hostile-input.rst")
WITHIN_S = 400


def test_the_page_shows_commands():
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_input_ends_in_errors_and_closed_links(command):
    inputs = 100 if "--part router" in command else 2_000
    words = shlex.split(re.sub(r"--inputs \d+", f"--inputs {inputs}", command))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    assert "inputs, seed" in done.stdout or "nothing is wrong" in done.stdout
