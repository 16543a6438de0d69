"""Which changes of a configuration reach a worker that runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.updating import UPDATABLE, changed_paths, is_updatable
from controlplane.records.profiles import ContainerProperties, ProcessProperties, WorkerConfig

VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=3))
LIMITS = st.dictionaries(st.sampled_from(["memory", "cpus", "pids", "open_files"]), VALUES)
PROPERTIES = st.dictionaries(st.sampled_from(["command", "env", "stop", "ready"]), VALUES)
KINDS = {"process": ProcessProperties, "container": ContainerProperties}


def config(properties, **fields) -> WorkerConfig:
    return WorkerConfig(**{"name": "a", "index": 1, "properties": properties, **fields})


@pytest.mark.parametrize("driver", UPDATABLE)
def test_what_can_be_changed_are_properties_that_there_are(driver):
    for path in UPDATABLE[driver]:
        assert path.partition(".")[0] in KINDS[driver].__struct_fields__


@given(PROPERTIES, PROPERTIES, LIMITS, LIMITS)
def test_exactly_what_differs_is_named(one, other, had, has):
    before, after = {**one, "limits": had}, {**other, "limits": has}
    found = changed_paths(before, after)
    assert found == changed_paths(after, before)
    for name in ("command", "env", "stop", "ready"):
        assert (name in found) == (before.get(name) != after.get(name))
    for name in ("memory", "cpus", "pids", "open_files"):
        assert (f"limits.{name}" in found) == (had.get(name) != has.get(name))
    assert changed_paths(before, before) == frozenset()
    allowed = {"stop", "ready", "limits.memory", "limits.cpus", "limits.pids"}
    assert is_updatable("process", config(before), config(after)) == (found <= allowed)


@pytest.mark.parametrize("fields", [{"name": "b"}, {"index": 2}, {"generation": 3}, {"adopts": {"pid": 1}}])
def test_what_a_worker_is_called_and_its_generation_are_not_changed_in_place(fields):
    assert is_updatable("process", config({}), config({}))
    assert not is_updatable("process", config({}), config({}, **fields))
    assert not is_updatable("process", config({}, **fields), config({}))


def test_a_limit_is_named_and_not_the_limits():
    before, after = {"limits": {"memory": 1, "cpus": 2}}, {"limits": {"memory": 3, "cpus": 2}}
    assert changed_paths(before, after) == {"limits.memory"}
    assert changed_paths({}, after) == {"limits.memory", "limits.cpus"}
    assert changed_paths({"limits": None}, {"limits": {}}) == frozenset()


@pytest.mark.parametrize("driver", UPDATABLE)
def test_all_that_can_be_changed_can_be_changed_at_once_and_nothing_beside_it(driver):
    limits = {path.removeprefix("limits."): 1 for path in UPDATABLE[driver] if path.startswith("limits.")}
    after = {path: 1 for path in UPDATABLE[driver] if "." not in path} | {"limits": limits}
    assert changed_paths({}, after) == set(UPDATABLE[driver])
    assert is_updatable(driver, config({}), config(after))
    assert not is_updatable(driver, config({}), config({**after, "command": ["b"]}))
    assert not is_updatable(driver, config({}), config({**after, "limits": {**limits, "open_files": 9}}))
