"""What is the container driver's alone, with a real engine: what a container is made of, and what the engine tells."""

import contextlib
import os
import signal
import socket
from uuid import uuid4

import msgspec
import pytest
import pytest_twisted
from docker.errors import NotFound
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from controlplane.agent.supervisor import Supervisor
from controlplane.drivers.driver import Adopts, Operates, Unavailable
from controlplane.errors import CannotAdopt, InvalidArgument, WorkerFailed
from controlplane.process import real_chance
from controlplane.records.workers import Entry, WorkerSpec, WorkerStatus
from tests.drivers.benches import ContainerBench, ProcessBench, sleep, until
from tests.drivers.engines import IMAGE, SOCKET
from tests.e2e.test_router_driver import free_ports

test = pytest_twisted.ensureDeferred


@pytest_twisted.async_yield_fixture(scope="module")
async def shared(engine, tmp_path_factory):
    ContainerBench.engine = engine
    made = ContainerBench(tmp_path_factory.mktemp("container"), free_ports(40))
    try:
        yield made
    finally:
        await made.end()


@pytest_twisted.async_yield_fixture
async def bench(shared):
    if shared.driver is None:
        await shared.open()
    shared.losses.seen.clear()
    try:
        yield shared
    finally:
        if shared.driver is None:
            await shared.open()
        for oid in list(shared.driver._serving.running):
            await shared.driver.stop(oid)


def said(bench, script, **properties):
    """A container that runs a script and then sleeps; it is ready when it says so."""
    command = ["sh", "-c", f"{script}\necho it is said; exec sleep 600"]
    ready = {"check": {"kind": "log", "text": "it is said"}, "timeout": 20, "interval": 0.05}
    return bench.spec(**{"command": command, "ports": {}, "ready": ready, **properties})


async def said_by(bench, script, **properties):
    unit = await bench.start(said(bench, script, **properties))
    return await bench.driver.logs(unit.oid, 1000, 100_000)


async def inside(bench, unit, *command, **parameters):
    return await bench.driver.operate(unit.oid, "exec", {"command": list(command), **parameters})


