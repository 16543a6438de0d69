"""Clusters of processes as tests make them, wait for them, and look at what their machines run."""

from uuid import UUID

from tests.simulation.network import decode, encode
from tests.simulation.world import World

SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}
BROKEN = {"type": "process", "version": "1.0", "properties": {"command": ["broken"]}}


def create(world: World, desired: int = 3, **settings) -> str:
    """A cluster whose action has ended; returns its oid."""
    made = world.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": desired, **settings})
    assert ended(world, made["action_oid"])["status"] == "SUCCEEDED"
    return made["oid"]


def attach(world: World, name: str, type_: str, properties: dict, version: str = "1.0") -> None:
    world.call("create_policy", {"name": name, "spec": {"type": type_, "version": version, "properties": properties}})
    world.call("attach_policy", "shop", name)


def ended(world: World, action: str, seconds: float = 60) -> dict:
    """Let time pass until an action has ended, and return it."""
    world.run_until(lambda: world.call("get_action", action)["ended"] is not None, seconds)
    return decode(encode(world.call("get_action", action)))


def workers(world: World, cluster: str) -> list[dict]:
    return world.call("list_cluster_workers", cluster)


def running(world: World) -> int:
    return sum(len(machine.units) for machine in world.machines)


def commands(world: World, cluster: str) -> set[str]:
    """What runs, as the agents were told."""
    wanted = {worker["oid"] for worker in workers(world, cluster)}
    found = set()
    for machine in world.machines:
        for oid, worker in machine.agent._supervisor._workers.items():
            if str(oid) in wanted:
                assert worker.unit.digest == worker.spec.digest
                found.add(str(worker.spec.config["properties"]["command"]))
    return found


def statuses(world: World, cluster: str) -> dict[str, str]:
    return {worker["oid"]: worker["status"] for worker in workers(world, cluster)}


def configs(world: World) -> dict[str, dict]:
    """What the agents were told of each worker."""
    return {
        str(oid): worker.spec.config
        for machine in world.machines
        for oid, worker in machine.agent._supervisor._workers.items()
    }


def machine_of(world: World, worker: dict):
    return next(machine for machine in world.machines if str(machine.oid) == worker["node_oid"])


def sicken(world: World, worker: dict, reason: str | None) -> None:
    """Have a worker be found not to be well; None for a look that does not come to an end."""
    machine = machine_of(world, worker)
    oid = UUID(worker["oid"])
    machine.sick[oid, machine.units[oid].started] = reason
