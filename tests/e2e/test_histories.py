"""The commands of the page about calls at the same time, with fewer histories."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.commands import commands_of

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = commands_of(ROOT / "docs" / "concurrency.rst")
WITHIN_S = 300


def test_the_page_shows_commands():
    assert len(COMMANDS) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_histories_have_an_order_unless_a_defect_is_planted(command):
    fewer = command if "--defect" in command else re.sub(r"--histories \d+", "--histories 2", command)
    done = subprocess.run(
        ["bash", "-c", fewer], cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    assert "histories from seed" in done.stdout
    assert ("found" in done.stdout) == ("no order" in done.stderr) == ("--defect" in command)
