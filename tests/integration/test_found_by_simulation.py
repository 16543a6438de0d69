"""Defects that the simulation found, each as a story of its own."""

from uuid import UUID

import msgspec
import pytest

from controlplane.errors import NotAttached, StoreFull
from controlplane.records.principals import Caller
from controlplane.records.protocol import ASSIGNMENT_TOPIC, ATTACH_AGENT, REPORT_WORKERS
from controlplane.records.types import NANOSECONDS, to_wire
from controlplane.store.database import renew_epoch
from tests.simulation.disk import no_bytes_more
from tests.simulation.world import World


def config(*roles: str) -> dict:
    given = [{"name": role, "permissions": []} for role in ("anonymous", *roles)]
    return {"realms": [{"name": "demo", "roles": given}]}


@pytest.fixture
def world():
    return World(seed=1, nodes=2)


def start_cluster(world: World, scale: int = 2, **settings):
    cluster = world.call("create_routercluster", {"name": "demo", **settings})["oid"]
    for machine in world.machines:
        world.call("add_routercluster_node", cluster, str(machine.oid))
    world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": scale})
    world.call("start_routercluster", cluster)
    world.wait_for_status(cluster, "RUNNING")
    return cluster


def starts(world: World) -> int:
    return sum(len(machine.starts) for machine in world.machines)


def node_status(world: World, machine) -> str:
    return world.call("get_node", str(machine.oid))["status"]


def test_a_machine_that_is_paired_anew_is_given_workers_at_once(world):
    cluster = start_cluster(world, scale=5)
    machine = world.machines[0]
    world.call("unpair_node", str(machine.oid))
    world.run(1)
    assert machine.units == {}
    node = world.call("pair_node", pubkey=machine.pubkey, authid="anew")["oid"]
    world.call("add_routercluster_node", cluster, node)
    world.call("remove_routercluster_node", cluster, str(world.machines[1].oid))
    world.run(3)
    assert len(machine.units) == 6
    assert world.call("get_routercluster", cluster)["status"] == "RUNNING"


def test_a_configuration_that_could_not_be_stored_is_given_to_no_worker(world):
    cluster = start_cluster(world)
    no_bytes_more(world.disk)
    with pytest.raises(StoreFull):
        world.call("update_routercluster", cluster, {"config": config("staff")})
    world.disk.bytes_max = None
    world.call("update_routercluster", cluster, {"config": config("guest")})
    world.run(5)
    before = starts(world)
    world.kill_master()
    world.start_master()  # It composes from what is stored, and replaces workers that were given anything else.
    world.run(20)
    assert starts(world) == before


def test_a_worker_whose_configuration_stays_the_same_outlives_the_revision_that_it_was_given(world):
    cluster = start_cluster(world)
    world.call("update_routercluster", cluster, {"config": config("staff")})
    world.run(5)
    listening = {**config("staff"), "transport": {"type": "websocket", "options": {"max_frame_size": 1_000_000}}}
    world.call("update_routercluster", cluster, {"config": listening})  # Of no concern to the router.
    world.run(5)
    before = starts(world)
    world.kill_master()
    for machine in world.machines:
        machine.kill_agent()
        machine.directory._kept = None  # They have to be told everything.
        machine.start_agent()
    world.start_master()
    world.run(20)
    assert starts(world) == before
    assert world.call("get_routercluster", cluster)["status"] == "RUNNING"


def test_an_agent_that_ends_in_order_while_a_worker_starts_logs_no_failure(world, failures):
    for machine in world.machines:
        machine.start_takes_s = 5.0
    cluster = world.call("create_routercluster", {"name": "demo"})["oid"]
    world.call("add_routercluster_node", cluster, str(world.machines[0].oid))
    world.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 1})
    world.call("start_routercluster", cluster)
    world.run(1)
    world.machines[0].end_agent()
    world.run(1)
    assert failures == []


def test_an_agent_whose_node_a_backup_does_not_know_logs_in_as_the_node_that_its_key_belongs_to(world):
    machine = world.machines[0]
    former = str(machine.oid)
    world.run(1)
    image = world.disk.image()
    world.call("unpair_node", former)
    world.call("pair_node", pubkey=machine.pubkey, authid="anew")
    world.run(3)
    assert str(machine.oid) != former
    world.kill_master()
    world.disk.load(image)
    renew_epoch(world.disk, world.chance(world.master_clock).new_oid())
    world.start_master()
    world.run(10)
    assert str(machine.oid) == former
    assert node_status(world, machine) == "online"


