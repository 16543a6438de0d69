"""What is derived is always what could be derived anew: tallies, loads, statuses, versions."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.consistency import check_derived
from tests.simulation.world import World

DEEDS = st.lists(
    st.tuples(
        st.sampled_from(
            "start stop scale add_group remove_group add_node remove_node kill lose connect limits run restart".split()
        ),
        st.integers(0, 3),
        st.integers(0, 5),
    ),
    max_size=25,
)


def check(world: World) -> None:
    with world.plane.store.read() as view:
        check_derived(view)


def do(world: World, clusters: list[str], deed: str, which: int, number: int) -> None:
    """One change; what is refused is refused."""
    cluster = clusters[which % len(clusters)]
    machine = world.machines[which % len(world.machines)]
    groups = world.call("list_routercluster_workergroups", cluster)
    match deed:
        case "start" | "stop":
            ignoring(world, f"{deed}_routercluster", cluster)
        case "scale" if groups:
            world.call("scale_routercluster_workergroup", cluster, groups[number % len(groups)], number)
        case "add_group":
            ignoring(world, "add_routercluster_workergroup", cluster, {"name": f"group_{number}", "scale": number})
        case "remove_group" if groups:
            world.call("remove_routercluster_workergroup", cluster, groups[number % len(groups)])
        case "add_node":
            ignoring(world, "add_routercluster_node", cluster, str(machine.oid))
        case "remove_node":
            ignoring(world, "remove_routercluster_node", cluster, str(machine.oid))
        case "limits":
            ignoring(world, "add_routercluster_node", cluster, str(machine.oid), {"hardlimit": number})
        case "kill" if machine.units:
            machine.kill_worker(sorted(machine.units)[number % len(machine.units)])
        case "lose":
            machine.disconnect()
        case "connect":
            machine.connect()
        case "run":
            world.run(number * 3)
        case "restart":
            world.kill_master()
            world.run(number)
            world.start_master()


def ignoring(world, *call):
    from controlplane.errors import ControlPlaneError, InternalError

    try:
        world.call(*call)
    except InternalError:
        raise
    except ControlPlaneError:
        pass


@settings(max_examples=60)
@given(DEEDS)
def test_what_is_derived_stays_in_step_whatever_happens(deeds):
    world = World(seed=3, nodes=3)
    clusters = [
        world.call("create_routercluster", {"name": name, "grace_period": 2})["oid"] for name in ("one1", "two2")
    ]
    for cluster in clusters:
        world.call("add_routercluster_node", cluster, str(world.machines[0].oid))
        world.call("add_routercluster_workergroup", cluster, {"name": "group_0", "scale": 2})
    for deed, which, number in deeds:
        do(world, clusters, deed, which, number)
        world.run(0.02)
        check(world)
    for machine in world.machines:
        machine.connect()
    world.run(120)
    check(world)
    for cluster in clusters:
        status = world.call("get_routercluster", cluster)
        assert status["status"] in ("RUNNING", "STOPPED", "DEGRADED", "STARTING"), status
        if status["status"] in ("DEGRADED", "STARTING"):
            assert any(worker["status"] == "PENDING" for worker in world.workers(cluster)), world.workers(cluster)
    assigned = sum(worker["status"] == "RUNNING" for cluster in clusters for worker in world.workers(cluster))
    assert sum(len(machine.units) for machine in world.machines) == assigned
