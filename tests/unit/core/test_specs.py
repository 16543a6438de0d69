"""Specs: complete with the defaults of their type, or everything that is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.policies import POLICY_TYPES
from controlplane.core.specs import complete_spec, type_name
from controlplane.core.worker_types import WORKER_TYPES
from controlplane.records.definitions import Spec
from controlplane.records.policies import KeepingPolicy

KNOWN = "container-1.0, process-1.0"


def wrong(types=WORKER_TYPES, **given) -> dict[str, str]:
    found = complete_spec(given, types)
    assert isinstance(found, list)
    assert len(dict(found)) == len(found)
    return dict(found)


def test_a_type_is_named_with_its_version():
    assert type_name(Spec(type="process", version="2.1")) == "process-2.1"


def test_a_spec_is_complete_with_the_defaults_of_its_type_and_is_plain_data():
    found = complete_spec({"type": "batch", "properties": {"max_batch_size": 3}}, POLICY_TYPES)
    assert found == Spec(
        type="batch",
        version="1.0",
        properties={"min_in_service": 1, "max_batch_size": 3, "pause_time": 60.0, "canary": 0},
    )
    step = {"type": "CHANGE_IN_PERCENTAGE", "number": 5}
    found = complete_spec(
        {"type": "scaling", "properties": {"event": "CLUSTER_SCALE_IN", "adjustment": step}}, POLICY_TYPES
    )
    assert found.properties["adjustment"] == {**step, "min_step": 1, "best_effort": False, "cooldown": 0.0}
    assert type(found.properties["adjustment"]["type"]) is str


@given(command=st.lists(st.sampled_from(["a", "{name}", "-v"]), min_size=1, max_size=3), name=st.sampled_from("ab"))
def test_a_complete_spec_is_complete_once_more(command, name):
    found = complete_spec({"type": "process", "properties": {"command": command, "ports": {name: {}}}}, WORKER_TYPES)
    assert isinstance(found, Spec)
    again = {"type": found.type, "version": found.version, "properties": found.properties}
    assert complete_spec(again, WORKER_TYPES) == found


def test_a_version_has_defaults_of_its_own():
    for version, properties in (("1.0", {"per_node_max": 1}), ("1.1", dict.fromkeys(KeepingPolicy.__struct_fields__))):
        given = {"type": "affinity", "version": version, "properties": {**properties, "per_node_max": 1}}
        assert complete_spec({**given, "properties": {"per_node_max": 1}}, POLICY_TYPES) == Spec(**given)


def test_every_problem_is_said_at_once_with_its_path():
    assert wrong(type="process", verson="1.0", label=1, properties={"comand": ["a"]}) == {
        "$.verson": "is no field of a spec",
        "$.label": "is no field of a spec",
        "$.properties.comand": "is no property; did you mean 'command'?",
        "$.properties.command": "is missing",
    }


def test_good_properties_do_not_make_up_for_a_field_that_there_is_not():
    assert wrong(type="process", more=1, properties={"command": ["a"]}) == {"$.more": "is no field of a spec"}


def test_what_types_of_properties_cannot_say_is_said_from_where_they_stand():
    assert wrong(type="process", properties={"command": [""]}) == {"$.properties.command[0]": "names no program"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"$": "object missing required field `type`"}),
        ({"type": 7}, {"$.type": "expected `str`, got `int`"}),
        ({"type": "process", "properties": []}, {"$.properties": "expected `object`, got `array`"}),
        (
            {"x": 1, "type": "process", "version": 2},
            {"$.x": "is no field of a spec", "$.version": "expected `str`, got `int`"},
        ),
    ],
)
def test_a_field_of_a_wrong_type_is_named(given, expected):
    assert wrong(**given) == expected


def test_a_type_that_there_is_not_is_answered_with_those_there_are():
    said = f"there is no type process-3.0; known are {KNOWN}"
    assert wrong(type="process", version="3.0", properties={"command": ["a"]}) == {"$.type": said}
    assert wrong(type="proces", more=1) == {
        "$.more": "is no field of a spec",
        "$.type": f"there is no type proces-1.0; known are {KNOWN}",
    }
