"""What is said of values that are not of their type."""

from enum import Enum
from typing import Annotated, Literal

import msgspec
import pytest

from controlplane.core.policies import POLICY_TYPES
from controlplane.core.wordings import located
from controlplane.core.worker_types import WORKER_TYPES
from controlplane.records.balancing import CommandName, FileName
from controlplane.records.clusters import GenericClusterInput
from controlplane.records.definitions import DefinitionInput
from controlplane.records.lifecycle import HookUrl
from controlplane.records.lone_workers import AdoptionInput, WorkerInput
from controlplane.records.operations import OPERATIONS
from controlplane.records.profiles import ContainerProperties, PortName
from controlplane.records.receivers import ReceiverInput
from controlplane.records.scaling import MetricName
from controlplane.records.types import Authid, Name, PublicKey


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


Many = Enum("Many", {f"N{number}": number for number in range(41)})
Enough = Enum("Enough", {f"N{number}": number for number in range(40)})


class Inner(msgspec.Struct):
    colour: Colour | None = None
    shade: Annotated[Colour | None, msgspec.Meta(description="of it")] = None


class Outer(msgspec.Struct, rename={"by_name": "named"}):
    inner: Inner | None = None
    listed: list[Colour] = []
    several: tuple[Colour, ...] = ()
    chosen: set[Colour] = set()
    frozen: frozenset[Colour] = frozenset()
    by_name: dict[Name, Colour] = {}
    number: int = 0
    many: Many | None = None
    enough: Enough | None = None


def said(value, kind=Outer, told=True):
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, kind)
    return tuple(located(refused.value, "$.given", kind if told else None))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"inner": {"colour": "pink"}}, ".inner.colour"),
        ({"inner": {"shade": "pink"}}, ".inner.shade"),
        ({"listed": ["red", "pink"]}, ".listed[1]"),
        ({"several": ["pink"]}, ".several[0]"),
        ({"chosen": ["pink"]}, ".chosen[0]"),
        ({"frozen": ["pink"]}, ".frozen[0]"),
        ({"named": {"one": "pink"}}, ".named[...]"),
    ],
)
def test_of_a_value_that_there_is_not_it_is_said_which_ones_there_are(value, path):
    assert said(value) == (f"$.given{path}", "'pink' is none of red, blue")
    assert said(value, told=False) == (f"$.given{path}", "invalid enum value 'pink'")


def test_at_the_top_there_is_no_path():
    assert said("pink", Colour) == ("$.given", "'pink' is none of red, blue")
    assert said(["pink"], list[Colour]) == ("$.given[0]", "'pink' is none of red, blue")


def test_values_are_listed_when_they_are_not_too_many():
    listed = ", ".join(map(str, range(40)))
    assert said({"enough": 77}) == ("$.given.enough", f"77 is none of {listed}")
    assert said({"many": 77}) == ("$.given.many", "invalid enum value 77")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Name, "has to be 3 to 64 small letters, digits and underlines, the first one a letter"),
        (Authid, "has to be 1 to 128 letters, digits and any of _ . @ -, the first one a letter or digit"),
        (PublicKey, "has to be 64 hexadecimal digits, with small letters"),
        (FileName, "has to be a plain file name: small letters, digits, _ and -, and an ending as in pages.cfg"),
        (CommandName, "has to be 1 to 32 small letters, digits, _ and -, the first one a letter"),
        (HookUrl, "has to be an address that begins with http:// or https://"),
        (MetricName, "has to be 1 to 64 letters, digits and any of _ . -, the first one a letter"),
        (PortName, "has to be 1 to 32 small letters, digits and underlines, the first one a letter"),
    ],
)
def test_what_a_text_has_to_be_is_said_in_words(kind, words):
    assert said("?", kind) == ("$.given", words)
    assert said("?", kind, told=False) == ("$.given", words)


def test_of_a_name_in_an_object_the_path_is_that_of_the_object():
    words = "has to be 3 to 64 small letters, digits and underlines, the first one a letter"
    assert said({"named": {"?": "red"}}) == ("$.given.named", words)


def test_everything_else_is_said_as_it_is():
    assert said({"number": "one"}) == ("$.given.number", "expected `int`, got `str`")


def test_what_no_type_can_be_made_of_is_no_reason_to_fail():
    problem = msgspec.ValidationError("Invalid enum value 'pink'")
    assert tuple(located(problem, "$", "nonsense")) == ("$", "invalid enum value 'pink'")
    assert tuple(located(problem, "$", int)) == ("$", "invalid enum value 'pink'")


def test_of_words_that_may_be_said_it_is_said_which_ones_there_are():
    kind = Literal["SIGTERM", "SIGKILL"]
    assert said("SIGNOPE", kind) == ("$.given", "'SIGNOPE' is none of SIGKILL, SIGTERM")
    assert said(["SIGNOPE"], list[kind | None]) == ("$.given[0]", "'SIGNOPE' is none of SIGKILL, SIGTERM")


def patterns_in(schema) -> set[str]:
    """What texts have to look like somewhere in a JSON Schema."""
    if isinstance(schema, list):
        return set().union(*map(patterns_in, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
    return own.union(*map(patterns_in, schema.values()))


def test_whatever_a_text_has_to_look_like_is_said_in_words():
    kinds = [each.properties for each in (*WORKER_TYPES.values(), *POLICY_TYPES.values())]
    kinds += [each.parameters for known in OPERATIONS.values() for each in known.values()]
    kinds += [GenericClusterInput, DefinitionInput, WorkerInput, AdoptionInput, ReceiverInput]
    found = patterns_in(msgspec.json.schema_components(kinds)[1])
    assert len(found) > 15
    for pattern in found:
        problem = msgspec.ValidationError(f"Expected `str` matching regex {pattern!r}")
        assert "regex" not in located(problem, "$").message, pattern


@pytest.mark.parametrize(
    ("kind", "given", "path", "words"),
    [
        (ContainerProperties, {"image": "two words"}, ".image", "has to be the name of an image, which has no spaces"),
        (GenericClusterInput, {"name": "shop", "profile": "page", "naming": "$Q"}, ".naming", "has to be letters"),
    ],
)
def test_words_are_said_where_a_text_is_given(kind, given, path, words):
    found = said(given, kind)
    assert found[0] == f"$.given{path}"
    assert found[1].startswith(words)