@contextlib.contextmanager
def listening():
    """A port where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made.getsockname()[1]


# What it is made of


@test
async def test_environment_files_directory_and_user(bench):
    files = {"/etc/app/settings": {"text": "port={port:web} name={name}", "mode": "0640"}}
    text = await said_by(
        bench,
        'cat /etc/app/settings; echo; ls -l /etc/app/settings; pwd; id; echo "$GREETING $CONTROLPLANE_WORKER"; cat own',
        files={**files, "/tmp/own": {"text": "{{name}}\n"}},
        env={"GREETING": "hello {index}"},
        cwd="/tmp",
        user="0:7",
        ports={"web": {}},
    )
    first, _ = bench.surroundings.ports
    assert "name=page-1" in text
    assert f"port={first // 100}" in text
    assert "-rw-r-----" in text
    assert "\n/tmp\n" in text
    assert "uid=0 gid=7" in text
    assert "hello 1 " in text
    assert "{name}" in text


@test
async def test_entrypoint_and_command_without_a_shell(bench):
    ready = {"check": {"kind": "log", "text": "$HOME a b"}}
    spec = bench.spec(
        entrypoint=["sh", "-c", 'echo "$0 $1"; exec sleep 600'], command=["$HOME", "a b"], ready=ready, ports={}
    )
    assert bench.alive(await bench.start(spec))


@test
async def test_volumes_of_the_node_and_of_the_engine(bench):
    shared = bench.home / "shared"
    shared.mkdir(exist_ok=True)
    (shared / "given").write_text("from outside")
    volumes = [
        {"source": str(shared), "target": "/in", "read_only": True},
        {"source": "{directory}", "target": "/out"},
        {"source": "named-volume", "target": "/named"},
    ]
    script = "cat /in/given; touch /in/x || echo refused; echo from inside > /out/result; touch /named/x && echo named"
    spec = said(bench, script, volumes=volumes)
    await bench.start(spec)
    text = await bench.driver.logs(spec.oid, 100, 10_000)
    assert "from outside" in text
    assert "refused" in text
    assert "named\n" in text
    own = bench.surroundings.directory / "workers" / spec.oid.hex
    assert (own / "result").read_text() == "from inside\n"
    await bench.driver.stop(spec.oid)
    assert not own.exists()
    with pytest.raises(WorkerFailed, match="/no/such/place"):
        await bench.start(said(bench, "", volumes=[{"source": "/no/such/place", "target": "/x"}]))


@test
async def test_ports_are_published_from_a_network_of_its_own(bench):
    client = bench.engine.client()
    network = client.create_network("published", driver="bridge")["Id"]
    try:
        spec = bench.spec(
            network="published",
            command=["httpd", "-f", "-p", "8080", "-h", "/www"],
            ports={"web": {"target": 8080, "scheme": "http"}},
            ready={"check": {"kind": "http", "port": "web"}, "timeout": 20},
        )
        unit = await bench.start(spec)
        (address,) = unit.addresses
        first, last = bench.surroundings.ports
        assert first <= int(address.url.rsplit(":", 1)[1]) <= last
        await bench.driver.stop(spec.oid)
    finally:
        client.remove_network(network)


@test
async def test_limits_are_kept_by_the_engine(bench):
    limits = {"memory": 32 * 2**20, "cpus": 0.5, "pids": 20, "open_files": 50}
    spec = said(bench, "ulimit -n", limits=limits)
    unit = await bench.start(spec)
    (container,) = bench.containers(unit.oid)
    host = bench.engine.client().inspect_container(container)["HostConfig"]
    assert (host["Memory"], host["CpuQuota"], host["CpuPeriod"], host["PidsLimit"]) == (32 * 2**20, 50_000, 100_000, 20)
    assert host["RestartPolicy"]["Name"] == "no"
    assert "50" in (await bench.driver.logs(unit.oid, 10, 1000)).split()


@test
async def test_who_wants_too_much_memory_is_lost_with_that_reason(bench):
    script = "echo it is said; busybox sleep 0.3; x=$(cat /dev/zero | busybox tr '\\0' x)"
    unit = await bench.start(said(bench, "", command=["sh", "-c", script], limits={"memory": 8 * 2**20}))
    assert "for want of memory" in await bench.losses.of(unit.oid, within=30)


# Being ready and well


@pytest.mark.parametrize(
    "check",
    [
        {"kind": "none"},
        {"kind": "delay", "seconds": 0.2},
        {"kind": "tcp", "port": "web"},
        {"kind": "http", "port": "web"},
        {"kind": "command", "command": ["sh", "-c", 'test "$CONTROLPLANE_WORKER" = {oid}']},
    ],
)
@test
async def test_every_way_of_being_ready(bench, check):
    assert bench.alive(await bench.start(bench.spec(ready={"check": check, "timeout": 20})))


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ({"kind": "tcp", "port": "web"}, "nothing accepts connections on port"),
        ({"kind": "log", "text": "something else"}, "it did not write 'something else'"),
        ({"kind": "command", "command": ["sh", "-c", "echo not today; exit 4"]}, "ended with code 4: not today"),
    ],
)
@test
async def test_who_is_not_ready_in_time_is_removed_and_the_reason_said(bench, check, why):
    spec = bench.spec(command=["sleep", "600"], ready={"check": check, "timeout": 1.0})
    with pytest.raises(WorkerFailed, match=f"it was not ready within 1 s: .*{why}"):
        await bench.start(spec)
    assert bench.remains(spec.oid) == []


@test
async def test_a_command_that_finds_it_ill_is_run_by_the_engine(bench):
    check = {"kind": "command", "command": ["test", "-e", "/tmp/well"]}
    health = {"check": check, "interval": 0.2, "timeout": 5, "failures": 2}
    # The engine waits for so long before it judges.
    ready = {"check": {"kind": "log", "text": "it is said"}, "timeout": 1}
    unit = await bench.start(said(bench, "touch /tmp/well", health=health, ready=ready))
    await sleep(1.5)
    assert bench.losses.seen == []
    await inside(bench, unit, "sh", "-c", "busybox rm /tmp/well")
    assert await bench.losses.of(unit.oid, within=20) == "failed its health check and was killed"
    assert not bench.alive(unit)


# Operations


@test
async def test_operations(bench):
    assert isinstance(bench.driver, Operates)
    script = "trap 'echo heard it' USR1; echo it is said; while true; do sleep 0.1; done"
    unit = await bench.start(said(bench, "", command=["sh", "-c", script]))
    assert await bench.driver.operate(unit.oid, "signal", {"signal": "SIGUSR1"}) == {}
    while "heard it" not in await bench.driver.logs(unit.oid, 10, 1000):
        await sleep(0.05)
    answer = await inside(bench, unit, "sh", "-c", "echo one; echo two >&2; exit 3")
    assert (answer["code"], sorted(answer["output"].split()), answer["length"]) == (3, ["one", "two"], 8)
    with pytest.raises(WorkerFailed, match=r"did not end within 0.5 s"):
        await inside(bench, unit, "sleep", "3", timeout=0.5)
    with pytest.raises(InvalidArgument, match=r"\$.parameters.command: is missing"):
        await bench.driver.operate(unit.oid, "exec", {})
    answer = await bench.driver.operate(unit.oid, "restart", {})
    again = bench.driver.find(unit.oid)
    assert answer == {"pid": again.pid, "started": again.started}
    assert again.pid != unit.pid
    assert bench.losses.seen == []
    found = await bench.driver.statistics(unit.oid)
    assert found["kind"] == "container"
    assert found["memory"] > 0


@test
async def test_what_is_written_is_followed(bench):
    script = "echo it is said; for n in $(seq 1000 1200); do echo line $n; sleep 0.005; done; exec sleep 600"
    unit = await bench.start(said(bench, "", command=["sh", "-c", script]))
    position, text = None, ""
    while "line 1200\n" not in text:
        part = await bench.driver.follow(unit.oid, position, 10_000, 200)
        assert not part.gap
        assert len(part.text) <= 200
        position, text = part.position, text + part.text
        await sleep(0.01)
    lines = [line for line in text.split("\n") if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(int(lines[0][5:]), 1201)]
    assert (await bench.driver.follow(unit.oid, position, 10, 200)).text == ""


@test
async def test_a_container_that_is_paused_is_not_ill_and_can_be_stopped(bench):
    unit = await bench.start(bench.hanging_spec())
    await bench.driver.operate(unit.oid, "pause", {})
    # Long enough for two looks that get no answer.
    await sleep(3.5)
    assert (await bench.driver.statistics(unit.oid))["paused"] is True
    assert bench.driver.find(unit.oid).paused
    await bench.driver.operate(unit.oid, "resume", {})
    await sleep(0.5)
    assert bench.losses.seen == []
    assert (await bench.driver.statistics(unit.oid))["paused"] is False
    assert not bench.driver.find(unit.oid).paused
    with pytest.raises(WorkerFailed, match=r"the container engine says: .* is not paused"):
        await bench.driver.operate(unit.oid, "resume", {})
    await bench.driver.operate(unit.oid, "pause", {})
    await bench.driver.stop(unit.oid)
    assert bench.remains(unit.oid) == []


@test
async def test_a_container_that_was_paused_by_somebody_else_and_adopted_is_left_alone(bench):
    unit = await bench.start(bench.hanging_spec())
    (container,) = bench.containers(unit.oid)
    bench.engine.client().pause(container)
    await bench.reopen()
    assert bench.adopted == {unit.oid: msgspec.structs.replace(unit, paused=True)}
    await sleep(3.5)
    assert bench.losses.seen == []
    bench.engine.client().unpause(container)
    await sleep(0.3)
    bench.hang(unit)
    assert await bench.losses.of(unit.oid, within=10)


@test
async def test_stop_waits_for_the_grace_and_not_longer(bench):
    trap = "trap 'touch /out/asked' TERM"
    volumes = [{"source": str(bench.home), "target": "/out"}]
    script = f"{trap}\necho it is said\nwhile true; do sleep 0.1; done"
    unit = await bench.start(said(bench, script, volumes=volumes, stop={"grace": 1.0}))
    begun = reactor.seconds()
    await bench.driver.stop(unit.oid)
    assert reactor.seconds() - begun >= 1.0
    assert (bench.home / "asked").exists()
    assert not bench.alive(unit)


# What cannot be started


@test
async def test_a_program_that_is_not_in_the_image_is_said(bench):
    spec = bench.spec(command=["no-such-program"])
    with pytest.raises(WorkerFailed, match="no-such-program"):
        await bench.start(spec)
    assert bench.remains(spec.oid) == []


@test
async def test_an_image_that_is_missing_is_said(bench):
    with pytest.raises(WorkerFailed, match="there is no image no-such-image:7 on this node") as caught:
        await bench.start(bench.spec(image="no-such-image:7"))
    assert "load it" in caught.value.next_step
    with pytest.raises(WorkerFailed, match=r"could not be fetched: .*127\.0\.0\.1:1"):
        await bench.start(bench.spec(image="127.0.0.1:1/no/image:7", pull="missing"))
    # What is there is not fetched.
    assert bench.alive(await bench.start(bench.spec(pull="missing")))


@test
async def test_an_image_that_does_not_come_in_time_is_given_up(bench):
    with listening() as port, pytest.raises(WorkerFailed, match=r"could not be fetched: .*within 1 s"):
        await bench.start(bench.spec(image=f"127.0.0.1:{port}/image:1", pull="always", pull_timeout=1))


# Others


@test
async def test_what_is_not_ours_is_not_touched(bench):
    client = bench.engine.client()
    unit = await bench.start(bench.spec())
    labels = {"io.controlplane.owner": "another", "io.controlplane.worker": str(unit.oid)}
    host = client.create_host_config(network_mode="host")
    foreign = client.create_container(IMAGE, ["sleep", "600"], labels=labels, host_config=host)["Id"]
    client.start(foreign)
    try:
        await bench.reopen()
        await bench.driver.stop(unit.oid)
        assert client.inspect_container(foreign)["State"]["Running"]
    finally:
        client.remove_container(foreign, force=True)


@test
async def test_a_container_of_ours_that_is_in_no_note_is_removed(bench):
    unit = await bench.start(bench.spec())
    await bench.close(keep=True)
    for note in (bench.surroundings.directory / "notes").iterdir():
        note.unlink()
    await bench.open()
    assert bench.adopted == {}
    assert not bench.alive(unit)
    assert bench.remains(unit.oid) == []


@test
async def test_a_container_that_somebody_else_removes_is_lost(bench):
    unit = await bench.start(bench.spec())
    (container,) = bench.containers(unit.oid)
    bench.engine.client().remove_container(container, force=True)
    assert await bench.losses.of(unit.oid, within=10)
    assert bench.driver.find(unit.oid) is None
    assert bench.alive(await bench.start(bench.spec(unit.oid)))


# The engine


@test
async def test_without_an_engine_the_driver_says_so_in_one_sentence(bench, tmp_path):
    alone = ContainerBench(tmp_path, bench.surroundings.ports)
    alone.surroundings = alone.surroundings._replace(engine=f"unix://{tmp_path}/none")
    driver = alone.make()
    with pytest.raises(Unavailable) as caught:
        await driver.open(alone.losses)
    assert str(caught.value).startswith(f"the container engine cannot be reached (unix://{tmp_path}/none)")
    assert "\n" not in str(caught.value)
    await driver.close(keep=True)


@test
async def test_workers_outlive_an_engine_that_is_killed_and_those_that_did_not_are_lost(bench):
    stays, dies = await bench.start(bench.spec()), await bench.start(bench.spec())
    bench.engine.kill()
    try:
        with pytest.raises(WorkerFailed, match="the container engine cannot be reached"):
            await bench.start(bench.spec())
        os.kill(dies.pid, signal.SIGKILL)
        await sleep(0.5)
        assert bench.losses.seen == []
    finally:
        bench.engine.start()
    assert await bench.losses.of(dies.oid, within=30)
    assert bench.driver.find(stays.oid) == stays
    assert bench.alive(stays)
    assert bench.alive(await bench.start(bench.spec(dies.oid)))
    # And it hears again what the engine tells.
    bench.die(stays)
    assert await bench.losses.of(stays.oid, within=10)


@test
async def test_a_stop_waits_for_an_engine_that_is_away(bench):
    unit = await bench.start(bench.spec())
    bench.engine.kill()
    try:
        stopping = ensureDeferred(bench.driver.stop(unit.oid))
        await sleep(0.5)
        assert not stopping.called
    finally:
        bench.engine.start()
    await stopping
    assert bench.remains(unit.oid) == []


@test
async def test_an_agent_ends_although_its_engine_is_away_and_what_stayed_is_removed_by_the_next(bench):
    unit = await bench.start(bench.spec())
    bench.engine.kill()
    try:
        await ensureDeferred(bench.close(keep=False)).addTimeout(30, reactor)
    finally:
        bench.engine.start()
    assert bench.alive(unit)
    await bench.open()
    assert bench.adopted == {}
    assert bench.remains(unit.oid) == []


@test
async def test_an_agent_offers_its_other_drivers_and_this_one_when_the_engine_is_there(bench, tmp_path):
    await bench.close(keep=False)
    link = tmp_path / "link"
    link.mkdir()
    containers, processes = ContainerBench(tmp_path, bench.surroundings.ports), ProcessBench(tmp_path, free_ports(3))
    containers.surroundings = containers.surroundings._replace(engine=f"unix://{link}/{SOCKET}")
    offers = []
    drivers = {"container": containers.make(), "process": processes.make()}
    supervisor = Supervisor(reactor, real_chance(), drivers, lambda oid: None, lambda: offers.append(True))
    await supervisor.open()
    try:
        assert list(supervisor.unavailable) == ["container"]
        one, two = containers.spec(), processes.spec()
        entries = {
            spec.oid: Entry(oid=spec.oid, driver=name, digest=name)
            for spec, name in ((one, "container"), (two, "process"))
        }
        supervisor.desire(entries, {"container": one.config, "process": two.config})
        await until(lambda: supervisor.report(two.oid).status is WorkerStatus.RUNNING)
        assert "the driver container is not available: the container engine cannot" in supervisor.report(one.oid).reason
        (link / SOCKET).symlink_to(bench.engine.directory / SOCKET)
        await until(lambda: supervisor.report(one.oid).status is WorkerStatus.RUNNING)
        assert (supervisor.unavailable, offers) == ({}, [True])
    finally:
        await supervisor.close(keep=False)
    assert containers.containers(one.oid) == []


# Changing what runs


@test
async def test_limits_of_a_container_that_runs_are_changed_by_the_engine(bench):
    spec = said(bench, "", limits={"memory": 32 * 2**20, "pids": 20})
    unit = await bench.start(spec)
    changed = said(
        bench, "", limits={"memory": 48 * 2**20, "cpus": 0.5, "pids": 20}, stop={"signal": "SIGINT", "grace": 0.5}
    )
    new = await bench.driver.update(WorkerSpec(oid=spec.oid, digest="two", config=changed.config))
    assert new == msgspec.structs.replace(unit, digest="two")
    (container,) = bench.containers(unit.oid)
    host = bench.engine.client().inspect_container(container)["HostConfig"]
    assert (host["Memory"], host["CpuQuota"], host["CpuPeriod"], host["PidsLimit"]) == (48 * 2**20, 50_000, 100_000, 20)
    for limits in ({"cpus": 0.5, "pids": 20}, {"memory": 48 * 2**20, "pids": 20}, {"memory": 48 * 2**20, "cpus": 0.5}):
        other = said(bench, "", limits=limits, stop={"signal": "SIGINT", "grace": 0.5})
        assert await bench.driver.update(WorkerSpec(oid=spec.oid, digest="three", config=other.config)) is None
    assert bench.driver.find(spec.oid) == new


# Adopting what runs already


@pytest.fixture
def stranger(bench, tmp_path):
    """A container that is nobody's worker, and that the engine starts by itself."""
    client = bench.engine.client()
    (tmp_path / "data").mkdir()
    port = bench.surroundings.ports[1]
    host = client.create_host_config(
        network_mode="host",
        restart_policy={"Name": "always"},
        mem_limit=32 * 2**20,
        memswap_limit=32 * 2**20,
        binds=[f"{tmp_path}/data:/data:ro"],
    )
    made = client.create_container(
        IMAGE,
        ["httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", "/www"],
        environment={"COLOUR": "red {name}"},
        labels={"team": "red"},
        # As the first process of a container it does not hear others.
        stop_signal="SIGKILL",
        volumes=["/data"],
        host_config=host,
    )["Id"]
    client.start(made)
    try:
        yield made
    finally:
        with contextlib.suppress(NotFound):
            client.remove_container(made, force=True, v=True)


