"""Reading the database of Crossbar.io's own master, without changing it.

It is kept in the directory of the master's node: users, management realms and nodes in `.db-controller`, and what
belongs to one management realm in `.db-mrealm-<oid>`. Both are zlmdb: keys begin with the number of a table, the
numbers are kept in table 0 under the tables' UUIDs, and the values that matter here are CBOR.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import cbor2
import zlmdb
from zlmdb import lmdb

from controlplane.errors import StoreRefused

CONTROLLER = ".db-controller"
REALM = ".db-mrealm-{}"
DATA_FILE = "data.mdb"
MAP_SIZE = 16 * 1024 * 1024 * 1024
"""Of address space; more than upstream's own limit, so that every file of it can be opened."""

REALMS = UUID("1219e71c-a62c-415a-bd15-ddf45e3a658b")
NODES = UUID("ae89d956-273a-4ce3-b63d-52b07ae35742")
USERS = UUID("fa1ed0fc-304e-4f66-8092-d901df1735e4")
ROLES = UUID("eccdfc57-5632-4ad4-9c2b-2ac11e9d389f")
CLUSTERS = UUID("b054a230-c370-4c29-b5de-7e0148321b0a")
MEMBERSHIPS = UUID("a091bad6-f14c-437c-8e30-e9be84380658")
GROUPS = UUID("c019457b-d499-454f-9bf2-4f7e85079d8f")
WEB_CLUSTERS = UUID("719d029f-e9d5-4b25-98e0-cf04d5a2648b")
APPLICATION_REALMS = UUID("7099565b-7b44-4891-a0c8-83c7dbb60883")
WEB_SERVICES = UUID("a8803ca3-09a0-4d72-8728-2469de8d50ac")
APPLICATION_ROLES = UUID("341083bb-edeb-461c-a6d4-38dddcda6ec9")
PRINCIPALS = UUID("9808cb0b-1b55-4b3f-858e-39004cb11135")
OF_MASTER = (REALMS, NODES, USERS, ROLES)
OF_REALM = (
    CLUSTERS,
    MEMBERSHIPS,
    GROUPS,
    WEB_CLUSTERS,
    WEB_SERVICES,
    APPLICATION_REALMS,
    APPLICATION_ROLES,
    PRINCIPALS,
)
"""The tables that are read. What is not listed here are indexes, placements, usage records and tokens, and what goes
with a line that is listed: permissions with their role, credentials with their principal."""

SLOT = struct.Struct(">H")


class Rows(NamedTuple):
    """What a directory of upstream's holds, as it is stored there."""

    realms: dict[bytes, dict[str, Any]]
    nodes: dict[bytes, dict[str, Any]]
    users: dict[bytes, dict[str, Any]]
    roles: dict[bytes, dict[str, Any]]
    """By the oids of user and management realm."""

    by_realm: dict[str, dict[UUID, dict[bytes, dict[str, Any]]]]
    """By the oid of a management realm, and then by table."""


def read_foreign(directory: Path) -> Rows:
    """Return what is kept in a node directory of Crossbar.io's master; raises `StoreRefused`."""
    found = directory if (directory / CONTROLLER).exists() else directory / ".crossbar"
    if not (found / CONTROLLER / DATA_FILE).exists():
        raise StoreRefused(
            f"{directory} is no node directory of Crossbar.io's master: there is no {CONTROLLER} in it",
            next_step="name the directory that the master was started with, in --cbdir",
        )
    controller = _read(found / CONTROLLER)
    realms = controller.get(REALMS, {})
    by_realm = {}
    for key in realms:
        oid = str(UUID(bytes=key))
        path = found / REALM.format(oid)
        by_realm[oid] = _read(path) if (path / DATA_FILE).exists() else {}
    return Rows(realms, controller.get(NODES, {}), controller.get(USERS, {}), controller.get(ROLES, {}), by_realm)


def _read(path: Path) -> dict[UUID, dict[bytes, dict[str, Any]]]:
    """Return the tables that are translated, by their keys."""
    database = None
    try:
        database = zlmdb.Database(
            dbpath=str(path), maxsize=MAP_SIZE, readonly=True, create=False, open_now=True, lock=False
        )
        environment: Any = database._env
        with environment.begin() as transaction:
            slots = dict(_slots(transaction.cursor()))
            return {
                table: dict(_rows(transaction.cursor(), slots[table]))
                for table in (*OF_MASTER, *OF_REALM)
                if table in slots
            }
    except (lmdb.Error, cbor2.CBORDecodeError, ValueError, KeyError, TypeError, RuntimeError) as problem:
        raise StoreRefused(
            f"{path} cannot be read as a database of Crossbar.io's master: {problem}",
            next_step="stop that master first, and see that the directory is a whole copy of its own",
        ) from problem
    finally:
        if database is not None:
            database.__exit__(None, None, None)


def _slots(cursor: Any) -> Iterator[tuple[UUID, bytes]]:
    for key, value in _between(cursor, SLOT.pack(0)):
        if len(key) >= 2 * SLOT.size:
            oid = cbor2.loads(value)["oid"]
            yield (oid if isinstance(oid, UUID) else UUID(bytes=oid) if isinstance(oid, bytes) else UUID(oid)), key[2:4]


def _rows(cursor: Any, slot: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for key, value in _between(cursor, slot):
        record = cbor2.loads(value)
        if isinstance(record, dict):
            yield key[SLOT.size :], record


def _between(cursor: Any, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    found = cursor.set_range(prefix)
    while found:
        key = bytes(cursor.key())
        if not key.startswith(prefix):
            return
        yield key, bytes(cursor.value())
        found = cursor.next()
