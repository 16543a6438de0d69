"""Arguments that may well be right: one maker for every name that a procedure's argument has."""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from controlplane.records.types import MANAGEMENT_REALM_OID

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
PROFILES, POLICIES, PONDS = ("sleeper", "other"), ("grow", "other"), ("pond", "pool")
ROLES = ("owner", "admin", "operator", "viewer")
NUMBERS = 200
"""Names and oids that are made up are among so many, so that some are taken."""


class World(NamedTuple):
    """What a caller may name."""

    clusters: tuple[str, ...]
    nodes: tuple[str, ...]
    groups: tuple[str, ...]
    workers: tuple[str, ...]
    boot: str
    users: tuple[str, ...]
    teams: tuple[str, ...]
    invitations: tuple[str, ...]


Make = Callable[[Random, World], Any]


def _number(random: Random, _world: World | None = None) -> int:
    return random.randrange(NUMBERS)


def _named(prefix: str) -> Make:
    return lambda random, _: f"{prefix}_{_number(random)}"


def _one_of(*choices: Any) -> Make:
    return lambda random, _: random.choice(choices)


def _oid(random: Random, _world: World | None = None) -> str:
    return f"00000000-0000-4000-8000-{_number(random):012d}"


def _key(random: Random, _world: World | None = None) -> str:
    return f"{random.choice((_number(random), random.getrandbits(256))):064x}"


def _yes(random: Random, _world: World | None = None) -> bool:
    return random.random() < 0.5


