"""The typed client, written from what procedures declare: one module for each noun, in `controlplane/client/nouns/`."""

import textwrap
import types
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec

from controlplane.records.events import OWN_PREFIX, EventPage
from controlplane.services.procedures import Definition, Find, Lookup, Parameter, Procedure

FOLDER = Path(__file__).resolve().parent / "client" / "nouns"
WIDTH = 108
PAGED = frozenset({"limit", "marker"})
WRITTEN = "written by scripts/contract from what procedures declare: do not edit."
INSIDE = " " * 8


def sources(procedures: Mapping[str, Procedure]) -> dict[str, str]:
    """Return the modules by their file names."""
    nouns: dict[str, list[Procedure]] = {}
    for uri, each in sorted({each.uri: each for each in procedures.values()}.items()):
        if uri.startswith(OWN_PREFIX):
            nouns.setdefault(uri.split(".")[1], []).append(each)
    made = {f"{noun}.py": _module(noun, declared) for noun, declared in nouns.items()}
    return {**made, "__init__.py": _index(nouns)}


def class_name(noun: str) -> str:
    """Return what the class of a noun is called."""
    return f"{noun.capitalize()}Calls"


def _index(nouns: Iterable[str]) -> str:
    lines = [f'"""All nouns of the plane; {WRITTEN}"""', ""]
    lines += [f"from controlplane.client.nouns.{noun} import {class_name(noun)}" for noun in nouns]
    lines += ["from controlplane.client.calls import Calls", "", ""]
    lines[2:-2] = sorted(lines[2:-2])
    lines += [
        "class Nouns:",
        '    """What can be called, by noun."""',
        "",
        "    def __init__(self, calls: Calls) -> None:",
    ]
    lines += ['        """Have all nouns called in one way."""']
    lines += [f"        self.{noun} = {class_name(noun)}(calls)" for noun in nouns]
    return "\n".join(lines) + "\n"


def _module(noun: str, procedures: list[Procedure]) -> str:
    imports = _Imports()
    body = []
    for each in procedures:
        body += _method(each, imports)
        if {parameter.name for parameter in each.parameters} >= PAGED:
            body += _iteration(each, imports)
    imports.add("controlplane.client.calls", "Noun")
    head = [f'"""What can be done with each {noun}; {WRITTEN}"""', "", *imports.lines(), "", ""]
    head += [f"class {class_name(noun)}(Noun):", f'    """Procedures of `{OWN_PREFIX}{noun}`."""']
    return "\n".join(head + body) + "\n"


def _method(each: Procedure, imports: "_Imports") -> list[str]:
    verb = each.uri.rpartition(".")[2]
    result = imports.source(each.result, taken=False)
    lines = ["", f"    async def {verb}("]
    lines += _parameters(each.parameters, imports)
    if each.writes:
        lines += [f"{INSIDE}*,", f"{INSIDE}idempotency_key: str | None = None,"]
    lines += [f"    ) -> {result}:", *_docstring(each.text)]
    lines += [f"{INSIDE}return await self._calls.{'write' if each.writes else 'read'}(", f'{INSIDE}    "{each.uri}",']
    if each.parameters:
        lines += [f"{INSIDE}    {{"]
        lines += [f'{INSIDE}        "{parameter.name}": {parameter.name},' for parameter in each.parameters]
        lines += [f"{INSIDE}    }},"]
    else:
        lines += [f"{INSIDE}    {{}},"]
    lines += [f"{INSIDE}    {'type(None)' if result == 'None' else result},"]
    lines += [f"{INSIDE}    idempotency_key,"] if each.writes else []
    return [*lines, f"{INSIDE})"]


def _iteration(each: Procedure, imports: "_Imports") -> list[str]:
    """Return the method that goes through all pages of a list."""
    verb = each.uri.rpartition(".")[2]
    numbered = each.result is EventPage
    item = imports.source(get_args(EventPage.__annotations__["events"])[0] if numbered else get_args(each.result)[0])
    imports.add("collections.abc", "AsyncIterator")
    imports.add("controlplane.client.calls", "PAGE_SIZE")
    kept = [parameter for parameter in each.parameters if parameter.name not in PAGED]
    lines = ["", f"    def {verb.replace('list_', 'iterate_', 1)}("]
    lines += _parameters(kept, imports)
    lines += [f"{INSIDE}page_size: int = PAGE_SIZE,", f"    ) -> AsyncIterator[{item}]:"]
    lines += _docstring(f"Go through all that `{verb}` lists, page by page as it is needed.")
    lines += [f"{INSIDE}return self._calls.{'numbered' if numbered else 'pages'}("]
    lines += [f"{INSIDE}    lambda limit, marker: self.{verb}("]
    lines += [f"{INSIDE}        {parameter.name}={parameter.name}," for parameter in kept]
    lines += [f"{INSIDE}        limit=limit,", f"{INSIDE}        marker=marker,", f"{INSIDE}    ),"]
    return [*lines, f"{INSIDE}    page_size,", f"{INSIDE})"]


