"""Hostile calls: a procedure, arguments of which some are bad, and somebody who makes the call."""

from random import Random
from typing import Any, NamedTuple

from controlplane.core.access import RIGHTS
from controlplane.master.plane import PROCEDURES
from controlplane.records.outcomes import IDEMPOTENCY_KEY
from controlplane.services.procedures import Procedure
from tests.fuzz.values import bent, value

DECLARED = sorted({procedure.uri: procedure for procedure in PROCEDURES.values()}.items())
CONFIG: dict[str, Any] = {
    "realms": [
        {
            "name": "shop",
            "roles": [
                {
                    "name": "staff",
                    "permissions": [{"uri": "", "match": "prefix", "allow": {"call": True, "register": True}}],
                }
            ],
        }
    ],
    "transport": {
        "type": "websocket",
        "auth": {"ticket": {"type": "static", "principals": {"joe": {"ticket": "sesame", "role": "staff"}}}},
    },
}


class World(NamedTuple):
    """What a caller may name."""

    clusters: tuple[str, ...]
    nodes: tuple[str, ...]
    groups: tuple[str, ...]
    workers: tuple[str, ...]
    boot: str


class HostileCall(NamedTuple):
    """One input."""

    uri: str
    declared: Procedure
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def good_arguments(random: Random, declared: Procedure, world: World) -> dict[str, Any]:
    """Return arguments that may well be right."""
    number = random.randrange(1_000)
    report = {
        "boot": world.boot,
        "sequence": random.randrange(2**32),
        "version": random.randrange(20),
        "workers": [
            {
                "oid": oid,
                "status": random.choice(("RUNNING", "STARTING", "ERROR", "STOPPING")),
                "digest": "d",
                "restarts": random.randrange(3),
                "pid": 5,
                "realms": ["shop"],
                "addresses": [{"type": "websocket", "url": "ws://127.0.0.1:1/ws"}],
            }
            for oid in random.sample(world.workers, min(len(world.workers), random.randrange(4)))
        ],
        "gone": random.sample(world.workers, min(len(world.workers), random.randrange(2))),
    }
    good: dict[str, Any] = {
        "routercluster_oid": random.choice(world.clusters),
        "routercluster_name": random.choice(("shop", "stopped", "nothing")),
        "routercluster": {"label": "new", "description": "x", "tags": ["a"], "routers": random.randrange(1, 4)},
        "node_oid": random.choice(world.nodes),
        "node_name": random.choice(("edge1", "edge2", "nothing")),
        "config": {"softlimit": random.randrange(4), "hardlimit": random.randrange(4, 9)},
        "workergroup_oid": random.choice(world.groups),
        "workergroup_name": "web",
        "workergroup": {"name": f"group_{number}", "scale": random.randrange(4), "tags": ["b"]},
        "worker_oid": random.choice(world.workers),
        "scale": random.randrange(6),
        "pubkey": f"{random.getrandbits(256):064x}",
        "authid": f"node_{number}",
        "question_oid": f"00000000-0000-4000-8000-{number:012d}",
        "answer": {oid: {"realms": {"shop": {"sessions": 1, "messages": {}}}} for oid in world.workers[:2]},
        "report": report,
        "facts": {
            "version": "1",
            "machine": "here",
            "address": "127.0.0.1",
            "sockets": "/run/x",
            "drivers": ["router"],
            "ports": [1, 2],
            "capacity": None,
            "cores": 2,
        },
        "return_names": random.random() < 0.5,
        "filter_by_status": random.choice(("RUNNING", "online", None)),
        "limit": random.randrange(1, 9),
        "marker": random.choice((None, *world.clusters)),
        "after": random.randrange(50),
        "topic_prefix": "controlplane.",
        "label": "label",
        "description": "text",
        "tags": ["t"],
    }
    if declared.uri.endswith(("create_routercluster", "update_routercluster")):
        good["routercluster"]["config"] = random.choice((None, CONFIG))
    if declared.uri.endswith("create_routercluster"):
        good["routercluster"]["name"] = f"cluster_{number}"
    known = {parameter.name for parameter in declared.parameters if parameter.required or random.random() < 0.3}
    return {name: good[name] if name in good else value(random) for name in known_in_order(declared, known)}


def known_in_order(declared: Procedure, names: set[str]) -> list[str]:
    return [parameter.name for parameter in declared.parameters if parameter.name in names]


def hostile_call(random: Random, world: World, *, json_only: bool = False, rights: frozenset[str] = RIGHTS["owner"]):
    """Return a call that is wrong somewhere, most of the time; `rights` pick the procedures most of the time."""
    uri, declared = random.choice(DECLARED)
    while declared.needs not in rights and random.random() < 0.97:
        uri, declared = random.choice(DECLARED)
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