def _report(random: Random, world: World) -> dict[str, Any]:
    return {
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


def _imported(random: Random, world: World) -> dict[str, Any]:
    number, oid, key = _number(random), _oid(random), _key(random)
    cluster = random.choice(world.clusters)
    return random.choice(
        (
            {"noun": "user", "oid": oid, "authid": f"user_{number}", "pubkey": key, "role": random.choice(ROLES)},
            {"noun": "node", "oid": oid, "authid": f"node_{number}", "pubkey": key},
            {"noun": "router cluster", "oid": oid, "name": f"cluster_{number}"},
            {"noun": "worker group", "oid": oid, "cluster_oid": cluster, "name": f"group_{number}"},
            {"noun": "membership", "cluster_oid": cluster, "node_oid": random.choice(world.nodes)},
        )
    )


def _definition(random: Random) -> dict[str, Any]:
    """Return a profile, a policy or a cluster; procedures of one refuse the others."""
    grow = {"event": "CLUSTER_SCALE_OUT", "adjustment": {"number": 2}}
    process = {"command": ["sleep", "100"]}
    return random.choice(
        (
            {"name": random.choice(PROFILES), "spec": {"type": "process", "version": "1.0", "properties": process}},
            {"name": random.choice(POLICIES), "spec": {"type": "scaling", "version": "1.0", "properties": grow}},
            {"name": random.choice(PONDS), "profile": "sleeper", "desired": random.randrange(4)},
        )
    )


def statistics(_random: Random, world: World) -> dict[str, Any]:
    """Return what an agent answers when it is asked how its workers fare."""
    return {oid: {"realms": {"shop": {"sessions": 1, "messages": {}}}} for oid in world.workers}


FACTS: dict[str, Any] = {
    "version": "1",
    "machine": "here",
    "address": "127.0.0.1",
    "sockets": "/run/x",
    "drivers": ["router"],
    "ports": [1000, 2000],
}
GOOD: dict[str, Make] = {
    "routercluster_oid": lambda random, world: random.choice(world.clusters),
    "routercluster_name": _one_of("shop", "stopped", "nothing"),
    "routercluster": lambda random, _: {
        "label": "new",
        "description": "x",
        "tags": ["a"],
        "routers": random.randrange(1, 4),
    },
    "node_oid": lambda random, world: random.choice(world.nodes),
    "node_name": _one_of("edge1", "edge2", "nothing"),
    "node_authid": _one_of("edge1", "edge2", "nothing"),
    "config": lambda random, _: {"softlimit": random.randrange(4), "hardlimit": random.randrange(4, 9)},
    "workergroup_oid": lambda random, world: random.choice(world.groups),
    "workergroup_name": _one_of("web", "web", "nothing"),
    "workergroup": lambda random, _: {
        "name": f"group_{_number(random)}",
        "scale": random.randrange(4),
        "tags": ["b"],
    },
    "worker_oid": lambda random, world: random.choice(world.workers),
    "worker_id": lambda random, world: random.choice(("x", *world.workers)),
    "scale": lambda random, _: random.randrange(6),
    "pubkey": _key,
    "authid": _named("node"),
    "question_oid": _oid,
    "answer": statistics,
    "report": _report,
    "facts": lambda random, _: {**FACTS, "capacity": random.choice((None, 9)), "cores": 2},
    "return_names": _yes,
    "filter_by_status": _one_of("RUNNING", "online", None),
    "limit": lambda random, _: random.randrange(1, 9),
    "marker": lambda random, world: random.choice((None, *world.clusters)),
    "after": lambda random, _: random.randrange(50),
    "topic_prefix": _one_of("controlplane."),
    "label": _one_of("label", None),
    "description": _one_of("text"),
    "tags": lambda random, _: ["t"],
    # Users, teams, rights and invitations
    "user_oid": lambda random, world: random.choice(world.users),
    "user_name": _one_of("joe", "ann", "nobody"),
    "user": lambda random, _: {"role": random.choice(ROLES), "label": "x", "sessions_max": _number(random)},
    "role": _one_of(*ROLES),
    "sessions_max": _number,
    "clusters_max": _number,
    "team_oid": lambda random, world: random.choice(world.teams),
    "team_name": _named("team"),
    "holder_oid": lambda random, world: random.choice((*world.users, *world.teams)),
    "right": _one_of("operate", "manage"),
    "invitation_oid": lambda random, world: random.choice(world.invitations),
    "kind": _one_of("node", "user"),
    "capacity": _number,
    "valid_for": lambda random, _: 1.0 + _number(random),
    # The audit
    "object_oid": lambda random, world: random.choice((*world.users, *world.clusters)),
    "outcome": _one_of("done", "refused"),
    "action_prefix": _one_of("controlplane."),
    "since": _one_of(0, 1_700_000_000_000_000_000),
    "until": _one_of(0, 1_800_000_000_000_000_000),
    # Tunnels
    "state": lambda random, world: {
        "ports": [{"router_oid": random.choice(world.workers), "front_oid": random.choice(world.nodes), "port": 2_000}]
    },
    # What Crossbar.io's master has, and what is taken over from it
    "realm_name": _one_of("default"),
    "mrealm_name": _one_of("default", "other"),
    "mrealm": lambda random, _: {"name": "other"},
    "mrealm_oid": lambda random, _: random.choice((_oid(random), str(MANAGEMENT_REALM_OID))),
    "cascade": _yes,
    "arealm_oid": _oid,
    "arealm_name": _one_of("shop"),
    "webcluster_oid": lambda random, world: random.choice(world.clusters),
    "webcluster_name": _one_of("shop", "stopped"),
    "webservice_oid": _oid,
    "path": _one_of("/ws"),
    "prefix": _one_of("/"),
    "return_paths": _yes,
    "authextra": lambda random, _: {"cluster_ip": "127.0.0.1"},
    "status": _one_of("online", "offline"),
    "imported": _imported,
    # Generic clusters, their actions, profiles and policies
    "cluster": _one_of("pond", "pond", "pool", "nothing"),
    "definition": lambda random, _: _definition(random),
    "profile": _one_of("sleeper", "sleeper", "other"),
    "policy": _one_of("grow", "grow", "other"),
    "changes": lambda random, _: random.choice(
        ({"label": "x"}, {"profile": "sleeper"}, {"name": "other"}, {"region": "north", "zone": "rack1"})
    ),
    "region": _one_of("north", "south"),
    "zone": _one_of("rack1", "rack2"),
    "workers": lambda random, _: [_oid(random)],
    "worker": lambda random, world: random.choice(world.workers),
    "group": lambda random, _: None,
    "count": lambda random, _: random.randrange(1, 4),
    "number": lambda random, _: float(random.randrange(4)),
    "adjustment_type": _one_of("EXACT_CAPACITY", "CHANGE_IN_CAPACITY", None),
    "min_size": lambda random, _: random.randrange(3),
    "max_size": lambda random, _: random.choice((-1, 5)),
    "min_step": lambda random, _: random.randrange(1, 3),
    "strict": _yes,
    "details": _yes,
    "enabled": _yes,
    "action_oid": _oid,
    "filters": lambda random, _: {"name": random.choice(("pond", "sleeper", "x"))},
    "sort": _one_of("name", "name:desc", "created"),
    "seq": _number,
    "type_name": _one_of("process", "scaling", "router"),
    "arguments": lambda random, _: [],
    "keywords": lambda random, _: {},
}