def _parameters(parameters: Iterable[Parameter], imports: "_Imports") -> list[str]:
    lines = [f"{INSIDE}self,"]
    for parameter in parameters:
        kind = imports.argument(parameter)
        if parameter.required:
            lines.append(f"{INSIDE}{parameter.name}: {kind},")
            continue
        default = parameter.default
        if default is None and "None" not in kind.split(" | "):
            kind += " | None"
        shown = default.value if isinstance(default, Enum) else default
        lines.append(f"{INSIDE}{parameter.name}: {kind} = {_literal(shown)},")
    return lines


def _literal(value: Any) -> str:
    text = repr(value)
    if isinstance(value, str):
        return '"' + text[1:-1] + '"'
    return f"{value:_}" if type(value) is int and value >= 1_000_000 else text


def _docstring(text: str) -> list[str]:
    first, _, rest = text.partition("\n\n")
    paragraphs = [textwrap.fill(" ".join(part.split()), WIDTH) for part in rest.split("\n\n") if part.strip()]
    if not paragraphs:
        return [f'{INSIDE}"""{" ".join(first.split())}"""']
    lines = [f'{INSIDE}"""{" ".join(first.split())}']
    for paragraph in paragraphs:
        lines += ["", *(INSIDE + line for line in paragraph.split("\n"))]
    return [*lines, f'{INSIDE}"""']


class _Imports:
    """Annotations as source, and what has to be imported for them."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def add(self, module: str, name: str) -> str:
        """Have a name imported."""
        self._names.setdefault(module, set()).add(name)
        return name

    def lines(self) -> list[str]:
        """Return the lines that import everything."""
        groups: list[list[str]] = [[], []]
        for module in sorted(self._names):
            names = "".join(f"    {name},\n" for name in sorted(self._names[module], key=_import_order))
            line = f"from {module} import {', '.join(sorted(self._names[module], key=_import_order))}"
            own = module.startswith("controlplane")
            groups[own].append(line if len(line) <= 120 else f"from {module} import (\n{names})")
        return [*groups[0], *([""] if groups[0] else []), *groups[1]]

    def argument(self, parameter: Parameter) -> str:
        """Return how a caller gives an argument."""
        if isinstance(parameter.reader, Lookup | Find):
            return self.add("controlplane.client.calls", "Key")
        if isinstance(parameter.reader, Definition):
            return self._struct(parameter.kind, taken=True)
        return self.source(parameter.kind, taken=True)

    def source(self, kind: Any, taken: bool = False) -> str:
        """Return an annotation; of what is `taken` from a caller more is admitted than of what is returned."""
        if kind is Any:
            return self.add("typing", "Any")
        if kind is None or kind is type(None):
            return "None"
        if kind is UUID:
            return self.add("controlplane.client.calls", "Key") if taken else self.add("uuid", "UUID")
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self.source(parts[0], taken)
        if origin in (Union, types.UnionType):
            named = " | ".join(self.source(part, taken) for part in parts)
            return " | ".join(dict.fromkeys(named.split(" | ")))
        if origin is Literal:
            self.add("typing", "Literal")
            return f"Literal[{', '.join(_literal(part) for part in parts)}]"
        if origin in (list, tuple, dict):
            if origin is tuple and not taken:
                return f"tuple[{', '.join('...' if part is ... else self.source(part) for part in parts)}]"
            inner = [self.source(part, taken) for part in parts if part is not ...]
            outer = origin.__name__
            if taken:
                outer = self.add("collections.abc", "Mapping" if origin is dict else "Sequence")
            return f"{outer}[{', '.join(inner)}]"
        return self._struct(kind, taken)

    def _struct(self, kind: Any, taken: bool) -> str:
        if kind.__module__ != "builtins":
            self.add(kind.__module__, kind.__name__)
        name = str(kind.__name__)
        if taken and issubclass(kind, msgspec.Struct):
            return f"{name} | {self.add('collections.abc', 'Mapping')}[str, {self.add('typing', 'Any')}]"
        return f"{name} | str" if taken and issubclass(kind, Enum) else name


def _import_order(name: str) -> tuple[bool, str]:
    return not name.isupper(), name
