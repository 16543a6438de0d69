"""Declaring what callers can do.

A procedure is a plain function over one transaction. Its decorator says under which names it is called and which right
it needs; its annotations say how arguments are read: a `Lookup` turns an oid or name into the record, a `Definition`
reads a whole settings object and reports every problem in it at once, and everything else is converted by msgspec.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import cbor2
import msgspec

from controlplane.core.wordings import located
from controlplane.errors import ControlPlaneError, InvalidArgument, InvalidConfiguration, NoSuchObject, Problem
from controlplane.records.limits import DEFAULT_LIMITS, Limits
from controlplane.records.outcomes import IDEMPOTENCY_KEY
from controlplane.records.types import Line, Oid, Seconds, carries
from controlplane.services.finding import resolve
from controlplane.store.catalog import (
    CLUSTERS,
)
from controlplane.store.database import View
from controlplane.store.tables import Table

F = TypeVar("F", bound=Callable[..., Any])
VALUE_SHOWN_MAX = 80
UNKNOWN_NAMED_MAX = 10
"""Arguments or settings that there are not and that an error names; the rest is counted. Looking for what was meant
takes time, and a message has room for a million of them."""

CONTAINERS = (dict, list, tuple)
SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
SHORT_LENGTH = 1_000
"""Of text that is within every limit, whatever it says."""


class Lookup(NamedTuple):
    """Reads an oid, or with `by` a unique name, and gives the function the record it belongs to."""

    table: Table[Any]
    by: str | None = None
    admits: Callable[[Any], bool] | None = None
    """Of records of several kinds in one table those that are meant."""


class Find(NamedTuple):
    """Reads an oid, a name, or the beginning of an oid, and gives the function the record it belongs to."""

    table: Table[Any]
    named: Callable[[str], bytes] = str.encode
    """The key in the unique index `name` of something with this name."""

    admits: Callable[[Any], bool] | None = None
    """Of records of several kinds in one table those that are meant."""

    find: Callable[[View, str], Any] | None = None
    """Finds what has no unique name."""

    noun: str | None = None
    """What an error calls it, unless as its table does."""

    cluster_of: Callable[[View, Any], Any] | None = None
    """Of what belongs to a cluster: which one, for the rights that somebody has on it."""


class Definition(NamedTuple):
    """Reads a settings object; every problem is found, not only the first one."""

    echoed: tuple[str, ...] = ()
    """Fields that replies carry and that are accepted and ignored, so that a reply can be sent back changed."""

    further: Callable[[Mapping[Any, Any]], Iterable[Problem]] | None = None
    """Of settings that cannot be read, what else the function would have found: it is not called then."""


class Ask(NamedTuple):
    """The answer of a look-through procedure: what to ask agents, and what to make of their answers."""

    questions: Mapping[Oid, Mapping[str, Any]]
    """By node."""

    within: Seconds
    complete: Callable[[Mapping[Oid, Mapping[str, Any]]], Any]
    """Given the answers of the nodes that answered in time, returns the reply."""


class Parameter(NamedTuple):
    """One argument of a procedure."""

    name: str
    kind: Any
    reader: Lookup | Find | Definition | None
    required: bool
    default: Any


@dataclass(frozen=True, slots=True)
class Procedure:
    """Something that can be called."""

    uri: str
    aliases: tuple[str, ...]
    function: Callable[..., Any]
    needs: str
    writes: bool
    raises: tuple[type[ControlPlaneError], ...]
    parameters: tuple[Parameter, ...]
    result: Any
    text: str
    cluster_argument: str | None
    """The name of the argument that says which one cluster it is about, by its oid."""

    asks: Callable[..., Ask] | None = None
    """Of one that writes: what is asked of agents before its transaction, given the same arguments."""

    def named(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments by their names as far as they have one, whatever they are."""
        names = [parameter.name for parameter in self.parameters]
        return {**dict(zip(names, args, strict=False)), **{str(name): value for name, value in kwargs.items()}}

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
        """Give every argument its name; raises `InvalidArgument` that lists all that do not fit."""
        given = list(args)
        names = [parameter.name for parameter in self.parameters]
        problems = []
        if len(given) > len(names):
            problems.append(Problem("$", f"takes at most {len(names)} arguments, {len(given)} were given"))
        bound = dict(zip(names, given, strict=False))
        unknown = []
        for name, value in kwargs.items():
            if name in bound:
                problems.append(Problem(f"$.{name}", "was given twice"))
            elif name in names:
                bound[name] = value
            else:
                unknown.append(name)
        problems.extend(unknown_names("$", unknown, names, "argument"))
        problems.extend(
            Problem(f"$.{parameter.name}", "is missing")
            for parameter in self.parameters
            if parameter.required and parameter.name not in bound
        )
        problems.extend(unreadable(bound, limits))
        if problems:
            raise self.refuse(problems)
        return bound

    def parse(self, bound: Mapping[str, Any], view: View) -> dict[str, Any]:
        """Return the arguments as the function wants them; raises what says best why one cannot be read."""
        problems: list[Problem] = []
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in bound or (bound[parameter.name] is None and not parameter.required):
                values[parameter.name] = parameter.default
                continue
            kind = _wire_kind(parameter)
            try:
                if isinstance(parameter.reader, Definition):
                    values[parameter.name] = read_definition(
                        bound[parameter.name], parameter.kind, parameter.reader, parameter.name
                    )
                else:
                    values[parameter.name] = msgspec.convert(bound[parameter.name], kind)
            except (msgspec.ValidationError, TypeError, ValueError, OverflowError, RecursionError) as problem:
                problems.append(located(problem, f"$.{parameter.name}", kind))
        if problems:
            raise self.refuse(problems)
        for parameter in self.parameters:
            if isinstance(parameter.reader, Lookup | Find) and values[parameter.name] is not None:
                values[parameter.name] = _look_up(parameter.reader, values[parameter.name], view)
        return values

    def refuse(self, problems: list[Problem]) -> InvalidArgument:
        """Return the error that lists what is wrong with the arguments."""
        first = problems[0]
        usage = ", ".join(p.name if p.required else f"{p.name}=..." for p in self.parameters)
        return InvalidArgument(
            f"{first.path.removeprefix('$.')}: {first.message}",
            subject={"type": "procedure", "uri": self.uri},
            problems=problems,
            next_step=f"call it as {self.uri.rpartition('.')[2]}({usage})",
        )


