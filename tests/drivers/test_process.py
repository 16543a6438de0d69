"""What is the process driver's alone: keepers, trees of processes, logs, checks, users, limits, ports."""

import contextlib
import os
import pwd
import re
import signal
import subprocess
import sys
from uuid import uuid4

import msgspec
import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from controlplane.core.placeholders import escape
from controlplane.drivers.driver import Adopts, Operates
from controlplane.drivers.process.adoption import listening
from controlplane.drivers.process.remains import marked
from controlplane.errors import CannotAdopt, InvalidArgument, WorkerFailed
from controlplane.records.workers import WorkerSpec
from tests.drivers.benches import PAGE, PYTHON, SCHEME, ProcessBench, sleep, until
from tests.e2e.test_router_driver import free_ports

test = pytest_twisted.ensureDeferred


@pytest_twisted.async_yield_fixture
async def bench(tmp_path):
    made = ProcessBench(tmp_path, free_ports(20))
    await made.open()
    try:
        yield made
    finally:
        await made.end()
        assert marked(str(tmp_path)) == {}


def python(script):
    return [PYTHON, "-I", "-S", "-c", script]


def said(bench, script, **properties):
    """A worker that runs a script and then sleeps; it is ready when it says so."""
    command = python(f"{script}\nprint('it is said', flush=True)\nimport time\ntime.sleep(600)")
    ready = {"check": {"kind": "log", "text": "it is said"}, "timeout": 20}
    return bench.spec(**{"command": command, "ports": {}, "ready": ready, **properties})


async def logs(bench, oid, lines=100):
    return await bench.driver.logs(oid, lines, 100_000)


def keeper_of(unit):
    return psutil.Process(unit.pid).parent()


# Keepers


@test
async def test_a_worker_outlives_an_agent_that_is_killed_and_its_end_is_known_afterwards(bench):
    await bench.close(keep=True)
    script = "import os, signal\nsignal.signal(10, lambda *_: (os.write(1, b'goodbye'), os._exit(7)))"
    spec = said(bench, script)
    ports = [str(port) for port in bench.surroundings.ports]
    command = [sys.executable, "-m", "tests.drivers.dying_agent", str(bench.home), *ports]
    agent = subprocess.Popen([*command, msgspec.json.encode(spec)], stdout=subprocess.PIPE, text=True)
    pid = int(agent.stdout.readline())
    agent.kill()
    agent.communicate()
    assert psutil.pid_exists(pid)

    await bench.open()
    unit = bench.adopted[spec.oid]
    assert unit.pid == pid
    keeper = keeper_of(unit)
    await bench.close(keep=True)
    os.kill(pid, signal.SIGUSR1)
    await until(lambda: not keeper.is_running())
    await bench.open()
    reason = await bench.losses.of(spec.oid, within=10)
    assert re.search("exited with code 7; last it said: .*goodbye; that was while no agent was here", reason)


@test
async def test_the_reason_of_a_loss_is_how_it_ended_with_its_last_words(bench):
    unit = await bench.start(said(bench, "print('one')\nprint('two')"))
    os.kill(unit.pid, signal.SIGABRT)
    reason = await bench.losses.of(unit.oid, within=10)
    assert reason == "was killed by signal 6; last it said: one | two | it is said"


@test
async def test_everything_that_a_worker_has_started_ends_with_it(bench):
    script = (
        "import os, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(600)\n"
        "        os._exit(0)\n"
    )
    unit = await bench.start(said(bench, script))
    keeper = keeper_of(unit)
    await until(lambda: len(keeper.children()) == 4)
    family = keeper.children(recursive=True)
    assert (await bench.driver.statistics(unit.oid))["processes"] == 4
    await bench.driver.stop(unit.oid)
    assert [each for each in (keeper, *family) if each.is_running()] == []


@test
async def test_what_a_worker_has_started_ends_with_it_when_it_dies_by_itself(bench):
    unit = await bench.start(said(bench, "import os, time\nif os.fork() == 0: os.setsid(); time.sleep(600)"))
    family = keeper_of(unit).children(recursive=True)
    os.kill(unit.pid, signal.SIGKILL)
    await bench.losses.of(unit.oid, within=10)
    await until(lambda: not any(each.is_running() for each in family))


