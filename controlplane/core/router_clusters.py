"""How the configuration of a router cluster is spread over its workers.

Every realm lives on exactly one router worker, its home; every frontend knows the way to all homes. What is made here
becomes `WorkerSpec.config` and is understood by the router driver alone.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from controlplane.records.types import Oid

DIGEST_BYTES = 16
SOCKET_PATH_BYTES_MAX = 107
"""Linux keeps 108 bytes for the path of a unix socket, the last of them zero."""

DIRECTORIES_KEPT = 1_024
"""Directories of sockets that are not taken apart anew for every worker."""

SOCKET_OID_DIGITS = 12
RENEWALS = ".renewals"
"""Behind the index of a router in the links of a frontend: how often it was renewed, which makes the digest another."""

TUNNEL = ".tunnel"
"""Behind the index of a router in the links of a frontend on another machine: the router and its node, with a slash
between. The socket under the index alone is then where the tunnel to it begins."""


def assign_homes(realms: Sequence[str], routers: int, previous: Mapping[str, int]) -> dict[str, int]:
    """Return the index of the router worker of every realm, for at least one router.

    A realm stays where it was as long as that router is there, because a move ends all its sessions; a new realm goes
    to the router with the fewest, of several to the first. So more routers move nothing: they stay without realms until
    new ones come.
    """
    homes = {realm: previous[realm] for realm in realms if 0 <= previous.get(realm, -1) < routers}
    counts = [0] * routers
    for home in homes.values():
        counts[home] += 1
    for realm in dict.fromkeys(realms):
        if realm not in homes:
            homes[realm] = counts.index(min(counts))
            counts[homes[realm]] += 1
    return {realm: homes[realm] for realm in realms}


def router_config(
    cluster_oid: Oid, effective: Mapping[str, Any], homes: Mapping[str, int], index: int, socket: str
) -> dict[str, Any]:
    """Return what the router worker with this index runs; `socket` is where frontends reach it."""
    return {
        "kind": "router",
        "cluster": str(cluster_oid),
        "socket": socket,
        "realms": [realm for realm in effective["realms"] if homes[realm["name"]] == index],
    }


def proxy_config(
    cluster_oid: Oid, effective: Mapping[str, Any], homes: Mapping[str, int], links: Mapping[str, str]
) -> dict[str, Any]:
    """Return what a frontend runs; `links` are the sockets of the router workers by their index, and renewals.

    Each realm has one way, for all its roles: with two ways its clients could not reach each other.
    """
    renewals = {key: value for key, value in links.items() if key.endswith(RENEWALS)}
    tunnels = {links[key.removesuffix(TUNNEL)]: value for key, value in links.items() if key.endswith(TUNNEL)}
    return {
        **({"renewals": renewals} if renewals else {}),
        **({"tunnels": tunnels} if tunnels else {}),
        "kind": "proxy",
        "cluster": str(cluster_oid),
        "transport": effective["transport"],
        "realms": {
            realm["name"]: {
                "roles": [role["name"] for role in realm["roles"]],
                "backend": links[str(homes[realm["name"]])],
            }
            for realm in effective["realms"]
        },
    }


def digest_of(config: Mapping[str, Any]) -> str:
    """Return the identity of a configuration: the same for the same content, whatever the order of keys."""
    encoded = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(encoded.encode("ascii"), digest_size=DIGEST_BYTES).hexdigest()


def socket_path(directory: str, worker_oid: Oid) -> str:
    """Return the path of a worker's unix socket; raises `ValueError` when the directory leaves no room for it."""
    return _short(_in(directory) + f"{worker_oid.hex[:SOCKET_OID_DIGITS]}.sock")


def tunnel_path(directory: str, worker_oid: Oid) -> str:
    """Return the path of the unix socket at which the tunnel to a router worker begins; raises `ValueError`."""
    return _short(_in(directory) + f"{worker_oid.hex[:SOCKET_OID_DIGITS]}.tunnel")


@lru_cache(DIRECTORIES_KEPT)
def _in(directory: str) -> str:
    """Return what paths of files in a directory begin with."""
    return str(PurePath(directory, "x"))[:-1]


def _short(path: str) -> str:
    if len(path.encode()) > SOCKET_PATH_BYTES_MAX:
        raise ValueError(f"a unix socket cannot have so long a path: {path}")
    return path
