"""Where a master keeps what, and the first start: keys, the router's configuration, a store with an administrator."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from controlplane.keys import ensure_key, public_key
from controlplane.paths import crossbar_config, short_directory
from controlplane.process import lock_directory, real_chance
from controlplane.records.principals import Principal
from controlplane.services.logins import MANAGEMENT_REALM
from controlplane.store.catalog import PRINCIPALS
from controlplane.store.database import Change, Store
from controlplane.store.lmdb import LmdbEngine

ADMIN_AUTHID = "admin"
ADMIN_ROLE = "owner"
MASTER_AUTHID = "master"
SOCKET_NAME = "master.sock"


class StateDirectory:
    """The files of a master and its router."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.master = self.root / "master"
        self.store = self.master / "store"
        self.router = self.root / "router"
        self.admin_key = self.root / "admin.key"
        self.master_key = self.master / "master.key"
        self.connection = self.root / "connection.json"

    def port(self) -> int | None:
        """Return the port that the router was configured with, or None before the first start."""
        try:
            config = json.loads((self.router / "config.json").read_text())
        except FileNotFoundError:
            return None
        return int(_transports(config)["public"]["endpoint"]["port"])

    @property
    def master_socket(self) -> Path:
        """Return where the router listens for the master: short enough for a unix socket, for the owner only."""
        return short_directory(self.router) / SOCKET_NAME


def initialise(state: StateDirectory, port: int, clock: Any) -> dict[str, str]:
    """Make what a first start needs and leave what is there; return the connection of the administrator."""
    for directory in (state.root, state.master, state.router):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
    key = ensure_key(state.admin_key)
    _write_router_config(state, port, public_key(ensure_key(state.master_key)))
    lock = lock_directory(state.master, "master")
    try:
        store = Store(LmdbEngine(state.store), clock, real_chance().new_oid)
        store.write_now(lambda change: _ensure_administrator(change, public_key(key)))
        store.close()
    finally:
        os.close(lock)
    connection = {
        "url": f"ws://127.0.0.1:{port}/ws",
        "realm": MANAGEMENT_REALM,
        "authid": ADMIN_AUTHID,
        "authrole": ADMIN_ROLE,
        "privkey_file": str(state.admin_key),
    }
    write_owner_only(state.connection, json.dumps(connection, indent=2) + "\n")
    return connection


def write_owner_only(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(fresh, path)


def _write_router_config(state: StateDirectory, port: int, master: str) -> None:
    config = json.loads(crossbar_config("master.json").read_text())
    transports = _transports(config)
    transports["master"]["endpoint"]["path"] = str(state.master_socket)
    transports["master"]["auth"]["cryptosign"]["principals"][MASTER_AUTHID]["authorized_keys"] = [master]
    transports["public"]["endpoint"]["port"] = port
    write_owner_only(state.router / "config.json", json.dumps(config, indent=2) + "\n")


def _transports(config: dict[str, Any]) -> dict[str, Any]:
    return {transport["id"]: transport for transport in config["workers"][0]["transports"]}


def _ensure_administrator(change: Change, pubkey: str) -> None:
    """Have an owner with the key in the administrator's file: the first start, and the way back in after a mishap."""
    rows = change.rows(PRINCIPALS)
    chance = real_chance()
    known = rows.find_by("authid", ADMIN_AUTHID)
    now = chance.now()
    if known is None:
        rows.add(
            Principal(oid=chance.new_oid(), authid=ADMIN_AUTHID, pubkey=pubkey, role="owner", created=now, changed=now)
        )
    elif known.pubkey != pubkey or known.disabled or known.role != "owner":
        rows.put(
            msgspec.structs.replace(known, pubkey=pubkey, next_pubkey=None, role="owner", disabled=False, changed=now),
            known,
        )