@test
async def test_a_worker_without_its_keeper_is_ended_and_lost(bench):
    unit = await bench.start(said(bench, "import os, time\nif os.fork() == 0: time.sleep(600)"))
    keeper = keeper_of(unit)
    family = keeper.children(recursive=True)
    keeper.kill()
    assert "keeper" in await bench.losses.of(unit.oid, within=10)
    await until(lambda: not any(each.is_running() for each in family))


@test
async def test_a_worker_whose_keeper_died_with_the_agent_away_is_ended(bench):
    unit = await bench.start(said(bench, ""))
    keeper = keeper_of(unit)
    await bench.close(keep=True)
    keeper.kill()
    await until(lambda: not keeper.is_running() or keeper.status() == psutil.STATUS_ZOMBIE)
    await bench.open()
    assert not bench.alive(unit)
    assert "keeper" in await bench.losses.of(unit.oid, within=10)


@test
async def test_a_worker_is_stopped_although_its_keeper_or_itself_is_held(bench):
    one, two = await bench.start(said(bench, "")), await bench.start(said(bench, ""))
    keeper_of(one).suspend()
    os.kill(two.pid, signal.SIGSTOP)
    held = psutil.STATUS_STOPPED
    await until(lambda: keeper_of(one).status() == held and psutil.Process(two.pid).status() == held)
    await bench.driver.stop(one.oid)
    await bench.driver.stop(two.oid)
    assert not bench.alive(one)
    assert not bench.alive(two)


@test
async def test_a_worker_gets_its_signal_and_then_its_grace_and_no_more(bench):
    script = "import os, signal\nsignal.signal(2, lambda *_: os.write(1, b'not yet'))"
    unit = await bench.start(said(bench, script, stop={"signal": "SIGINT", "grace": 0.5}))
    begun = reactor.seconds()
    stopping = ensureDeferred(bench.driver.stop(unit.oid))
    # The directory goes with the worker; its log is read while it still hesitates.
    log = bench.surroundings.directory / "workers" / unit.oid.hex / "log"
    await until(lambda: not log.exists() or "not yet" in log.read_text())
    await stopping
    assert reactor.seconds() - begun >= 0.5
    assert not bench.alive(unit)


@test
async def test_an_end_that_an_agent_has_begun_goes_on_without_it(bench):
    unit = await bench.start(said(bench, "import signal\nsignal.signal(15, signal.SIG_IGN)", stop={"grace": 0.3}))
    keeper = keeper_of(unit)
    await bench.close(keep=True)
    keeper.terminate()
    await until(lambda: not bench.alive(unit))
    await bench.open()
    assert "killed by signal 9" in await bench.losses.of(unit.oid, within=10)


@test
async def test_nobody_is_left_unburied(bench):
    before = unburied()
    units = [await bench.start(said(bench, "import os\nif os.fork() == 0: os._exit(0)")) for _ in range(3)]
    for unit in units:
        keeper = keeper_of(unit)
        assert [
            each for each in keeper.children() if each.status() == psutil.STATUS_ZOMBIE and each.pid != unit.pid
        ] == []
        await bench.driver.stop(unit.oid)
    assert unburied() - before == set()


def unburied():
    return {each.pid for each in psutil.Process().children() if each.status() == psutil.STATUS_ZOMBIE}


# What it is started with


