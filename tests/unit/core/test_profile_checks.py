"""Properties of profiles: everything that is wrong is said at once, with its path."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.placeholders import fill
from controlplane.core.profile_checks import located, problems_of, read_properties
from controlplane.records.health_policies import HealthPolicy
from controlplane.records.lifecycle import HookedDeletionPolicy
from controlplane.records.operations import OPERATIONS
from controlplane.records.policies import KeepingPolicy
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


def problem(kind, **properties) -> tuple[str, str]:
    (found,) = wrong(kind, **properties).items()
    return found


UNKNOWN = "is no placeholder; if it is none, write"


@pytest.mark.parametrize(
    ("path", "said", "properties"),
    [
        ("command[0]", "names no program", {"command": [""]}),
        ("command[1]", f"{{xyz}} {UNKNOWN} {{{{xyz}}}}", {"command": ["a", "{xyz}"]}),
        ("command[1]", f"{{port:web}} {UNKNOWN} {{{{port:web}}}}", {"command": ["a", "{port:web}"]}),
        ("env.A", f"{{port:}} {UNKNOWN} {{{{port:}}}}", {"env": {"A": "{port:}"}}),
        ("cwd", f"{{what}} {UNKNOWN} {{{{what}}}}", {"cwd": "/{what}"}),
        (
            "cwd",
            "{adress} is no placeholder; did you mean 'address'?; if it is none, write {{adress}}",
            {"cwd": "/{adress}"},
        ),
        (
            "cwd",
            "{port:wb} is no placeholder; did you mean 'port:web'?; if it is none, write {{port:wb}}",
            {"cwd": "/{port:wb}", "ports": {"web": {}}},
        ),
        (
            "env.CONTROLPLANE_RUN",
            "cannot be set: names with CONTROLPLANE_ are our own",
            {"env": {"CONTROLPLANE_RUN": "1"}},
        ),
        (
            "ready.check.port",
            "is none of the ports: there are none",
            {"ready": {"check": {"kind": "tcp", "port": "web"}}},
        ),
        (
            "health.check.port",
            "is none of the ports: http, admin",
            {"ports": {"http": {}, "admin": {}}, "health": {"check": {"kind": "http", "port": "web"}}},
        ),
        (
            "ready.check.command[1]",
            f"{{x}} {UNKNOWN} {{{{x}}}}",
            {"ready": {"check": {"kind": "command", "command": ["a", "{x}"]}}},
        ),
        (
            "health.check.command[0]",
            f"{{x}} {UNKNOWN} {{{{x}}}}",
            {"health": {"check": {"kind": "command", "command": ["{x}"]}}},
        ),
        (
            "ready.check.status_min",
            "is more than status_max, 399",
            {"ports": {"w": {}}, "ready": {"check": {"kind": "http", "port": "w", "status_min": 400}}},
        ),
        (
            "ports.c.number",
            "is the same as that of a",
            {"ports": {"a": {"number": 10}, "b": {"number": 11}, "c": {"number": 10}}},
        ),
    ],
)
def test_what_types_cannot_say_is_checked_as_well(path, said, properties):
    assert problem(ProcessProperties, **{"command": ["a"], **properties}) == (f"$.{path}", said)


@pytest.mark.parametrize(
    ("path", "said", "properties"),
    [
        ("ports", "cannot be reached with network none", {"network": "none", "ports": {"web": {}}}),
        (
            "ports.web.target",
            "is the number on the node with network host",
            {"network": "host", "ports": {"up": {}, "web": {"target": 80}}},
        ),
        (
            "ports.web.target",
            "is the number on the node with network host",
            {"network": "host", "ports": {"web": {"target": 80, "number": 81}}},
        ),
        (
            "volumes[2].target",
            "is the same as that of another volume",
            {"volumes": [{"source": "/a", "target": f"/{name}"} for name in "xyx"]},
        ),
        (
            "volumes[1].source",
            f"{{nme}} {UNKNOWN[:17]}; did you mean 'name'?{UNKNOWN[17:]} {{{{nme}}}}",
            {"volumes": [{"source": "/a", "target": "/x"}, {"source": "/{nme}", "target": "/y"}]},
        ),
        ("files./etc/a.text", f"{{xyz}} {UNKNOWN} {{{{xyz}}}}", {"files": {"/etc/a": {"text": "{xyz}"}}}),
        (
            "files",
            "cannot be written into a container that is read_only",
            {"read_only": True, "files": {"/etc/a": {"text": "x"}}},
        ),
        ("entrypoint[1]", f"{{xyz}} {UNKNOWN} {{{{xyz}}}}", {"entrypoint": ["a", "{xyz}"]}),
        ("command[0]", f"{{xyz}} {UNKNOWN} {{{{xyz}}}}", {"command": ["{xyz}"]}),
        ("limits.pids", "expected `int` >= 1", {"limits": {"pids": 0}}),
        ("health", "expected `object`, got `array`", {"health": []}),
    ],
)
def test_containers_have_checks_of_their_own(path, said, properties):
    assert problem(ContainerProperties, **{"image": "i", **properties}) == (f"$.{path}", said)


@pytest.mark.parametrize(
    ("path", "properties"),
    [
        ("$.volumes[0].source", {"volumes": [{"source": "../a", "target": "/x"}]}),
        ("$.files.etc", {"files": {"etc": {"text": ""}}}),
        ("$.files./a.mode", {"files": {"/a": {"text": "", "mode": "rwx"}}}),
    ],
)
def test_what_holds_parts_is_looked_into(path, properties):
    assert list(wrong(ContainerProperties, image="i", **properties)) == [path]


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        (
            ProcessProperties,
            {
                "env": {"A": "{name} {index} {oid} {address} {directory} {port:web} {{xyz}} {}"},
                "cwd": "{directory}/{name}",
                "ports": {"web": {"number": 10}, "up": {"number": 11}, "one": {}, "two": {}},
                "ready": {"check": {"kind": "http", "port": "web", "status_min": 399}},
                "health": {"check": {"kind": "command", "command": ["a", "{port:up}"]}},
            },
        ),
        (
            ContainerProperties,
            {
                "network": "host",
                "ports": {"web": {"number": 80, "target": 80}, "up": {"number": 81}},
                "volumes": [{"source": "/a/{index}", "target": "/x"}, {"source": "/a", "target": "/y"}],
                "files": {"/etc/a": {"text": "{name}"}},
                "entrypoint": ["{address}"],
                "health": None,
            },
        ),
        (ContainerProperties, {"network": "none", "read_only": True, "volumes": ({"source": "v1", "target": "/x"},)}),
        (ContainerProperties, {"network": "bridge", "ports": {"web": {"target": 80}}}),
    ],
)
def test_nothing_is_said_of_what_is_as_it_should_be(kind, properties):
    needed = {"command": ["a"]} if kind is ProcessProperties else {"image": "i"}
    assert wrong(kind, **needed, **properties) == {}


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, "null"), ([], "array"), ((), "array"), (True, "bool"), ("x", "str"), (7, "int"), (0.5, "float")],
)
def test_what_is_no_object_is_named_by_what_it_is(value, name):
    said = [("$", f"expected `object`, got `{name}`")]
    assert read_properties(value, ProcessProperties) == (None, said)
    assert wrong(ProcessProperties, command=["a"], stop=value)["$.stop"] == said[0][1]
    assert wrong(ProcessProperties, command=["a"], ready={"check": value})["$.ready.check"] == said[0][1]


def test_a_part_that_comes_in_kinds_is_looked_into_as_the_kind_that_it_says():
    def checked(**check):
        return wrong(ProcessProperties, command=["a"], ready={"check": check})

    assert checked(kind="delay") == {"$.ready.check.seconds": "is missing"}
    assert checked(kind="none", seconds=1) == {"$.ready.check.seconds": "is no property"}
    kinds = {"$.ready.check.kind": "has to be one of none, delay, tcp, http, command, log"}
    assert checked(kind="dela", seconds=1) == kinds
    assert checked(seconds=1) == kinds


def test_policies_are_read_in_the_same_way_each_with_its_own_checks():
    url = {"type": "NODE_STATUS_POLL_URL", "options": {"poll_url": "gopher://x"}}
    assert wrong(HealthPolicy, detection={"detection_modes": [url]}) == {
        "$.detection.detection_modes[0].options.poll_url": "begins with neither http:// nor https:// nor {url:NAME}"
    }
    assert wrong(KeepingPolicy) == {"$": "says nothing: give per_node_max, per_zone_max or together"}
    hook = {"type": "webhook", "params": {"url": "http://x/"}}
    found, problems = read_properties({"hooks": hook}, HookedDeletionPolicy)
    assert (found.hooks.params.url, problems) == ("http://x/", [])
    assert wrong(HookedDeletionPolicy, hooks={"type": "event", "params": {}}) == {"$.hooks.params": "is no property"}
    assert wrong(HookedDeletionPolicy, hooks=None) == {}


def test_a_problem_that_a_converter_found_is_told_from_where_the_value_stands():
    for value, at in (([1], "$.x[0]"), (1, "$.x")):
        with pytest.raises(msgspec.ValidationError) as found:
            msgspec.convert(value, list[str] if value == [1] else str)
        assert located(found.value, "$.x") == (at, "expected `str`, got `int`")


def test_names_in_paths_are_short_and_printable():
    assert list(wrong(ProcessProperties, command=["a"], **{"é\n": 1})) == ["$.\\xe9\n"]
    long = "x" * 60
    assert wrong(ProcessProperties, command=["a"], **{long: 1}) == {f"$.{long}": "is no property"}
    assert wrong(ProcessProperties, command=["a"], **{long + "y": 1}) == {f"$.{long[:57]}...": "is no property"}
    _, found = read_properties({"command": ["a"], 7: 1}, ProcessProperties)
    assert found == [("$.int", "is no property")]
    _, found = read_properties({"command": ["a"], "env": {7: "x"}}, ProcessProperties)
    assert found == [("$.env.int", "expected `str`, got `int`")]


def test_a_wrong_name_hides_no_wrong_value_and_no_value_is_said_twice_to_be_wrong():
    _, found = read_properties({"command": ["a"], "env": {"1": 2}}, ProcessProperties)
    assert [tuple(each) for each in found] == [
        ("$.env.1", "has to be letters, digits and underlines, the first one no digit"),
        ("$.env.1", "expected `str`, got `int`"),
    ]
    _, found = read_properties({"command": ["a", 1]}, ProcessProperties)
    assert found == [("$.command[1]", "expected `str`, got `int`")]
    assert wrong(ProcessProperties, command=["a", 1, 2], env={"A": 1}) == {
        "$.command[1]": "expected `str`, got `int`",
        "$.command[2]": "expected `str`, got `int`",
        "$.env.A": "expected `str`, got `int`",
    }
    assert wrong(ProcessProperties, command=[]) == {"$.command": "expected `array` of length >= 1"}
    assert wrong(ProcessProperties, command="a") == {"$.command": "expected `array`, got `str`"}


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
