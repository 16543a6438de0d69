"""Types of workers: which there are, and how they are found."""

import pytest

from controlplane.core.worker_types import WORKER_TYPES, worker_type
from controlplane.records.definitions import Spec
from controlplane.records.profiles import ContainerProperties, ProcessProperties


def test_there_are_processes_and_containers():
    assert {name: (kind.name, kind.version, kind.driver, kind.properties) for name, kind in WORKER_TYPES.items()} == {
        "process-1.0": ("process", "1.0", "process", ProcessProperties),
        "container-1.0": ("container", "1.0", "container", ContainerProperties),
    }
    assert {(kind.full_name, kind.since) for kind in WORKER_TYPES.values()} == {(name, "0.1") for name in WORKER_TYPES}
    assert [kind.description for kind in WORKER_TYPES.values()] == [
        "A process on a node.",
        "A container of a node's engine.",
    ]


def test_a_spec_has_a_type():
    found = Spec(type="container", version="1.0", properties={})
    assert worker_type(found) is WORKER_TYPES["container-1.0"]
    with pytest.raises(KeyError):
        worker_type(Spec(type="container", version="2.0", properties={}))