@test
async def test_no_shell_takes_part_and_nothing_of_the_agent_is_passed_on(bench, monkeypatch):
    monkeypatch.setenv("CONTROLPLANE_AGENT_JOIN", "a secret")
    monkeypatch.setenv("OTHER", "another")
    given = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(given, True)
    script = (
        "import os, sys\n"
        "print(sys.argv[1:])\n"
        "print(sorted(os.environ.items()))\n"
        "print(sorted(int(f) for f in os.listdir('/proc/self/fd')), os.getcwd())\n"
        "print('it is said', flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    arguments = ["$HOME", "a b; exit", "{name}/{index}/{oid}", "{{name}}", '{"a": {"b": 1}}']
    spec = said(bench, "", command=[*python(script), *arguments], env={"WHERE": "{directory}", "OWN": "1"})
    await bench.start(spec)
    os.close(given)
    text = await logs(bench, spec.oid)
    assert f"['$HOME', 'a b; exit', 'page-1/1/{spec.oid}', '{{name}}', '{{\"a\": {{\"b\": 1}}}}']" in text
    directory = bench.surroundings.directory / "workers" / spec.oid.hex / "files"
    assert f"('WHERE', '{directory}')" in text
    assert f"('CONTROLPLANE_WORKER', '{spec.oid}')" in text
    assert "secret" not in text
    assert "another" not in text
    # The fourth is that of the listing.
    assert f"[0, 1, 2, 3] {directory}" in text


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@test
async def test_a_worker_runs_as_another_user(bench):
    # Python itself may be where only root can go.
    script = 'id; echo "$USER $HOME"; touch own; exec sleep 600'
    # Checks are made by the same user in the same place.
    check = {"kind": "command", "command": ["sh", "-c", 'test "$(id -un)" = nobody -a -e own']}
    ready = {"check": check, "timeout": 20}
    unit = await bench.start(said(bench, "", command=["sh", "-c", script], user="nobody", ready=ready))
    who = pwd.getpwnam("nobody")
    uids, gids = psutil.Process(unit.pid).uids(), psutil.Process(unit.pid).gids()
    assert (set(uids), set(gids)) == ({who.pw_uid}, {who.pw_gid})
    text = await logs(bench, unit.oid)
    assert f"uid={who.pw_uid}(nobody)" in text
    assert f"nobody {who.pw_dir}" in text
    assert "root" not in text
    await bench.driver.stop(unit.oid)
    assert not bench.alive(unit)


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"command": ["no-such-program"]}, "could not run no-such-program: No such file"),
        ({"command": ["/etc/passwd"]}, "could not run /etc/passwd: Permission denied"),
        ({"cwd": "/no/such/place"}, "could not enter /no/such/place: No such file"),
        ({"user": "nobody-at-all"}, "there is no user nobody-at-all"),
        ({"command": ["sleep", "9"], "comand": 1}, r"\$.properties.comand: is no property; did you mean 'command'"),
    ],
)
@test
async def test_what_cannot_be_started_is_said(bench, properties, why):
    spec = said(bench, "", **properties)
    with pytest.raises(WorkerFailed, match=why):
        await bench.start(spec)
    await bench.driver.stop(spec.oid)
    assert bench.remains(spec.oid) == []


# Checks


@pytest.mark.parametrize(
    "check",
    [
        {"kind": "none"},
        {"kind": "delay", "seconds": 0.2},
        {"kind": "tcp", "port": "web"},
        {"kind": "http", "port": "web"},
        {"kind": "log", "text": "serving"},
        {"kind": "command", "command": ["sh", "-c", 'test "$CONTROLPLANE_WORKER" = {oid}']},
    ],
)
@test
async def test_every_way_of_being_ready(bench, check):
    unit = await bench.start(bench.spec(ready={"check": check, "timeout": 20}))
    assert bench.alive(unit)


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ({"kind": "tcp", "port": "other"}, "nothing accepts connections on port"),
        ({"kind": "http", "port": "other"}, "gave no answer"),
        ({"kind": "http", "port": "web", "status_min": 300}, "answered with status 200"),
        ({"kind": "log", "text": "something else"}, "it did not write 'something else'"),
        ({"kind": "command", "command": ["sh", "-c", "echo not today; exit 4"]}, "ended with code 4: not today"),
        ({"kind": "command", "command": ["sleep", "60"]}, "the check did not come to an end"),
    ],
)
@test
async def test_who_is_not_ready_in_time_is_ended_and_the_reason_said(bench, check, why):
    ports = {"web": SCHEME, "other": {}}
    spec = bench.spec(ports=ports, ready={"check": check, "timeout": 1.0})
    with pytest.raises(WorkerFailed, match=f"it was not ready within 1 s: .*{why}"):
        await bench.start(spec)
    assert bench.driver.find(spec.oid) is None
    await bench.driver.stop(spec.oid)
    assert bench.remains(spec.oid) == []


