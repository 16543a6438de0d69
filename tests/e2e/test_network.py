"""Some of the scenarios of `scripts/netns`, which runs them all: real processes on machines that are namespaces."""

import os
import subprocess
from pathlib import Path

import pytest
import pytest_twisted

from tests.e2e.installation import end_what_is_left
from tests.netns.lines import CUT, GOOD, Conditions, Line, resets
from tests.netns.machines import why_not
from tests.netns.running import run_scenario
from tests.netns.scenarios import SCENARIOS
from tests.netns.world import World

ROOT = Path(__file__).resolve().parents[2]
REASON = why_not()
needs_namespaces = pytest.mark.skipif(REASON is not None, reason=REASON or "")


@pytest_twisted.async_yield_fixture(scope="module")
async def world(tmp_path_factory):
    """Router and master, three agents and two clients, each on a machine of its own."""
    made = World(tmp_path_factory.mktemp("network"))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
        end_what_is_left(made.directory)


@needs_namespaces
@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS.values() if scenario.suite])
@pytest_twisted.ensureDeferred
async def test_whatever_the_network_does_workers_run_on_and_the_plane_converges_afterwards(world, name):
    outcome = await run_scenario(world, SCENARIOS[name])
    assert outcome.harmed > 0, "the scenario did no harm, so it shows nothing"


def test_the_commands_of_the_page_about_networks_work(tmp_path):
    text = (ROOT / "docs" / "network.rst").read_text()
    commands = [line.strip()[2:] for line in text.splitlines() if line.startswith("   $ scripts/netns")]
    assert len(commands) == 2
    for command in commands:
        done = subprocess.run(
            [str(ROOT / command.split()[0]), *command.split()[1:]],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        if REASON is None or "--list" in command:
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            assert done.returncode == 77
            assert REASON in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert list(tmp_path.glob("controlplane-netns-*")) == []


def test_every_scenario_is_named_in_the_documents():
    assert len(SCENARIOS) >= 30
    text = (ROOT / "docs" / "network.rst").read_text()
    assert [name for name in SCENARIOS if f"``{name}``" not in text] == []


class TurnedClock:
    """Remembers what is to be delivered later."""

    def __init__(self):
        self.now, self.later = 0.0, []

    def seconds(self):
        return self.now

    def callLater(self, delay, call, *args):  # noqa: N802
        self.later.append((self.now + delay, call, args))


def carried(conditions, packet=b"\x45" + bytes(59), times=400):
    """What arrives of so many packets, at once and later, and the line itself."""
    from random import Random

    clock = TurnedClock()
    line = Line(clock, Random(1))
    line.conditions = conditions
    at_once = []
    for _ in range(times):
        line.carry(packet, at_once.append, lambda _: None)
    return at_once, clock.later, line


def test_a_line_does_the_harm_that_its_conditions_say():
    assert len(carried(GOOD)[0]) == 400
    assert carried(CUT)[:2] == ([], [])
    lost = 400 - len(carried(Conditions(loss=0.3))[0])
    assert 80 < lost < 160
    at_once, later, _ = carried(Conditions(delay=0.2, jitter=0.1))
    assert at_once == []
    assert {round(due, 1) for due, _, _ in later} == {0.1, 0.2, 0.3}
    at_once, later, _ = carried(Conditions(delay=0.2, overtake=0.5))
    assert 150 < len(at_once) < 250
    assert len(carried(Conditions(duplicate=0.5))[0]) > 500
    changed = [packet for packet in carried(Conditions(corrupt=1.0))[0] if packet != b"\x45" + bytes(59)]
    assert len(changed) == 400
    assert all(sum(bin(a ^ b).count("1") for a, b in zip(p, b"\x45" + bytes(59), strict=True)) == 1 for p in changed)
    assert carried(Conditions(size_max=59))[0] == []
    assert len(carried(Conditions(size_max=60))[0]) == 400
    _, later, line = carried(Conditions(bits_per_second=4800))
    assert [round(due, 1) for due, _, _ in later[:3]] == [0.1, 0.2, 0.3]
    assert line.seen["lost"] == 380, "the queue of a slow line is short"


def test_only_connections_are_reset():
    assert resets(bytes(60)) is None
    assert resets(b"\x45" + bytes(8) + b"\x11" + bytes(50)) is None
