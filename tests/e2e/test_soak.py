"""`scripts/soak`, for as long as a test may take: what it prints, and that it ends in order."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e.installation import processes_of
from tests.soak.figures import (
    Series,
    Span,
    after_warm_up,
    caches_full,
    descriptor_line,
    latency_line,
    memory_line,
    slope,
)

ROOT = Path(__file__).resolve().parents[2]


def documented_commands() -> list[str]:
    text = (ROOT / "docs" / "network.rst").read_text()
    return [line.strip()[2:] for line in text.splitlines() if line.startswith("   $ ")]


def soak(tmp_path, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [str(ROOT / "scripts" / "soak"), *options],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(tmp_path, process: subprocess.Popen) -> str:
    try:
        shown, _ = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        left = processes_of(tmp_path)
        for one in left:
            one.kill()
    assert left == [], shown
    assert list(tmp_path.glob("controlplane-soak-*")) == [], "the state is removed"
    return shown


def test_a_short_soak_converges_and_nothing_piles_up(tmp_path):
    out = tmp_path / "soak.json"
    process = soak(tmp_path, "--hours", "0.004", "--agents", "2", "--no-routers", "--out", str(out))
    shown = finish(tmp_path, process)
    assert process.returncode == 0, shown
    assert re.search(r"0 problems; settled [1-9]", shown), shown
    report = json.loads(out.read_text())
    assert report["problems"] == []
    assert report["done"]["scale"] > 0
    for name in ("router", "master", "node2"):
        times, descriptors = report["series"][f"descriptors {name}"]
        assert len(times) > 5
        # A few are opened for the first calls and stay.
        assert max(descriptors[len(descriptors) // 2 :]) <= max(descriptors[: len(descriptors) // 2 + 1]) + 2, name
    shown = {line["name"] for line in report["lines"]}
    assert shown >= {"memory of master", "master, second half", "store / live data", "read, p99"}
    assert all(line["kept"] is None for line in report["lines"]), "too short to judge"


def test_the_soak_of_the_documents_ends_in_order_with_its_report_when_it_is_interrupted(tmp_path):
    (command,) = (command for command in documented_commands() if command.startswith("scripts/soak"))
    options = command.replace("soak.json", str(tmp_path / "soak.json")).split()[1:]
    process = soak(tmp_path, *options)
    shown = process.stdout.readline() + process.stdout.readline()
    assert "changes and reads per second" in shown
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    shown += finish(tmp_path, process)
    assert process.returncode == 0, shown
    assert "memory of master" in shown
    assert "stopping: agents" in shown
    assert "Traceback" not in shown
    assert json.loads((tmp_path / "soak.json").read_text())["problems"] == []


def growing(per_hour: float, hours: float = 2.0) -> Series:
    series = Series()
    for step in range(201):
        time = hours * 3600 * step / 200
        series.add(time, 100e6 + per_hour * time / 3600)
    return series


def test_slopes_are_those_of_the_line_that_fits_best():
    assert slope([0, 1, 2], [5, 7, 9]) == 2
    assert slope([0, 1, 2, 3], [1, -1, 1, -1]) == -0.4
    assert slope([1], [5]) == slope([2, 2], [1, 9]) == 0
    assert abs(growing(3e6).slope(*after_warm_up(7200)) - 3e6) < 1


def test_memory_is_judged_when_caches_have_filled():
    series = growing(40e6, hours=0.5)
    for step in range(201):
        series.add(1800 + 9 * step, 120e6)
    whole, half = (memory_line("m", series, of(3600), judged=True) for of in (after_warm_up, caches_full))
    assert (whole.kept, half.kept, half.change) == (False, True, "+0.00 MB/h")


def test_what_grows_is_missed_and_what_does_not_is_kept():
    span = after_warm_up(7200)
    assert span.begin == 900
    assert memory_line("m", growing(1.5e6), span, judged=True).kept is False
    assert memory_line("m", growing(0.5e6), span, judged=True).kept is True
    assert memory_line("m", growing(1.5e6), span, judged=False).kept is None
    assert memory_line("m", growing(1.5e6), Span(10, 60), judged=True).kept is None
    assert memory_line("m", growing(1.5e6), caches_full(1000), judged=True).kept is None
    assert descriptor_line("d", growing(20), span, judged=True).kept is False
    assert descriptor_line("d", growing(0), span, judged=True).kept is True
    assert latency_line("l", growing(0), span, 0.99).kept is True
    assert latency_line("l", growing(20e6), span, 0.99).kept is False