@test
async def test_a_health_check_finds_what_no_death_tells(bench):
    flag = bench.home / "well"
    flag.touch()
    check = {"kind": "command", "command": ["test", "-e", str(flag)]}
    spec = bench.spec(health={"check": check, "interval": 0.1, "timeout": 5, "failures": 2})
    unit = await bench.start(spec)
    await sleep(0.5)
    assert bench.losses.seen == []
    flag.unlink()
    reason = await bench.losses.of(unit.oid, within=10)
    assert reason.startswith("failed its health check 2 times in a row and was killed: the command ended with code 1")
    assert not bench.alive(unit)


@test
async def test_health_is_looked_after_when_a_worker_was_adopted(bench):
    unit = await bench.start(bench.hanging_spec())
    await bench.reopen()
    bench.hang(unit)
    assert "health check" in await bench.losses.of(unit.oid, within=10)


# Ports


@test
async def test_a_worker_that_is_replaced_gets_another_port_and_one_that_is_restarted_keeps_it(bench):
    spec = bench.spec()
    first = await bench.start(spec)
    second = await bench.start(bench.spec(spec.oid, digest="two"))
    assert first.addresses != second.addresses
    os.kill(second.pid, signal.SIGKILL)
    await bench.losses.of(spec.oid, within=10)
    third = await bench.start(bench.spec(spec.oid, digest="two"))
    assert third.addresses == second.addresses


@test
async def test_a_port_that_is_fixed_stays_the_same_and_belongs_to_one(bench):
    first, last = bench.surroundings.ports
    fixed = {"web": {"number": last, "scheme": "http", "path": "/a"}}
    unit = await bench.start(bench.spec(ports=fixed))
    assert [address.url for address in unit.addresses] == [f"http://127.0.0.1:{last}/a"]
    renewed = await bench.start(bench.spec(unit.oid, digest="two", ports=fixed))
    assert renewed.addresses == unit.addresses
    with pytest.raises(WorkerFailed, match=f"port {last} of worker .* cannot be used on this node: worker .* listens"):
        await bench.start(bench.spec(ports=fixed))
    with pytest.raises(WorkerFailed, match="is not one that workers of this node may listen on"):
        await bench.start(bench.spec(ports={"web": {"number": first - 1}}))


@test
async def test_processes_that_must_not_overlap_do_not(bench):
    leave = "signal.signal(15, lambda *_: (os.rmdir('lock'), sys.exit()))"
    script = f"import os, signal, sys\nos.mkdir('lock')\n{leave}"
    spec = said(bench, script, overlap=False)
    await bench.start(spec)
    assert (await bench.start(said(bench, script, overlap=False, oid=spec.oid, digest="two"))).digest == "two"
    with pytest.raises(WorkerFailed, match="FileExistsError"):
        await bench.start(said(bench, script, oid=spec.oid, digest="three"))


# Operations


@test
async def test_operations(bench):
    assert isinstance(bench.driver, Operates)
    spec = said(bench, "import os, signal\nsignal.signal(10, lambda *_: os.write(1, b'heard it'))")
    unit = await bench.start(spec)
    assert await bench.driver.operate(unit.oid, "signal", {"signal": "SIGUSR1"}) == {}
    log = bench.surroundings.directory / "workers" / unit.oid.hex / "log"
    await until(lambda: "heard it" in log.read_text())
    answer = await bench.driver.operate(unit.oid, "restart", {})
    again = bench.driver.find(unit.oid)
    assert answer == {"pid": again.pid, "started": again.started}
    assert again.pid != unit.pid
    assert bench.losses.seen == []
    with pytest.raises(InvalidArgument, match="have no operation 'explode'; there are signal, restart"):
        await bench.driver.operate(unit.oid, "explode", {})
    with pytest.raises(InvalidArgument, match=r"\$.parameters.signal"):
        await bench.driver.operate(unit.oid, "signal", {"signal": "SIGNOTHING"})
    await bench.driver.stop(unit.oid)
    with pytest.raises(WorkerFailed, match="does not run"):
        await bench.driver.operate(unit.oid, "restart", {})


