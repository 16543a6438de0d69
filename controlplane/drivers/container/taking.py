"""Containers that were not made by us: looking at one, having it be a worker, and finding it again."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from controlplane.drivers.container.adoption import properties_of
from controlplane.drivers.container.drafts import OWNER, addresses
from controlplane.drivers.container.engine import Engine, EngineProblem, Missing
from controlplane.drivers.container.running import Note
from controlplane.errors import CannotAdopt, Problem, WorkerFailed
from controlplane.records.profiles import ContainerProperties
from controlplane.records.types import NANOSECONDS, Instant
from controlplane.records.workers import Findings, WorkerSpec

SNAPSHOT = "controlplane-adopted"
COMMIT_LIMIT_S = 25.0


async def findings(
    engine: Engine, identity: str, snapshot: bool, ours: frozenset[str], ports: tuple[int, int]
) -> Findings:
    """Return what profile a container could have; raises `CannotAdopt`. With `snapshot` an image is made of it."""
    try:
        told = await engine.call(lambda client: client.inspect_container(identity))
        image = await engine.call(lambda client: client.inspect_image(told["Image"]))
        properties, problems = properties_of(told, image, ports)
        if told["Id"] in ours:
            problems = [Problem("$.identity", "is a worker already")]
        if snapshot and not problems:
            tag = told["Id"][:12]
            await engine.call(lambda client: client.commit(told["Id"], SNAPSHOT, tag, pause=False), COMMIT_LIMIT_S)
            properties |= {"image": f"{SNAPSHOT}:{tag}", "pull": "never"}
    except Missing:
        problems = [Problem("$.identity", "is no container of this node's engine")]
    except EngineProblem as problem:
        problems = [Problem("$.identity", f"cannot be looked at: {problem}")]
    if problems:
        raise CannotAdopt(
            f"container {identity} cannot be adopted: " + "; ".join(f"{each.path} {each.message}" for each in problems),
            problems=problems,
            next_step="make a profile for it, and a worker of that in its place",
        )
    return Findings(properties=properties, adopts={"container": told["Id"]})


async def take(
    engine: Engine, spec: WorkerSpec, adopts: Mapping[str, Any], properties: ContainerProperties, address: str
) -> Note | None:
    """Return a note of a container that is to be adopted, None when it does not run any more.

    From now on the engine does not start it by itself: that is the agent's business.
    """
    container = str(adopts.get("container", ""))
    try:
        told = await engine.call(lambda client: client.inspect_container(container))
    except Missing:
        return None
    if not told["State"].get("Running") or OWNER in (told["Config"].get("Labels") or {}):
        return None
    if (told["HostConfig"].get("RestartPolicy") or {}).get("Name") not in (None, "", "no"):
        await engine.call(lambda client: client.update_container(container, restart_policy={"Name": "no"}))
    ports = {name: port.number for name, port in properties.ports.items() if port.number is not None}
    if len(ports) < len(properties.ports):
        raise WorkerFailed("a container that runs already cannot be given other ports")
    return Note(
        oid=spec.oid,
        digest=spec.digest,
        config=spec.config,
        run=uuid4().hex,
        slot=0,
        container=container,
        pid=told["State"].get("Pid") or None,
        started=_instant(str(told["State"].get("StartedAt", ""))),
        ports=ports,
        addresses=addresses(properties, address, ports),
        taken=True,
    )


async def there(engine: Engine, note: Note) -> Mapping[str, Any] | None:
    """Return what an engine says of a container that bears no mark of ours; None when it has none."""
    try:
        told = await engine.call(lambda client: client.inspect_container(note.container))
    except Missing:
        return None
    return {"State": told["State"].get("Status")}


def _instant(text: str) -> Instant:
    """Return when a container was started, to the second."""
    try:
        return int(datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()) * NANOSECONDS
    except ValueError:
        return time.time_ns()
