"""Hostile calls: a procedure, arguments of which some are bad, and somebody who makes the call."""

from random import Random
from typing import Any, NamedTuple

from controlplane.core.access import RIGHTS
from controlplane.errors import NotOffered
from controlplane.master.plane import PROCEDURES
from controlplane.records.outcomes import IDEMPOTENCY_KEY
from controlplane.services.procedures import Procedure
from controlplane.services.remote import Forwarding
from tests.fuzz.goods import CONFIG, GOOD, World
from tests.fuzz.values import bent, value

DECLARED = sorted({procedure.uri: procedure for procedure in PROCEDURES.values()}.items())
FORWARDED = [each for each in DECLARED if isinstance(each[1], Forwarding)]
REFUSING = [each for each in DECLARED if each[1].raises == (NotOffered,)]
OWN = [each for each in DECLARED if each not in FORWARDED and each not in REFUSING]
SHARES = ((FORWARDED, 0.12), (REFUSING, 0.05), (OWN, 0.83))
"""Of the calls: what is passed on to nodes, and what only says what to use instead, is little under very many names."""


class HostileCall(NamedTuple):
    """One input."""

    uri: str
    declared: Procedure
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def good_arguments(random: Random, declared: Procedure, world: World) -> dict[str, Any]:
    """Return arguments that may well be right."""
    parameters = declared.parameters
    if isinstance(declared, Forwarding):
        parameters = parameters[:-2]  # The others are whatever else is passed.
    known = [p.name for p in parameters if p.required or random.random() < 0.3]
    good = {name: GOOD[name](random, world) if name in GOOD else value(random) for name in known}
    if declared.uri.endswith(("create_routercluster", "update_routercluster")):
        good["routercluster"]["config"] = random.choice((None, CONFIG))
    if declared.uri.endswith("create_routercluster"):
        good["routercluster"]["name"] = f"cluster_{random.randrange(200)}"
    return good


def hostile_call(random: Random, world: World, *, json_only: bool = False, rights: frozenset[str] = RIGHTS["owner"]):
    """Return a call that is wrong somewhere, most of the time; `rights` pick the procedures most of the time."""
    uri, declared = _procedure(random)
    while declared.needs not in rights and random.random() < 0.97:
        uri, declared = _procedure(random)
    uri = random.choice((uri, *declared.aliases))
    kwargs = good_arguments(random, declared, world)
    for _ in range(random.choice((0, 0, 1, 1, 1, 1, 2, 3))):
        kind = random.random()
        if kind < 0.72 and kwargs:
            name = random.choice(list(kwargs))
            kwargs[name] = bent(random, kwargs[name], json_only=json_only)
        elif kind < 0.8 and kwargs:
            kwargs[random.choice(list(kwargs))] = value(random, json_only=json_only)
        elif kind < 0.9:
            name = random.choice(("nonsense", "", "x" * 300, "self", "call", "caller", "details", "\u20ac"))
            kwargs[name] = value(random, 2, json_only=json_only)
        elif kwargs:
            del kwargs[random.choice(list(kwargs))]
    args: list[Any] = []
    if random.random() < 0.4:
        for parameter in declared.parameters:
            if parameter.name not in kwargs:
                break
            args.append(kwargs.pop(parameter.name))
        if random.random() < 0.15:
            args.extend(value(random, 2, json_only=json_only) for _ in range(random.choice((1, 3, 50))))
    if random.random() < 0.15:
        bad = random.random() < 0.3
        kwargs[IDEMPOTENCY_KEY] = value(random, json_only=json_only) if bad else f"key{random.randrange(40)}"
    return HostileCall(uri, declared, tuple(args), kwargs)


def _procedure(random: Random) -> tuple[str, Procedure]:
    (kind,) = random.choices([declared for declared, _ in SHARES], [share for _, share in SHARES])
    return random.choice(kind)
