"""Adopting: what runs already on a node and was not started by us becomes a worker, and is not touched."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from controlplane.core.counting import so_many
from controlplane.core.worker_types import WORKER_TYPES, WorkerType
from controlplane.errors import (
    AlreadyExists,
    CannotAdopt,
    InvalidConfiguration,
    LimitReached,
    NoAnswer,
    NoSuchObject,
    NotAttached,
    Problem,
)
from controlplane.records.actions import ActionKind, ActionView
from controlplane.records.definitions import DefinitionInput, DefinitionKind, DefinitionView
from controlplane.records.lone_workers import AdoptionInput
from controlplane.records.nodes import Node
from controlplane.records.types import Oid, from_wire
from controlplane.records.workers import Findings, WorkerSought
from controlplane.services.all_workers import WORKER
from controlplane.services.arguments import AdoptionDefinition
from controlplane.services.definitions import create_definition, validate_definition
from controlplane.services.lone_workers import add_alone
from controlplane.services.pipeline import Call, WritingCall
from controlplane.services.procedures import Ask, procedure
from controlplane.services.remote import find_node
from controlplane.store.catalog import DEFINITIONS, WORKERS

ANSWER_WITHIN_S = 30.0
"""An image that is to be made of a container takes its time."""

ADOPTS_BYTES_MAX = 4_096
PROFILE = "adopted"
PROPERTIES = "$.spec.properties"
LOOKING = (InvalidConfiguration, NoSuchObject, NotAttached, NoAnswer, CannotAdopt)
RAISES = (*LOOKING, AlreadyExists, LimitReached)


@procedure(WORKER + "preview_adoption", needs="manage", raises=LOOKING)
def preview_adoption(call: Call, adoption: AdoptionDefinition) -> DefinitionView:
    """Return the profile that something which runs already would get if it was adopted; nothing is kept or touched."""
    given: AdoptionInput = adoption
    asked = _ask(call, given, snapshot=False)
    (node_oid,) = asked.questions

    def complete(answers: Mapping[Oid, Mapping[str, Any]]) -> DefinitionView:
        found = _findings(answers.get(node_oid), given)
        with _in_words_of_an_adoption():
            return validate_definition(DefinitionKind.PROFILE, _profile(given, found, given.profile or PROFILE))

    return Ask(asked.questions, asked.within, complete)  # type: ignore[return-value]


def _ask_agent(call: Call, adoption: AdoptionDefinition) -> Ask:
    return _ask(call, adoption, adoption.snapshot)


@procedure(WORKER + "adopt_worker", needs="manage", writes=True, raises=RAISES, asks=_ask_agent)
def adopt_worker(call: WritingCall, adoption: AdoptionDefinition) -> ActionView:
    """Make a profile for something that runs already on a node, and a worker in no cluster of it; it runs on untouched.

    It stands on its node and on no other. When it dies it is started anew as its profile says.
    """
    given: AdoptionInput = adoption
    node = find_node(call, given.node)
    found = _findings(call.answers.get(node.oid), given)
    for other in call.rows(WORKERS).all_by("node", node.oid):
        if other.adopts == found.adopts:
            raise AlreadyExists(
                f"{given.identity} is worker {other.oid} already",
                subject={"type": "worker", "oid": str(other.oid)},
                next_step="use that one",
            )
    oid = call.new_oid()
    profile = _profile(given, found, given.profile or f"{PROFILE}_{str(oid)[:8]}")
    with _in_words_of_an_adoption():
        made = create_definition(call, DefinitionKind.PROFILE, profile)
    return add_alone(
        call,
        call.rows(DEFINITIONS).get(made.oid),
        given,
        node,
        ActionKind.WORKER_CREATE,
        {"adopts": given.identity, "snapshot": given.snapshot},
        oid=oid,
        adopts=found.adopts,
    )


def _ask(call: Call, given: AdoptionInput, snapshot: bool) -> Ask:
    kind, node = _type(given.type), find_node(call, given.node)
    problems = []
    if kind.name == "process" and given.snapshot:
        problems.append(Problem("$.snapshot", "is for containers: a process has no image"))
    if kind.name == "process" and "limits" in given.overrides:
        problems.append(Problem("$.overrides.limits", "cannot be given to a process that runs already"))
    if problems:
        raise InvalidConfiguration(
            f"adoption has {so_many(len(problems), 'problem')}; first, {problems[0].path}: {problems[0].message}",
            problems=problems,
            next_step="leave it out",
        )
    _require_reachable(node, kind)
    sought = WorkerSought(driver=kind.driver, identity=given.identity, snapshot=snapshot)
    return Ask({node.oid: {"sought": sought}}, ANSWER_WITHIN_S, lambda answers: answers)


def _type(named: str) -> WorkerType:
    for kind in WORKER_TYPES.values():
        if named in (kind.name, kind.full_name):
            return kind
    known = ", ".join(WORKER_TYPES)
    raise InvalidConfiguration(
        f"type: there is no type {named}; known are {known}",
        problems=[Problem("$.type", f"is none of {known}")],
        next_step="name one of these",
    )


def _require_reachable(node: Node, kind: WorkerType) -> None:
    subject = {"type": "node", "oid": str(node.oid), "name": node.authid}
    if not node.online or node.facts is None:
        raise NotAttached(f"node {node.authid} is offline", subject=subject, next_step="try again when it is online")
    if kind.driver not in node.facts.drivers:
        raise CannotAdopt(
            f"node {node.authid} has no driver {kind.driver!r}",
            subject=subject,
            problems=[Problem("$.node", f"has no driver {kind.driver!r}")],
            next_step="have its agent started with that driver",
        )


def _findings(answer: Mapping[str, Any] | None, given: AdoptionInput) -> Findings:
    """Return what an agent has found; raises `CannotAdopt` with its reasons, and `NoAnswer`."""
    subject = {"type": "node", "name": given.node}
    if answer is None:
        raise NoAnswer(f"node {given.node} did not answer in time", subject=subject, next_step="try again")
    try:
        found = from_wire(answer, Findings)
        small = len(msgspec.json.encode(found.adopts)) <= ADOPTS_BYTES_MAX
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        small = False
    if not small:
        raise NoAnswer(f"what node {given.node} answered cannot be used", subject=subject, next_step="update its agent")
    if found.refusal is not None:
        raise CannotAdopt(
            found.refusal,
            subject=subject,
            problems=[Problem(*each) for each in found.problems],
            next_step="name another one that runs there, or make a profile, and a worker of that in its place",
        )
    return found


@contextmanager
def _in_words_of_an_adoption() -> Iterator[None]:
    """Have whoever adopts told what is wrong with a profile in the places where they can mend it."""
    try:
        yield
    except InvalidConfiguration as problem:
        problems = [each._replace(path=each.path.replace(PROPERTIES, "$.overrides", 1)) for each in problem.problems]
        raise InvalidConfiguration(
            f"adoption has {so_many(len(problems), 'problem')}; first, {problems[0].path}: {problems[0].message}",
            subject=problem.subject,
            problems=problems,
            next_step=problem.next_step,
        ) from None


def _profile(given: AdoptionInput, found: Findings, name: str) -> DefinitionInput:
    kind = _type(given.type)
    properties = {**found.properties, **given.overrides}
    spec = {"type": kind.name, "version": kind.version, "properties": properties}
    return DefinitionInput(name=name, spec=spec)