def procedure(
    uri: str,
    *,
    needs: str,
    aliases: Iterable[str] = (),
    writes: bool = False,
    raises: Iterable[type[ControlPlaneError]] = (),
    asks: Callable[..., Ask] | None = None,
) -> Callable[[F], F]:
    """Mark a function as something that can be called over WAMP under these names."""

    def mark(function: F) -> F:
        hints = get_type_hints(function, include_extras=True)
        if IDEMPOTENCY_KEY in hints:
            raise TypeError(f"{uri} may have no parameter {IDEMPOTENCY_KEY}: the pipeline takes it")
        signature = list(inspect.signature(function).parameters.values())[1:]
        parameters = tuple(_parameter(hints[parameter.name], parameter) for parameter in signature)
        declared = Procedure(
            uri=uri,
            aliases=tuple(aliases),
            function=function,
            needs=needs,
            writes=writes,
            raises=tuple(raises),
            parameters=parameters,
            result=hints["return"],
            text=inspect.cleandoc(function.__doc__ or ""),
            cluster_argument=next((p.name for p in parameters if _is_of_cluster(p.reader)), None),
            asks=asks,
        )
        function.__procedure__ = declared  # type: ignore[attr-defined]
        return function

    return mark


def collect(*modules: Any) -> dict[str, Procedure]:
    """Return the procedures that these modules declare, by every name they have; `GENERATED` are from a table."""
    found: dict[str, Procedure] = {}
    for module in modules:
        for value in (*vars(module).values(), *getattr(module, "GENERATED", ())):
            declared = getattr(value, "__procedure__", None)
            if isinstance(declared, Procedure) and value.__module__ == module.__name__:
                for name in (declared.uri, *declared.aliases):
                    if found.setdefault(name, declared) is not declared:
                        raise ValueError(f"two procedures are called {name}")
    return found


def read_definition(value: Any, kind: type[Any], reader: Definition, name: str) -> Any:
    """Return the settings object, or raise `InvalidConfiguration` with every problem and its path."""
    if not isinstance(value, Mapping):
        raise msgspec.ValidationError(f"Expected `object`, got `{type(value).__name__}`")
    fields = _fields(kind)  # type: ignore[arg-type]  # A struct type is hashable; its metaclass hides it.
    problems: list[Problem] = []
    unknown: list[Any] = []
    read: dict[str, Any] = {}
    for key, given in value.items():
        if key in reader.echoed and key not in fields:
            continue
        if key not in fields:
            unknown.append(key)
            continue
        try:
            read[fields[key].name] = msgspec.convert(given, fields[key].type)
        except (msgspec.ValidationError, TypeError, ValueError, OverflowError, RecursionError) as problem:
            problems.append(located(problem, f"$.{key}", fields[key].type))
    problems.extend(unknown_names("$", unknown, [*fields, *reader.echoed], "setting"))
    problems.extend(
        Problem(f"$.{field.encode_name}", "is missing")
        for field in fields.values()
        if field.required and field.encode_name not in value
    )
    if problems and reader.further is not None:
        problems.extend(reader.further(value))
    if problems:
        raise InvalidConfiguration(
            f"{name} has {len(problems)} problem{'s' if len(problems) > 1 else ''}; "
            f"first, {problems[0].path}: {problems[0].message}",
            problems=problems,
            next_step="mend what is listed and call again",
        )
    return kind(**read)