@test
async def test_logs_are_kept_in_files_of_a_size_and_the_oldest_goes(bench):
    script = "for number in range(4000): print(f'line {number:04}', flush=number % 50 == 0)"
    unit = await bench.start(said(bench, script, logs={"size": 4096, "count": 3}))
    home = bench.surroundings.directory / "workers" / unit.oid.hex
    sizes = {file.name: file.stat().st_size for file in home.glob("log*") if file.name != "log.lock"}
    assert set(sizes) == {"log", "log.1", "log.2"}
    assert max(sizes.values()) <= 4096
    assert (await logs(bench, unit.oid, lines=3)).split("\n") == ["line 3998", "line 3999", "it is said", ""]
    kept = (await logs(bench, unit.oid, lines=10_000)).split()
    numbers = [int(word) for word in kept if word.isdigit()]
    assert numbers == list(range(numbers[0], 4000))
    assert len(await bench.driver.logs(unit.oid, 100, 50)) == 50


@test
async def test_what_is_written_is_followed_over_files_that_are_put_aside(bench):
    script = """
import time
print("it is said", flush=True)
for number in range(600):
    print(f"line {number:04}", flush=True)
    time.sleep(0.001)
time.sleep(600)
"""
    unit = await bench.start(said(bench, "", command=python(script), logs={"size": 4096, "count": 5}))
    position, text = None, ""
    while "line 0599\n" not in text:
        part = await bench.driver.follow(unit.oid, position, 10_000, 1_000)
        assert not part.gap
        position, text = part.position, text + part.text
        await sleep(0.01)
    lines = [line for line in text.split("\n") if line.startswith("line")]
    assert lines == [f"line {number:04}" for number in range(int(lines[0][5:]), 600)]
    assert len(lines) > 100


@test
async def test_statistics_grow_with_use(bench):
    unit = await bench.start(said(bench, "sum(range(20_000_000))\nx = bytearray(30_000_000)\nf = open('/dev/null')"))
    found = await bench.driver.statistics(unit.oid)
    assert found["cpu_seconds"] > 0.1
    assert found["memory"] > 30_000_000
    assert (found["processes"], found["threads"], found["open_files"]) == (1, 1, 4)


# Limits


@test
async def test_open_files_are_limited_everywhere(bench):
    script = "import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))"
    unit = await bench.start(said(bench, script, limits={"open_files": 77}))
    assert "(77, 77)" in await logs(bench, unit.oid)


@test
async def test_keepers_of_one_worker_share_its_log(bench):
    spec = said(bench, "print('first')")
    await bench.start(spec)
    await bench.start(said(bench, "print('second')", oid=spec.oid, digest="two"))
    text = await logs(bench, spec.oid)
    assert text.index("first") < text.index("second")


# Adopting what runs already


