"""Types of workers: what a profile may say, and which driver runs it."""

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.core.specs import type_name
from controlplane.records.definitions import Spec
from controlplane.records.profiles import ContainerProperties, Part, ProcessProperties


class WorkerType(NamedTuple):
    """One version of one kind of workers."""

    name: str
    version: str
    driver: str
    """What a node has to have to run them."""

    properties: type[Part]
    description: str
    since: str

    @property
    def full_name(self) -> str:
        """Return the name with the version, which is how types are looked up."""
        return f"{self.name}-{self.version}"


WORKER_TYPES: Mapping[str, WorkerType] = {
    kind.full_name: kind
    for kind in (
        WorkerType("process", "1.0", "process", ProcessProperties, "A process on a node.", "0.1"),
        WorkerType("container", "1.0", "container", ContainerProperties, "A container of a node's engine.", "0.1"),
    )
}
"""By name with version."""


def worker_type(spec: Spec) -> WorkerType:
    """Return the type of a spec; raises KeyError for one that there is not."""
    return WORKER_TYPES[type_name(spec)]
