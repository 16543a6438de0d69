"""Reading the properties of a profile: every problem at once, each with its path, and what types alone cannot say.

The master reads them to refuse a bad profile, an agent to run a worker; so both say the same.
"""

import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from controlplane.core.health_rules import health_problems
from controlplane.core.placeholders import PLACEHOLDER
from controlplane.core.policy_checks import policy_problems
from controlplane.core.wordings import located
from controlplane.errors import Problem
from controlplane.records.health_policies import HealthPolicy
from controlplane.records.profiles import (
    OWN_VARIABLE_PREFIX,
    ContainerProperties,
    HttpCheck,
    Part,
    ProcessProperties,
    TcpCheck,
)

PLACES = ("name", "index", "oid", "address", "directory")
"""Placeholders that stand for themselves; `port:NAME` is the other one."""

SHOWN_MAX = 60

P = TypeVar("P", bound=Part)


def read_properties(value: Any, kind: type[P], path: str = "$") -> tuple[P | None, list[Problem]]:
    """Return the typed properties, or None and everything that is wrong with them."""
    problems = list(_mismatches(value, kind, path))
    if problems:
        return None, problems
    try:
        found = msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as problem:
        return None, [located(problem, path, kind)]
    problems = [Problem(path + problem.path.removeprefix("$"), problem.message) for problem in problems_of(found)]
    return (None if problems else found), problems


def problems_of(properties: Any) -> list[Problem]:
    """Return what is wrong with properties of the right types."""
    match properties:
        case ProcessProperties():
            return [*_common(properties, "$"), *_of_process(properties)]
        case ContainerProperties():
            return [*_common(properties, "$"), *_of_container(properties)]
        case HealthPolicy():
            return list(health_problems(properties))
        case _:
            return list(policy_problems(properties))


def _common(properties: ProcessProperties | ContainerProperties, path: str) -> Iterator[Problem]:
    texts = {f"{path}.env.{name}": value for name, value in properties.env.items()}
    texts |= {f"{path}.command[{place}]": text for place, text in enumerate(properties.command or ())}
    texts |= {f"{path}.cwd": properties.cwd or ""}
    for part, looked in (("ready", properties.ready), ("health", properties.health)):
        check = looked.check if looked is not None else None
        at = f"{path}.{part}.check"
        if isinstance(check, TcpCheck | HttpCheck) and check.port not in properties.ports:
            yield Problem(f"{at}.port", f"is none of the ports: {', '.join(properties.ports) or 'there are none'}")
        if isinstance(check, HttpCheck) and check.status_min > check.status_max:
            yield Problem(f"{at}.status_min", f"is more than status_max, {check.status_max}")
        texts |= {f"{at}.command[{place}]": text for place, text in enumerate(getattr(check, "command", ()))}
    for name in properties.env:
        if name.startswith(OWN_VARIABLE_PREFIX):
            yield Problem(f"{path}.env.{name}", f"cannot be set: names with {OWN_VARIABLE_PREFIX} are our own")
    taken: dict[int, str] = {}
    for name, port in properties.ports.items():
        if port.number is not None and port.number in taken:
            yield Problem(f"{path}.ports.{name}.number", f"is the same as that of {taken[port.number]}")
        elif port.number is not None:
            taken[port.number] = name
    if isinstance(properties, ContainerProperties):
        texts |= {f"{path}.entrypoint[{place}]": text for place, text in enumerate(properties.entrypoint or ())}
        texts |= {f"{path}.files.{name}.text": file.text for name, file in properties.files.items()}
        texts |= {f"{path}.volumes[{place}].source": each.source for place, each in enumerate(properties.volumes)}
    yield from _unknown_placeholders(texts, properties)


def _of_process(properties: ProcessProperties) -> Iterator[Problem]:
    if not properties.command[0]:
        yield Problem("$.command[0]", "names no program")


def _of_container(properties: ContainerProperties) -> Iterator[Problem]:
    if properties.network == "none" and properties.ports:
        yield Problem("$.ports", "cannot be reached with network none")
    if properties.network == "host":
        for name, port in properties.ports.items():
            if port.target is not None and port.target != port.number:
                yield Problem(f"$.ports.{name}.target", "is the number on the node with network host")
    if properties.files and properties.read_only:
        yield Problem("$.files", "cannot be written into a container that is read_only")
    targets = [volume.target for volume in properties.volumes]
    for place, target in enumerate(targets):
        if target in targets[:place]:
            yield Problem(f"$.volumes[{place}].target", "is the same as that of another volume")