@pytest.fixture
def stranger(bench, tmp_path):
    """A process that is nobody's worker: it serves a page, and has a child."""
    port = bench.surroundings.ports[1]
    script = (
        f"import runpy, subprocess, sys; subprocess.Popen(['sleep', '600']); sys.argv = ['page', '{port}', '127.0.0.1']"
    )
    script += f"; runpy.run_path({PAGE!r}, run_name='__main__')"
    environment = {"PATH": os.environ["PATH"], "COLOUR": "red {name} {{x}}", "CONTROLPLANE_HOME": "here"}
    started = subprocess.Popen(python(script), cwd=tmp_path, env=environment)
    started.port = port
    try:
        yield started
    finally:
        for each in [*family(started.pid), started.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        started.wait()


def family(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


async def adopted(bench, stranger, **overrides):
    await until(lambda: listening(stranger.pid), what="its port")
    found = await bench.driver.inspect(str(stranger.pid), snapshot=False)
    config = {**bench.config(**{**found.properties, **overrides}), "adopts": found.adopts}
    spec = WorkerSpec(oid=uuid4(), digest="one", config=config)
    return spec, await bench.start(spec)


@test
async def test_what_runs_already_is_described_as_a_profile_would_and_not_touched(bench, stranger, tmp_path):
    assert isinstance(bench.driver, Adopts)
    await until(lambda: listening(stranger.pid), what="its port")
    found = await bench.driver.inspect(str(stranger.pid), snapshot=False)
    assert found.properties == {
        "command": [PYTHON, "-I", "-S", "-c", escape(stranger.args[4])],
        "env": {"COLOUR": "red {{name}} {{{x}}}"},
        "cwd": str(tmp_path),
        "ports": {f"tcp{stranger.port}": {"number": stranger.port}},
        "overlap": False,
    }
    assert bench.driver._serving.running == {}
    assert stranger.poll() is None


@test
async def test_an_adopted_process_keeps_its_pid_is_kept_by_another_agent_and_ends_with_its_children(bench, stranger):
    before = psutil.Process(stranger.pid).create_time()
    spec, unit = await adopted(bench, stranger)
    assert (unit.pid, [each.url for each in unit.addresses]) == (stranger.pid, [f"tcp://127.0.0.1:{stranger.port}"])
    assert abs(unit.started / 1e9 - before) < 2
    assert (await bench.driver.statistics(spec.oid))["processes"] == 2
    assert await bench.driver.logs(spec.oid, 10, 1000) == ""
    await bench.reopen()
    assert bench.adopted == {spec.oid: unit}
    assert await bench.start(spec) == unit
    children = family(stranger.pid)
    assert len(children) == 1
    await bench.driver.stop(spec.oid)
    assert stranger.wait(10) == 0
    await until(lambda: not any(psutil.pid_exists(child) for child in children), what="the end of its children")
    assert bench.remains(spec.oid) == []


@test
async def test_an_adopted_process_that_dies_is_lost_and_then_started_as_its_profile_says(bench, stranger):
    spec, unit = await adopted(bench, stranger, overlap=False)
    bench.die(unit)
    assert "signal 9" in await bench.losses.of(spec.oid, within=bench.loss_within_s)
    stranger.wait()
    again = await bench.start(spec)
    assert again.pid != unit.pid
    assert psutil.Process(again.pid).environ()["COLOUR"] == "red {name} {{x}}"
    assert keeper_of(again).pid != os.getpid()
    await until(lambda: listening(again.pid) == {stranger.port}, what="its port")


@test
async def test_one_that_has_ended_while_no_agent_was_there_is_lost(bench, stranger):
    spec, unit = await adopted(bench, stranger)
    await bench.close(keep=True)
    bench.die(unit)
    stranger.wait()
    await bench.open()
    assert "while no agent was here" in await bench.losses.of(spec.oid, within=bench.loss_within_s)


@test
async def test_a_restart_replaces_what_was_adopted(bench, stranger):
    spec, unit = await adopted(bench, stranger)
    told = await bench.driver.operate(spec.oid, "restart", {})
    assert told["pid"] != unit.pid
    assert stranger.wait(10) == 0


@test
async def test_what_cannot_be_adopted_is_refused_with_the_reason(bench, stranger):
    own = await bench.start(bench.spec())
    refused = {
        "no pid": ["x", "-1", "999999999", "²"],
        "is the agent": [str(os.getpid()), str(os.getppid())],
        "is a worker already": [str(own.pid), str(keeper_of(own).pid)],
        "cannot be looked into": ["2"] if psutil.Process(2).cmdline() == [] else [],
    }
    _, unit = await adopted(bench, stranger)
    refused["is a worker already"].append(str(unit.pid))
    for reason, identities in refused.items():
        for identity in identities:
            with pytest.raises(CannotAdopt, match=reason) as caught:
                await bench.driver.inspect(identity, snapshot=False)
            assert caught.value.problems
    with pytest.raises(CannotAdopt, match="no image"):
        await bench.driver.inspect(str(unit.pid), snapshot=True)
    if os.getuid() == 0:
        other = subprocess.Popen(["sleep", "600"], user="nobody")
        try:
            with pytest.raises(CannotAdopt, match="another user"):
                await bench.driver.inspect(str(other.pid), snapshot=False)
        finally:
            other.kill()
            other.wait()


# Changing what runs


@test
async def test_another_way_to_be_stopped_reaches_a_process_that_runs_also_with_another_agent(bench):
    script = "from signal import *\nsignal(SIGUSR1, lambda *_: exit(7))\nsignal(SIGTERM, SIG_IGN)"
    spec = said(bench, script, stop={"signal": "SIGTERM", "grace": 600})
    unit = await bench.start(spec)
    changed = said(bench, script, stop={"signal": "SIGUSR1", "grace": 600})
    new = await bench.driver.update(WorkerSpec(oid=spec.oid, digest="two", config=changed.config))
    assert new == msgspec.structs.replace(unit, digest="two")
    await bench.reopen()
    assert bench.adopted == {spec.oid: new}
    await bench.driver.stop(spec.oid)
    assert bench.remains(spec.oid) == []


@test
async def test_what_takes_another_process_is_not_changed_in_place(bench):
    spec = bench.spec()
    unit = await bench.start(spec)
    for changed in ({"env": {"A": "b"}}, {"command": ["sleep", "1"]}, {"limits": {"open_files": 100}}):
        assert await bench.driver.update(bench.spec(spec.oid, "two", **changed)) is None
    assert (
        await bench.driver.update(WorkerSpec(oid=spec.oid, digest="two", config={**spec.config, "generation": 2}))
        is None
    )
    assert await bench.driver.update(bench.spec()) is None
    assert bench.driver.find(spec.oid) == unit


# Checks, and workers that are brought back


@test
async def test_what_makes_it_ready_is_looked_at_again_when_somebody_wants_to_know(bench):
    script = "import os; os.path.exists('deaf') and os._exit(3)"
    check = {"kind": "command", "command": python(script)}
    spec = bench.spec(command=["sleep", "600"], ports={}, ready={"check": check, "timeout": 20})
    await bench.start(spec)
    await bench.driver.check(spec.oid)
    deaf = bench.surroundings.directory / "workers" / spec.oid.hex / "files" / "deaf"
    deaf.touch()
    with pytest.raises(WorkerFailed, match="it failed its check: the command ended with code 3"):
        await bench.driver.check(spec.oid)
    await bench.reopen()
    with pytest.raises(WorkerFailed, match="it failed its check"):
        await bench.driver.check(spec.oid)


def again(spec, digest, **changed):
    config = {**spec.config, **changed}
    return msgspec.structs.replace(spec, digest=digest, config=config)


@test
async def test_a_reboot_keeps_what_a_worker_has_kept_and_a_rebuild_does_not(bench):
    spec = bench.spec()
    await bench.start(spec)
    kept = bench.surroundings.directory / "workers" / spec.oid.hex / "files" / "kept"
    kept.touch()
    await bench.start(again(spec, "two", generation=1))
    assert kept.exists()
    rebuilt = again(spec, "three", generation=2, rebuilds=1)
    await bench.start(rebuilt)
    assert not kept.exists()
    kept.touch()
    await bench.start(again(rebuilt, "four", generation=3))
    await bench.reopen()
    await bench.start(again(rebuilt, "five", generation=4))
    assert kept.exists()


@test
async def test_one_that_does_not_want_to_end_is_killed_when_that_is_wanted(bench):
    deaf = "import signal; signal.signal(15, signal.SIG_IGN)"
    spec = said(bench, deaf, stop={"grace": 600})
    unit = await bench.start(spec)
    gentle = {**spec.config["properties"], "stop": {"grace": 0.1}}
    await bench.start(again(spec, "two", generation=1, kills=1, properties=gentle))
    assert not bench.alive(unit)