def test_a_silence_that_cannot_be_stored_is_stored_later(world, failures):
    machine = world.machines[0]
    world.run(1)
    no_bytes_more(world.disk)
    world.disk.bytes_max -= 1
    machine.disconnect()
    world.run(2)
    assert {type(failure) for failure in failures} == {StoreFull}
    assert node_status(world, machine) == "online"
    world.disk.bytes_max = None
    world.run(10)
    assert node_status(world, machine) == "offline"


def test_a_session_that_ends_while_its_attachment_waits_to_be_written_leaves_its_node_offline(world):
    world.run(1)
    machine = world.machines[0]
    machine.disconnect()
    world.run(1)
    world.master_clock.freeze(1.0)
    machine.connect()
    world.run(0.5)
    assert machine.session.open
    machine.disconnect()
    world.run(3)
    assert node_status(world, machine) == "offline"


def test_a_session_of_before_the_router_was_away_that_is_attached_only_now_leaves_its_node_offline(world):
    world.run(1)
    machine = world.machines[0]
    machine.disconnect()
    world.run(1)
    machine.connect()
    world.run_until(lambda: world.plane.store.statistics()["waiting"], 10)
    world.network.stop_router()
    world.network.start_router()
    machine.power_cut()
    world.rejoin_master()
    world.run(10)
    assert node_status(world, machine) == "offline"


def test_a_clock_that_was_set_back_between_two_masters_does_not_lengthen_a_grace_period(world):
    cluster = start_cluster(world, grace_period=2)
    machine = world.machines[1]
    carried = len(machine.units)
    assert carried
    machine.disconnect()
    world.run(0.5)
    world.kill_master()
    world.wall_offset_ns -= 3600 * NANOSECONDS
    world.start_master()
    world.run(10)
    assert {worker["status"] for worker in world.workers(cluster)} == {"RUNNING"}
    assert {worker["node_oid"] for worker in world.workers(cluster)} == {str(world.machines[0].oid)}


def test_a_node_whose_absence_and_return_are_written_together_is_online(world):
    cluster = start_cluster(world, grace_period=60)
    machine = world.machines[0]
    world.master_clock.freeze(2.0)
    machine.disconnect()
    world.run(0.5)
    machine.connect()
    world.run(10)
    assert node_status(world, machine) == "online"
    assert {worker["status"] for worker in world.workers(cluster)} == {"RUNNING"}


def test_no_difference_is_made_to_an_assignment_from_before_the_agent_attached(world, monkeypatch):
    """What changed while the agent was away was left out of it: the workers that were taken away went on for ever."""
    cluster = start_cluster(world, scale=5)
    (group,) = world.call("list_routercluster_workergroups", cluster)
    machine = world.machines[0]
    machine.kill_agent()
    for oid in list(machine.units):
        machine.kill_worker(oid)
    world.run(15)
    world.call("scale_routercluster_workergroup", cluster, group, 1)
    world.run(1)
    messenger = world.plane.uplinks._messenger
    lost = []
    send = messenger.send

    def lose_the_first(topic, session, payload):
        if topic == ASSIGNMENT_TOPIC and not lost:
            lost.append(payload)
        else:
            send(topic, session, payload)

    monkeypatch.setattr(messenger, "send", lose_the_first)
    machine.start_agent()
    # Its workers are back, which it reports with the assignment that it has; and the next change is made.
    world.run(0.2)
    assert len(lost) == 1
    assert lost[0]["base"] is None
    world.call("scale_routercluster_workergroup", cluster, group, 3)
    world.run(10)
    known = {worker["oid"] for worker in world.workers(cluster)}
    assert {str(oid) for oid in machine.units} <= known
    assert len(known) == 4


def test_of_two_reports_in_one_commit_the_newer_one_counts(world):
    """The older one came later, and both were taken for news: what it said stayed, and nobody said it again."""
    cluster = start_cluster(world)
    machine = next(machine for machine in world.machines if machine.units)
    report = machine.agent._build(True, {})
    older = msgspec.structs.replace(
        report,
        sequence=report.sequence + 1,
        workers=tuple(msgspec.structs.replace(said, digest="before", pid=1) for said in report.workers),
    )
    newer = msgspec.structs.replace(report, sequence=report.sequence + 2)
    caller = Caller(session=machine.session.id, authid=str(machine.oid), authrole="agent")
    answers = [world.ask(REPORT_WORKERS, caller=caller, report=to_wire(said)) for said in (newer, older)]
    world.run_until(lambda: all(answer.called for answer in answers), 5)
    assert 1 not in {worker["pid"] for worker in world.workers(cluster)}