def _unknown_placeholders(
    texts: Mapping[str, str], properties: ProcessProperties | ContainerProperties
) -> Iterator[Problem]:
    known = {*PLACES, *(f"port:{name}" for name in properties.ports)}
    for path, text in texts.items():
        for _, name in PLACEHOLDER.findall(text):
            if name and name not in known:
                yield Problem(
                    path, f"{{{name}}} is no placeholder{_nearest(name, known)}; if it is none, write {{{{{name}}}}}"
                )


def _mismatches(value: Any, kind: Any, path: str) -> Iterator[Problem]:
    """Yield where a value is not of a type, going into structs and what holds structs."""
    kind, whole = _bare(kind), kind
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _struct_mismatches(value, kind, path)
        return
    inside = False
    if get_origin(kind) in (types.UnionType, Union):
        members = [_bare(each) for each in get_args(kind)]
        structs = [each for each in members if isinstance(each, type) and issubclass(each, msgspec.Struct)]
        if structs and not (value is None and type(None) in members):
            chosen = _by_tag(value, structs)
            yield from _struct_mismatches(value, chosen, path) if chosen else [_unchosen(value, structs, path)]
            return
    elif get_origin(kind) is dict and isinstance(value, Mapping):
        name_kind, value_kind = get_args(kind)
        for name, each in value.items():
            at = f"{path}.{_shown(name)}"
            for problem in [*_leaf(name, name_kind, at), *_mismatches(each, value_kind, at)]:
                inside = True
                yield problem
    elif get_origin(kind) is tuple and isinstance(value, list | tuple):
        for place, each in enumerate(value):
            for problem in _mismatches(each, get_args(kind)[0], f"{path}[{place}]"):
                inside = True
                yield problem
    if not inside:
        yield from _leaf(value, whole, path)


def _struct_mismatches(value: Any, kind: type[msgspec.Struct], path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"expected `object`, got `{_kind_of(value)}`")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    for name, each in value.items():
        if name in fields:
            yield from _mismatches(each, fields[name].type, f"{path}.{name}")
        elif name != tag:
            yield Problem(f"{path}.{_shown(name)}", f"is no property{_nearest(name, fields)}")
    for name, field in fields.items():
        if field.required and name not in value:
            yield Problem(f"{path}.{name}", "is missing")


def _leaf(value: Any, kind: Any, path: str) -> Iterator[Problem]:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, TypeError, ValueError, OverflowError, RecursionError) as problem:
        yield located(problem, path, kind)


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _by_tag(value: Any, structs: list[type[msgspec.Struct]]) -> type[msgspec.Struct] | None:
    if len(structs) == 1:
        return structs[0]
    if not isinstance(value, Mapping):
        return None
    return next((s for s in structs if value.get(str(s.__struct_config__.tag_field)) == s.__struct_config__.tag), None)


def _unchosen(value: Any, structs: list[type[msgspec.Struct]], path: str) -> Problem:
    if not isinstance(value, Mapping):
        return Problem(path, f"expected `object`, got `{_kind_of(value)}`")
    tags = ", ".join(str(each.__struct_config__.tag) for each in structs)
    return Problem(f"{path}.{structs[0].__struct_config__.tag_field}", f"has to be one of {tags}")


def _kind_of(value: Any) -> str:
    names = {type(None): "null", list: "array", tuple: "array", dict: "object", bool: "bool", str: "str"}
    return names.get(type(value), type(value).__name__)


def _nearest(name: Any, known: Any) -> str:
    match = difflib.get_close_matches(name[:SHOWN_MAX], list(known), 1) if isinstance(name, str) else []
    return f"; did you mean {match[0]!r}?" if match else ""


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else type(value).__name__
    printable = text.encode("ascii", "backslashreplace").decode()
    return printable if len(printable) <= SHOWN_MAX else printable[: SHOWN_MAX - 3] + "..."