@cache
def _fields(kind: type[Any]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def shown(value: Any) -> str:
    """Return a value as an error message may show it: short, and never fatal."""
    text = value if isinstance(value, str) else type(value).__name__
    printable = text.encode("ascii", "backslashreplace").decode()
    return printable if len(printable) <= VALUE_SHOWN_MAX else printable[: VALUE_SHOWN_MAX - 3] + "..."


def nearest(name: Any, known: Iterable[str]) -> str:
    """Return a hint at the known name that is most like this one, or nothing."""
    match = difflib.get_close_matches(name[:VALUE_SHOWN_MAX], list(known), 1) if isinstance(name, str) else []
    return f"; did you mean {match[0]!r}?" if match else ""


def unknown_names(path: str, unknown: list[Any], known: list[str], noun: str) -> list[Problem]:
    """Return what is wrong with names that there are not: the first ones one by one, the rest as a number."""
    problems = [
        Problem(f"{path}.{shown(name)}", f"is no {noun}{nearest(name, known)}") for name in unknown[:UNKNOWN_NAMED_MAX]
    ]
    if len(unknown) > UNKNOWN_NAMED_MAX:
        more = len(unknown) - UNKNOWN_NAMED_MAX
        problems.append(Problem(path, f"has {more} more name{'s' if more > 1 else ''} that {noun}s do not have"))
    return problems


def unreadable(bound: Mapping[str, Any], limits: Limits) -> list[Problem]:
    """Return the arguments that are too large, too deep, or no text that can be stored."""
    problems = []
    for name, value in bound.items():
        if value is None or value is True or value is False:
            continue
        if type(value) is str and len(value) <= SHORT_LENGTH and value.isascii():
            continue
        if _is_deep(value, limits.argument_depth_max):
            at_most = f"{limits.argument_depth_max} are admitted (argument_depth_max)"
            problems.append(Problem(f"$.{shown(name)}", f"has too many lists and objects inside each other; {at_most}"))
            continue
        if carries(value, limits.argument_bytes_max):
            continue
        try:
            size = len(cbor2.dumps(value))
        except (cbor2.CBOREncodeError, ValueError, RecursionError, TypeError, OverflowError) as problem:
            problems.append(Problem(f"$.{shown(name)}", f"cannot be read: {type(problem).__name__}"))
        else:
            if size > limits.argument_bytes_max:
                at_most = f"{limits.argument_bytes_max} are admitted (argument_bytes_max)"
                problems.append(Problem(f"$.{shown(name)}", f"has {size} bytes; {at_most}"))
    return problems


def _is_deep(value: Any, depth_max: int) -> bool:
    """Say whether a value has more levels than are admitted, level by level: without recursion."""
    level = [value]
    for _ in range(depth_max + 1):
        below: list[Any] = []
        for part in level:
            inside = part.values() if isinstance(part, dict) else part if isinstance(part, CONTAINERS) else ()
            below.extend([inner for inner in inside if type(inner) not in SCALARS and isinstance(inner, CONTAINERS)])
        if not below:
            return False
        level = below
    return True


def _look_up(lookup: Lookup | Find, value: Any, view: View) -> Any:
    if isinstance(lookup, Find) and lookup.find is not None:
        return lookup.find(view, value)
    if isinstance(lookup, Find):
        return resolve(view, lookup.table, value, lookup.named, lookup.admits, lookup.noun)
    rows = view.rows(lookup.table)
    found = rows.get(value) if lookup.by is None else rows.get_by(lookup.by, value)
    if lookup.admits is not None and not lookup.admits(found):
        noun = lookup.table.noun
        raise NoSuchObject(
            f"{noun} {found.name} is one of another type",
            subject={"type": noun, "oid": str(found.oid)},
            next_step="use the procedures under controlplane.cluster for it",
        )
    return found


def _is_of_cluster(reader: Lookup | Find | Definition | None) -> bool:
    if isinstance(reader, Find) and reader.cluster_of is not None:
        return True
    return isinstance(reader, Lookup | Find) and reader.table is CLUSTERS and getattr(reader, "by", None) is None


def _wire_kind(parameter: Parameter) -> Any:
    if isinstance(parameter.reader, Find):
        return Line
    if isinstance(parameter.reader, Lookup):
        return Oid if parameter.reader.by is None else str
    return parameter.kind


def _parameter(hint: Any, parameter: inspect.Parameter) -> Parameter:
    reader = None
    kind = hint
    required = parameter.default is inspect.Parameter.empty
    plain = _without_none(hint)
    if get_origin(plain) is Annotated:
        found = [note for note in get_args(plain)[1:] if isinstance(note, Lookup | Find | Definition)]
        if found:
            reader = found[0]
            kind = get_args(plain)[0]
    return Parameter(parameter.name, kind, reader, required, None if required else parameter.default)


def _without_none(hint: Any) -> Any:
    others = [part for part in get_args(hint) if part is not type(None)]
    if get_origin(hint) is not Annotated and len(others) == 1 and type(None) in get_args(hint):
        return others[0]
    return hint
