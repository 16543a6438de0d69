"""Two hundred seeds of the simulation, and that a seed tells the same story whenever and wherever it is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import __main__ as command
from tests.simulation.__main__ import main
from tests.simulation.run import run_seed

ROOT = Path(__file__).parents[2]
SEEDS = 200
CHUNK = 10
AGENTS = 10


@pytest.fixture(scope="module")
def outcomes():
    """What came of every seed, worked out by as many processes as there are cores."""
    return {outcome.seed: outcome for outcome in command.outcomes(range(SEEDS), None, command.cores())}


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_nothing_acknowledged_is_lost_and_the_plane_always_converges(outcomes, first):
    failed = {}
    for seed in range(first, first + CHUNK):
        outcome = outcomes[seed]
        if outcome.problem is not None:
            failed[seed] = f"{outcome.problem}; replay it: scripts/simulate --replay {seed}"
        assert outcome.commits > 10
    assert not failed


def test_a_seed_tells_the_same_story_every_time():
    first, second = run_seed(7), run_seed(7)
    assert first.lines == second.lines
    assert first.digest == second.digest
    assert run_seed(8).digest != first.digest


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_a_seed_tells_the_same_story_in_another_process(hash_seed):
    command = [sys.executable, "-m", "tests.simulation", "--replay", "11"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=True)
    outcome = run_seed(11)
    *lines, last = done.stdout.splitlines()
    assert lines == "\n".join(outcome.lines).splitlines()
    assert last == f"seed 11: passed; trace {outcome.digest}"


def test_ten_agents_can_be_asked_for():
    outcome = run_seed(3, AGENTS)
    assert outcome.problem is None
    assert sum(f"node{number} starts its agent" in "\n".join(outcome.lines) for number in range(AGENTS)) == AGENTS


def test_the_command_prints_figures_and_says_that_all_is_well(capsys):
    assert main(["--seeds", "0-3"]) == 0
    printed = capsys.readouterr().out
    for part in ("seeds per minute", "times real time", "faults in all", "failed: none"):
        assert part in printed


def test_the_command_counts_the_seeds_that_find_a_planted_defect(capsys, monkeypatch):
    some = ("one-too-many", "silent-after-failures")
    monkeypatch.setattr(command, "ALL", [defect for defect in command.ALL if defect.name in some])
    assert main(["--teeth", "--seeds", "0-1"]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2  one-too-many" in printed
    assert "0 of 2  silent-after-failures (every tick" in printed


def test_a_range_that_cannot_be_read_is_refused(capsys):
    for wrong in ("x", "9-3", ""):
        with pytest.raises(SystemExit) as ended:
            main(["--seeds", wrong])
        assert ended.value.code == 2
    assert "0-199" in capsys.readouterr().err