def described(bench, tmp_path):
    port = bench.surroundings.ports[1]
    return {
        "image": IMAGE,
        "read_only": False,
        "overlap": False,
        "command": ["httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", "/www"],
        "env": {"COLOUR": "red {{name}}"},
        "labels": {"team": "red"},
        "volumes": [{"source": f"{tmp_path}/data", "target": "/data", "read_only": True}],
        "ports": {},
        "limits": {"memory": 32 * 2**20},
        "network": "host",
        "stop": {"signal": "SIGKILL"},
    }


async def adopted(bench, stranger, snapshot=False):
    found = await bench.driver.inspect(stranger[:12], snapshot=snapshot)
    config = {"name": "clock", "properties": found.properties, "adopts": found.adopts}
    spec = WorkerSpec(oid=uuid4(), digest="one", config=config)
    return spec, await bench.start(spec)


def pid_of(bench, container):
    return bench.engine.client().inspect_container(container)["State"]["Pid"]


@test
async def test_a_container_that_runs_already_is_described_and_adopted_as_it_runs(bench, stranger, tmp_path):
    assert isinstance(bench.driver, Adopts)
    pid = pid_of(bench, stranger)
    found = await bench.driver.inspect(stranger, snapshot=False)
    assert found.properties == described(bench, tmp_path)
    assert found.adopts == {"container": stranger}
    spec, unit = await adopted(bench, stranger)
    assert unit.pid == pid == pid_of(bench, stranger)
    assert bench.engine.client().inspect_container(stranger)["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert "memory" in await bench.driver.statistics(spec.oid)
    assert (await inside(bench, unit, "echo", "hello"))["output"] == "hello\n"
    with pytest.raises(CannotAdopt, match="is a worker already"):
        await bench.driver.inspect(stranger, snapshot=False)
    await bench.reopen()
    assert bench.adopted == {spec.oid: unit}
    assert await bench.start(spec) == unit
    await bench.driver.stop(spec.oid)
    with pytest.raises(NotFound):
        pid_of(bench, stranger)


@test
async def test_an_adopted_container_that_dies_is_lost_and_then_made_anew_with_what_it_had(bench, stranger):
    spec, unit = await adopted(bench, stranger)
    os.kill(unit.pid, signal.SIGKILL)
    assert await bench.losses.of(spec.oid, within=bench.loss_within_s)
    again = await bench.start(spec)
    assert again.pid != unit.pid
    (container,) = bench.containers(spec.oid)
    assert container != stranger
    assert "red {name}" in (await inside(bench, again, "sh", "-c", "echo $COLOUR"))["output"]
    with pytest.raises(NotFound):
        pid_of(bench, stranger)


@test
async def test_a_snapshot_holds_what_was_written_when_it_is_made_anew(bench, stranger):
    client = bench.engine.client()
    wrote = client.exec_create(stranger, ["sh", "-c", "echo precious > /tmp/kept"])
    client.exec_start(wrote)
    spec, unit = await adopted(bench, stranger, snapshot=True)
    assert spec.config["properties"]["image"] == f"controlplane-adopted:{stranger[:12]}"
    await bench.driver.operate(spec.oid, "restart", {})
    again = bench.driver.find(spec.oid)
    assert again.pid != unit.pid
    assert (await inside(bench, again, "cat", "/tmp/kept"))["output"] == "precious\n"


@test
async def test_containers_that_a_profile_has_no_words_for_are_refused_by_name(bench, stranger):
    client = bench.engine.client()
    host = client.create_host_config(network_mode="host", cap_drop=["NET_RAW"], tmpfs={"/run": ""})
    odd = client.create_container(IMAGE, ["sleep", "600"], host_config=host, tty=True)["Id"]
    try:
        with pytest.raises(CannotAdopt, match="has to run"):
            await bench.driver.inspect(odd, snapshot=False)
        client.start(odd)
        with pytest.raises(CannotAdopt) as caught:
            await bench.driver.inspect(odd, snapshot=False)
        said_so = " ".join(problem.message for problem in caught.value.problems)
        for word in ("CapDrop", "Tmpfs", "terminal"):
            assert word in said_so
    finally:
        client.remove_container(odd, force=True, v=True)
    own = await bench.start(bench.spec())
    (container,) = bench.containers(own.oid)
    for identity, reason in ((container, "is a worker already"), ("no-such", "no container")):
        with pytest.raises(CannotAdopt, match=reason):
            await bench.driver.inspect(identity, snapshot=False)
