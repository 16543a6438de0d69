"""`scripts/dev` and the commands of the documents, run as a new user would run them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.commands import commands_of, run_commands
from tests.e2e.installation import processes_of

ROOT = Path(__file__).resolve().parents[2]


class Dev:
    """A running `scripts/dev`."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.output = directory.parent / f"{directory.name}.out"
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen(
                [str(ROOT / "scripts" / "dev"), "--state-dir", str(directory), *options],
                cwd=directory.parent,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_ready(self, within: float = 90.0) -> dict:
        end = time.monotonic() + within
        file = self.directory / "connection.json"
        while not file.exists():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)
        return json.loads(file.read_text())

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def cleanup(self) -> list:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        left = processes_of(self.directory)
        for process in left:
            process.kill()
        return left


def controlplane(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "controlplane", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def status(directory: Path) -> dict:
    done = controlplane("status", "--json", "--connection", str(directory / "connection.json"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_one_command_runs_the_main_job_and_ctrl_c_leaves_nothing_and_it_can_be_resumed(tmp_path):
    directory = tmp_path / "state"
    dev = Dev(directory)
    try:
        connection = dev.wait_ready()
        assert connection.keys() == {"url", "realm", "authid", "authrole", "privkey_file"}
        (cluster,) = status(directory)["clusters"]
        assert cluster["status"] == "RUNNING"
        frontends = [w for w in cluster["workers"] if w["workergroup_oid"]]
        assert len(frontends) == 4
        assert len({w["node_oid"] for w in frontends}) == 2
        oids = {w["oid"] for w in cluster["workers"]}
        shown = dev.text()
        assert re.search(r"ws://127\.0\.0\.1:\d+/", shown), shown
        assert shown.index("routercluster_starting") < shown.index("routercluster_started")
        assert dev.stop() == 0
        assert processes_of(directory) == []
        again = Dev(directory)
        try:
            again.wait_ready()
            (resumed,) = status(directory)["clusters"]
            assert resumed["oid"] == cluster["oid"]
            assert {w["oid"] for w in resumed["workers"]} == oids
            assert again.stop() == 0
        finally:
            assert again.cleanup() == []
    finally:
        assert dev.cleanup() == []
    assert "Traceback" not in dev.text()
    assert "_ARRAY_API" not in dev.text()


def test_an_empty_installation_has_as_many_nodes_as_asked_for_and_no_cluster(tmp_path):
    dev = Dev(tmp_path / "state", "--empty", "--nodes", "3")
    try:
        dev.wait_ready()
        found = status(tmp_path / "state")
        assert [node["name"] for node in found["nodes"]] == ["node1", "node2", "node3"]
        assert {node["status"] for node in found["nodes"]} == {"online"}
        assert found["clusters"] == []
        connection = str(tmp_path / "state" / "connection.json")
        refused = controlplane("call", "create_routercluster", '{"name": "X"}', CONTROLPLANE_CONNECTION=connection)
        assert refused.returncode == 1
        assert "wamp.error.invalid_configuration" in refused.stderr
        assert "$.name" in refused.stderr
        assert "Traceback" not in refused.stderr
        dev.process.send_signal(signal.SIGTERM)
        assert dev.process.wait(60) == 0
    finally:
        assert dev.cleanup() == []


def test_what_dies_under_dev_is_started_again_and_who_watches_goes_on(tmp_path):
    dev = Dev(tmp_path / "state", "--empty", "--nodes", "1")
    watching = None
    try:
        dev.wait_ready()
        connection = str(tmp_path / "state" / "connection.json")
        with open(tmp_path / "events", "wb") as out:
            watching = subprocess.Popen(
                [sys.executable, "-m", "controlplane", "events", "-f", "--json", "--connection", connection],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        for name in ("agent", "master", "router"):
            seen = dev.text().count("starting it again")
            child_of(dev, name).kill()
            wait_until(lambda seen=seen: dev.text().count("starting it again") == seen + 1, dev.text)
            wait_until(lambda: node_is_online(connection), dev.text)
        assert (
            controlplane("call", "create_routercluster", '{"name": "late"}', "--connection", connection).returncode == 0
        )
        wait_until(lambda: "late" in (tmp_path / "events").read_text(), dev.text)
        numbers = [
            json.loads(line)["payload"]["seq"]
            for line in (tmp_path / "events").read_text().splitlines()
            if line.startswith("{")
        ]
        assert numbers == list(range(1, len(numbers) + 1))
        wait_until(lambda: "routercluster_created" in dev.text(), dev.text)
        watching.kill()
        watching.wait()
        assert dev.stop() == 0
        assert processes_of(dev.directory) == []
    finally:
        if watching is not None:
            watching.kill()
            watching.wait()
        assert dev.cleanup() == []
    assert "Traceback" not in dev.text()


def child_of(dev: Dev, name: str) -> psutil.Process:
    word = {"agent": "controlplane.agent", "master": "master", "router": "crossbar-controller"}[name]
    family = [psutil.Process(dev.process.pid), *psutil.Process(dev.process.pid).children(recursive=True)]
    (top,) = [process for process in family if "dev" in process.cmdline() and "-m" in process.cmdline()]
    (found,) = [child for child in top.children() if word in child.cmdline()]
    return found


def node_is_online(connection: str) -> bool:
    listed = controlplane("call", "list_nodes", "--kw", "filter_by_status=online", "--connection", connection)
    return listed.returncode == 0 and len(json.loads(listed.stdout)) == 1


def wait_until(reached, text, within: float = 60.0) -> None:
    end = time.monotonic() + within
    while not reached():
        assert time.monotonic() < end, text()
        time.sleep(0.1)


def test_a_killed_dev_takes_everything_with_it(tmp_path):
    dev = Dev(tmp_path / "state", "--empty", "--nodes", "1")
    try:
        dev.wait_ready()
        dev.process.kill()
        dev.process.wait()
        end = time.monotonic() + 30
        while processes_of(dev.directory) and time.monotonic() < end:
            time.sleep(0.2)
        assert processes_of(dev.directory) == []
    finally:
        dev.cleanup()


def test_every_command_of_the_readme_works(tmp_path):
    commands = commands_of(ROOT / "README.rst")
    assert len(commands) > 15
    run_commands(commands, tmp_path)
    assert (tmp_path / "state.backup").exists()


def test_every_command_of_the_pages_on_limits_and_idempotency_works(tmp_path):
    limits, idempotency = (commands_of(ROOT / "docs" / f"{name}.rst") for name in ("limits", "idempotency"))
    assert len(limits) == 3
    assert len(idempotency) == 2
    said = run_commands([*limits, "export CONTROLPLANE_CONNECTION=state/connection.json", *idempotency], tmp_path)
    first, again = (json.loads(part) for part in re.findall(r"^\{.*?^\}$", said, re.MULTILINE | re.DOTALL)[-2:])
    assert first == again
    assert first["name"] == "shop"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "init",
        "router",
        "master",
        "agent",
        "dev",
        "status",
        "call",
        "events",
        "wait",
        "key",
        "backup",
        "restore",
        "certificate",
    ],
)
def test_help_shows_defaults_and_no_traceback(command):
    done = controlplane(*([command] if command else []), "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    if command in ("master", "agent"):
        assert "[default:" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_cannot_be_done_is_said_in_words(tmp_path):
    for arguments in (
        ("status", "--connection", str(tmp_path / "nothing.json")),
        ("backup", str(tmp_path / "file"), "--state-dir", str(tmp_path)),
        ("restore", str(tmp_path / "file"), "--state-dir", str(tmp_path)),
        ("master", "--state-dir", str(tmp_path / "m"), "--log-format", "xml"),
        ("agent", "--state-dir", str(tmp_path / "a"), "--first-port", "0"),
        ("agent", "--state-dir", str(tmp_path / "a"), "--drivers", "nonsense"),
        ("router", "--state-dir", str(tmp_path / "r")),
        ("master", "--config", str(tmp_path / "none.toml")),
    ):
        done = controlplane(*arguments)
        assert done.returncode == 1, (arguments, done.stdout, done.stderr)
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
