"""Properties of profiles: everything that is wrong is said at once, with its path."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.placeholders import fill
from controlplane.core.profile_checks import problems_of, read_properties
from controlplane.records.operations import OPERATIONS
from controlplane.records.profiles import ContainerProperties, ProcessProperties


def wrong(kind, **properties):
    found, problems = read_properties(properties, kind)
    assert (found is None) == bool(problems)
    return {problem.path: problem.message for problem in problems}


def test_everything_that_is_wrong_is_said_with_its_path():
    found = wrong(
        ProcessProperties,
        comand=["a"],
        env={"1": "a", "GOOD": 3, "BETTER": "x"},
        ports={"web": {"number": 0, "skeme": "http"}, "UP": {}},
        ready={"check": {"kind": "tcp"}, "timeout": -1},
        health={"check": {"kind": "delay"}},
        limits=None,
        stop="now",
    )
    assert set(found) == {
        "$.comand",
        "$.command",
        "$.env.1",
        "$.env.GOOD",
        "$.ports.web.number",
        "$.ports.web.skeme",
        "$.ports.UP",
        "$.ready.check.port",
        "$.ready.timeout",
        "$.health.check.kind",
        "$.limits",
        "$.stop",
    }
    assert found["$.comand"] == "is no property; did you mean 'command'?"
    assert found["$.health.check.kind"] == "has to be one of tcp, http, command"


def test_what_is_right_is_read():
    given = {
        "command": ["server", "--port", "{port:web}"],
        "ports": {"web": {"scheme": "http"}},
        "ready": {"check": {"kind": "http", "port": "web", "path": "/up"}},
    }
    found, problems = read_properties(given, ProcessProperties)
    assert problems == []
    assert (found.command, found.ports["web"].scheme, found.ready.check.path) == (
        ("server", "--port", "{port:web}"),
        "http",
        "/up",
    )


@pytest.mark.parametrize(
    ("path", "properties"),
    [
        ("$.command[0]", {"command": [""]}),
        ("$.command[1]", {"command": ["a", "{nme}"]}),
        ("$.command[1]", {"command": ["a", "{port:web}"]}),
        ("$.env.A", {"command": ["a"], "env": {"A": "{port:}"}}),
        ("$.cwd", {"command": ["a"], "cwd": "/{what}"}),
        ("$.env.CONTROLPLANE_RUN", {"command": ["a"], "env": {"CONTROLPLANE_RUN": "1"}}),
        ("$.ready.check.port", {"command": ["a"], "ready": {"check": {"kind": "tcp", "port": "web"}}}),
        ("$.health.check.command[0]", {"command": ["a"], "health": {"check": {"kind": "command", "command": ["{x}"]}}}),
        (
            "$.ready.check.status_min",
            {
                "command": ["a"],
                "ports": {"w": {}},
                "ready": {"check": {"kind": "http", "port": "w", "status_min": 500}},
            },
        ),
        ("$.ports.b.number", {"command": ["a"], "ports": {"a": {"number": 10}, "b": {"number": 10}}}),
    ],
)
def test_what_types_cannot_say_is_checked_as_well(path, properties):
    assert list(wrong(ProcessProperties, **properties)) == [path]


@pytest.mark.parametrize(
    ("path", "properties"),
    [
        ("$.ports", {"network": "none", "ports": {"web": {}}}),
        ("$.ports.web.target", {"network": "host", "ports": {"web": {"target": 80}}}),
        ("$.volumes[1].target", {"volumes": [{"source": "/a", "target": "/x"}, {"source": "/b", "target": "/x"}]}),
        ("$.volumes[0].source", {"volumes": [{"source": "../a", "target": "/x"}]}),
        ("$.files./etc/a.text", {"files": {"/etc/a": {"text": "{nme}"}}}),
        ("$.files.etc", {"files": {"etc": {"text": ""}}}),
        ("$.files./a.mode", {"files": {"/a": {"text": "", "mode": "rwx"}}}),
        ("$.entrypoint[0]", {"entrypoint": ["{nme}"]}),
    ],
)
def test_containers_have_checks_of_their_own(path, properties):
    assert list(wrong(ContainerProperties, image="i", **properties)) == [path]


def test_properties_inside_something_are_named_from_there():
    _, problems = read_properties({"command": ["{x}"]}, ProcessProperties, "$.spec.properties")
    assert [problem.path for problem in problems] == ["$.spec.properties.command[0]"]


def test_placeholders_are_filled_in_and_what_only_looks_like_one_is_left():
    values = {"name": "web-3", "port:http": "8080"}
    text = 'x={name} {port:http} {{name}} {"a": {"b": 1}} ${name} {other} {'
    assert fill(text, values) == 'x=web-3 8080 {name} {"a": {"b": 1}} $web-3 {other} {'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = sorted({*ProcessProperties.__struct_fields__, *ContainerProperties.__struct_fields__})


@given(
    kind=st.sampled_from([ProcessProperties, ContainerProperties]),
    value=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6) | JSON,
)
def test_whatever_comes_is_read_or_refused_as_the_types_say(kind, value):
    found, problems = read_properties(value, kind)
    try:
        typed = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        assert problems
    else:
        assert problems == problems_of(typed)
        assert found == (None if problems else typed)


def test_every_part_has_its_schema():
    for kind in (ProcessProperties, ContainerProperties):
        assert msgspec.json.schema(kind)["$defs"][kind.__name__]["additionalProperties"] is False
    for operations in OPERATIONS.values():
        for operation in operations.values():
            assert msgspec.json.schema(operation.parameters)