def test_a_report_that_could_not_be_stored_is_taken_when_it_arrives_once_more(world):
    """Seed 8338: it counted as heard already, so that its agent took it for stored and did not say it again."""
    cluster = start_cluster(world)
    machine = next(machine for machine in world.machines if machine.units)
    report = machine.agent._build(True, {})
    report = msgspec.structs.replace(
        report,
        sequence=report.sequence + 1,
        workers=tuple(msgspec.structs.replace(said, pid=1) for said in report.workers),
    )
    caller = Caller(session=machine.session.id, authid=str(machine.oid), authrole="agent")
    world.disk.bytes_max = 0
    with pytest.raises(StoreFull):
        world.call(REPORT_WORKERS, caller=caller, report=to_wire(report))
    world.disk.bytes_max = None
    world.call(REPORT_WORKERS, caller=caller, report=to_wire(report))
    assert 1 in {worker["pid"] for worker in world.workers(cluster)}


@pytest.mark.parametrize("former", [0, 1])
def test_what_an_agent_said_when_it_attached_does_not_undo_what_it_said_since(world, former):
    """A line had held it back: workers seemed to run an older configuration, and nobody said otherwise again."""
    cluster = start_cluster(world)
    machine = next(machine for machine in world.machines if machine.units)
    late = machine.agent._build(True, {})
    late = msgspec.structs.replace(
        late, workers=tuple(msgspec.structs.replace(said, digest="before", pid=1) for said in late.workers)
    )
    world.call("update_routercluster", cluster, {"config": config("staff")})
    world.run(5)
    before = world.workers(cluster)
    session = machine.session
    caller = Caller(session=session.id - former, authid=str(machine.oid), authrole="agent")
    with pytest.raises(NotAttached):
        world.call(ATTACH_AGENT, caller=caller, facts=to_wire(machine.facts), report=to_wire(late))
    world.run(1)
    assert world.workers(cluster) == before
    assert machine.session is session
    assert session.open


def test_who_is_beyond_a_lowered_hardlimit_does_not_wait_on_a_silent_node(world):
    cluster = start_cluster(world, scale=3, grace_period=1)
    silent, other = world.machines
    carried = set(silent.units)
    assert carried
    world.call("add_routercluster_node", cluster, str(other.oid), {"hardlimit": len(other.units)})
    silent.disconnect()
    world.run(3)
    assert {UUID(w["oid"]) for w in world.workers(cluster) if w["status"] == "UNREACHABLE"} == carried
    world.call("add_routercluster_node", cluster, str(silent.oid), {"hardlimit": 0})
    world.run(1)
    waiting = [worker for worker in world.workers(cluster) if UUID(worker["oid"]) in carried]
    assert {(worker["status"], worker["node_oid"]) for worker in waiting} == {("PENDING", None)}
    silent.connect()
    world.run(3)
    assert silent.units == {}


def test_a_worker_that_dies_while_its_predecessor_is_ended_is_started_again(world):
    """Its death was taken for that of the predecessor, and the agent believed for ever that it runs."""
    cluster = start_cluster(world)
    machine = next(machine for machine in world.machines if machine.units)
    machine.temper.stop_s = 1.0
    before = dict(machine.units)
    world.call("update_routercluster", cluster, {"config": config("staff")})
    world.run_until(lambda: any(machine.units[oid].digest != unit.digest for oid, unit in before.items()), 5)
    oid = next(oid for oid, unit in before.items() if machine.units[oid].digest != unit.digest)
    machine.kill_worker(oid)
    world.run(10)
    assert oid in machine.units
    assert world.call("get_routercluster", cluster)["status"] == "RUNNING"
    assert next(w["pid"] for w in world.workers(cluster) if w["oid"] == str(oid)) == machine.units[oid].pid


def test_an_agent_that_starts_anew_is_believed_though_it_counts_from_the_beginning(world):
    start_cluster(world)
    machine = next(machine for machine in world.machines if machine.units)
    report = machine.agent._build(True, {})
    first = msgspec.structs.replace(report, boot=world.plane.uplinks.boot, sequence=1)
    caller = Caller(session=machine.session.id, authid=str(machine.oid), authrole="agent")
    attached = world.call(ATTACH_AGENT, caller=caller, facts=to_wire(machine.facts), report=to_wire(first))
    assert attached["node_oid"] == str(machine.oid)
