"""Small changes of a module, one at a time: mutmut's operators, and three of our own, over the whole of the module.

mutmut itself swaps functions while tests run, so that what happens when a module is imported never changes: tables,
constants, and functions that make functions. Here every mutant is a module of its own, made before anything imports it.
"""

import difflib
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider, WhitespaceInclusivePositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_string

NEVER_CALLED_WRONGLY = frozenset({"len", "isinstance", "super", "frozenset", "set"})
"""Calls of these fail at once when an argument is taken away; such mutants would only flatter the figures."""


class Mutant(NamedTuple):
    """One change of one module."""

    where: str
    """The function or the name that it is in."""

    line: int
    minus: str
    """What stood there, lines joined by a space."""

    plus: str
    source: str
    """The whole module, changed."""


def mutants_of(source: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of its lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    finder = _Finder()
    wrapper.visit(finder)
    spans = wrapper.resolve(WhitespaceInclusivePositionProvider)
    starts = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]
    found: dict[str, Mutant] = {}
    for where, line, node, other in finder.found:
        span = spans[node]
        begin, end = (starts[place.line - 1] + place.column for place in (span.start, span.end))
        if source[begin:end] == wrapper.module.code_for_node(node):
            changed = source[:begin] + wrapper.module.code_for_node(other) + source[end:]
        else:  # An indented statement: right, and slow.
            changed = wrapper.module.deep_replace(node, other).code
        if changed != source and changed not in found and _compiles(changed):
            found[changed] = Mutant(where, line, *_difference(source, changed), changed)
    return sorted(found.values(), key=lambda mutant: mutant.line)


class _Finder(cst.CSTVisitor):
    """Goes through a module and notes what could stand where."""

    METADATA_DEPENDENCIES = (PositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, int, cst.CSTNode, cst.CSTNode]] = []
        self._within: list[str] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_declaration(node):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._within.append(node.name.value)
            # What decorates a function and what a class is made from is for readers and type checkers.
            node.body.visit(self)
            if isinstance(node, cst.FunctionDef):
                node.params.visit(self)
            self._within.pop()
            return False
        line = self.get_metadata(PositionProvider, node).start.line
        where = ".".join(self._within) or self._target(node)
        self.found.extend((where, line, node, other) for other in _others(node))
        return True

    def _target(self, node: cst.CSTNode) -> str:
        """Return the name that a statement of the module gives a value to."""
        while not isinstance(node, cst.Assign | cst.AnnAssign | cst.Module):
            node = self.get_metadata(ParentNodeProvider, node)
        match node:
            case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
                return name
            case cst.AnnAssign(target=cst.Name(value=name)):
                return name
        return "module"


def _is_declaration(node: cst.CSTNode) -> bool:
    """Say whether a part of a module is for readers and type checkers alone, or fails at once when it is changed."""
    match node:
        case cst.Annotation() | cst.Import() | cst.ImportFrom() | cst.Decorator() | cst.Assert():
            return True
        case cst.Assign(value=cst.Subscript(value=cst.Name(value=name))):
            return name[0].isupper()  # A name for a type.
        case cst.Assign(value=cst.Call(func=cst.Attribute(attr=cst.Name(value="auto")))):
            return True  # A member of an enumeration whose value means nothing.
        case cst.Call(func=cst.Name(value=name)):
            return name in NEVER_CALLED_WRONGLY
    return False


def _others(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            # One way to misspell a text stands for all: the others would be noticed, or not, together with it.
            yield from itertools.islice(operator(node), 1 if operator is operator_string else None)
    yield from _our_own(node)


def _our_own(node: cst.CSTNode) -> Iterable[cst.CSTNode]:
    match node:
        case cst.If(test=test) | cst.While(test=test) | cst.IfExp(test=test) | cst.CompIf(test=test):
            if not isinstance(test, cst.Comparison | cst.UnaryOperation):  # Those have mutants of their own.
                inner = test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
                yield node.with_changes(test=cst.UnaryOperation(cst.Not(), inner))
        case cst.Return(value=cst.BaseExpression() as value) if not isinstance(value, cst.Name):
            yield node.with_changes(value=cst.Name("None"))
        case cst.SimpleStatementLine(body=[cst.Expr(value=cst.Call())]):
            yield node.with_changes(body=[cst.Pass()])


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _difference(before: str, after: str) -> tuple[str, str]:
    changes = [
        line
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    sides = ("".join(f" {line[1:].strip()}" for line in changes if line[0] == sign).strip() for sign in "-+")
    minus, plus = sides
    return minus, plus
