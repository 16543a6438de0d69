"""Types of workers: what a profile may say, checked at once, with every problem and its path."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from controlplane.core.profile_checks import read_properties
from controlplane.errors import Problem
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
    return WORKER_TYPES[f"{spec.type}-{spec.version}"]


def complete_spec(given: Mapping[str, Any]) -> Spec | list[Problem]:
    """Return a spec with the defaults of its type, or everything that is wrong with it."""
    problems = [Problem(f"$.{name}", "is no field of a spec") for name in given if name not in Spec.__struct_fields__]
    try:
        spec = msgspec.convert(dict(given), Spec)
    except msgspec.ValidationError as problem:
        return [*problems, _located(problem, "$")]
    kind = WORKER_TYPES.get(f"{spec.type}-{spec.version}")
    if kind is None:
        known = ", ".join(sorted(WORKER_TYPES))
        return [*problems, Problem("$.type", f"there is no type {spec.type}-{spec.version}; known are {known}")]
    read, wrong = read_properties(spec.properties, kind.properties, "$.properties")
    if read is None or problems:
        return [*problems, *wrong]
    return msgspec.structs.replace(spec, properties=msgspec.to_builtins(read, str_keys=True))


def _located(problem: Exception, path: str) -> Problem:
    message, _, inner = str(problem).partition(" - at `")
    return Problem(path + inner.rstrip("`").removeprefix("$"), message[:1].lower() + message[1:])
