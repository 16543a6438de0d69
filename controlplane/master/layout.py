"""Where a master keeps what, and the first start: keys, the router's configuration, a store with an administrator."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from controlplane.certificates import today, write_private
from controlplane.keys import ensure_key, public_key
from controlplane.master.certificates import ANY_ADDRESS, Listening, RouterCertificates, endpoint_tls
from controlplane.paths import crossbar_config, short_directory
from controlplane.process import lock_directory, real_chance
from controlplane.records.limits import DEFAULT_LIMITS
from controlplane.records.principals import Caller, Principal
from controlplane.records.types import MANAGEMENT_REALM
from controlplane.services.journal import append, done_entry
from controlplane.store.catalog import PRINCIPALS
from controlplane.store.database import Change, Store
from controlplane.store.lmdb import LmdbEngine
from controlplane.store.tables import Written

ADMIN_AUTHID = "admin"
ADMIN_ROLE = "owner"
MASTER_AUTHID = "master"
SUPERUSER_AUTHID = "superuser"
"""Of Crossbar.io's master, the owner of everything."""

SOCKET_NAME = "master.sock"
LOOPBACK = Listening()
"""Where the router of a first try listens: for this machine alone, without TLS."""


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
        self.certificates = RouterCertificates(self.root / "tls")

    def config(self) -> dict[str, Any] | None:
        """Return the configuration of the router, or None before the first start."""
        try:
            found: dict[str, Any] = json.loads((self.router / "config.json").read_text())
        except FileNotFoundError:
            return None
        return found

    def port(self) -> int | None:
        """Return the port that the router was configured with, or None before the first start."""
        config = self.config()
        return int(public_endpoint(config)["port"]) if config is not None else None

    @property
    def master_socket(self) -> Path:
        """Return where the router listens for the master: short enough for a unix socket, for the owner only."""
        return short_directory(self.router) / SOCKET_NAME


def initialise(
    state: StateDirectory, port: int, clock: Any, listening: Listening = LOOPBACK, ca_file: str | None = None
) -> dict[str, Any]:
    """Make what a first start needs and leave what is there; return the connection of the administrator.

    `ca_file` is the authority of a certificate that is not ours; None for those of the system.
    """
    listening.check()
    for directory in (state.root, state.master, state.router):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
    key = ensure_key(state.admin_key)
    _configure_router(state, port, listening)
    lock = lock_directory(state.master, "master")
    try:
        store = Store(LmdbEngine(state.store), clock, real_chance().new_oid)
        store.write_now(lambda change: ensure_owner(change, ADMIN_AUTHID, public_key(key)))
        store.close()
    finally:
        os.close(lock)
    connection: dict[str, Any] = {
        "url": router_url(listening, listening.local_host, port),
        "realm": MANAGEMENT_REALM,
        "authid": ADMIN_AUTHID,
        "authrole": ADMIN_ROLE,
        "privkey_file": str(state.admin_key),
    }
    if listening.is_protected and listening.certificate is None:
        connection["ca_file"] = str(state.certificates.authority)
        connection["server_keys"] = list(state.certificates.fingerprints())
    elif listening.is_protected and ca_file is not None:
        connection["ca_file"] = os.path.abspath(ca_file)
    write_owner_only(state.connection, json.dumps(connection, indent=2) + "\n")
    return connection


def save_connection(state: StateDirectory) -> None:
    """Bring the administrator's connection in step with the keys of the router, when they have changed."""
    try:
        connection = json.loads(state.connection.read_text())
    except FileNotFoundError:
        return
    connection["server_keys"] = list(state.certificates.fingerprints())
    write_owner_only(state.connection, json.dumps(connection, indent=2) + "\n")


def write_owner_only(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    write_private(path, text.encode())


def router_url(listening: Listening, host: str, port: int) -> str:
    """Return where the router is reached under a name or address of it."""
    scheme = "wss" if listening.is_protected else "ws"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/ws"


def public_endpoint(config: dict[str, Any]) -> dict[str, Any]:
    """Return where a router with this configuration listens for agents and consoles."""
    found: dict[str, Any] = _transports(config)["public"]["endpoint"]
    return found


def _configure_router(state: StateDirectory, port: int, listening: Listening) -> None:
    config = json.loads(crossbar_config("master.json").read_text())
    master = _transports(config)["master"]
    master["endpoint"]["path"] = str(state.master_socket)
    known = public_key(ensure_key(state.master_key))
    for principal in master["auth"]["cryptosign"]["principals"].values():
        principal["authorized_keys"] = [known]
    endpoint = public_endpoint(config)
    endpoint["port"] = port
    endpoint["interface"] = listening.interface
    if listening.is_protected:
        ours = state.certificates
        if listening.certificate is None or listening.key is None:
            interface = () if listening.interface in ANY_ADDRESS else (listening.interface,)
            ours.ensure((listening.host, *listening.hosts, *interface), today())
            endpoint["tls"] = endpoint_tls(ours.directory, ours.certificate, ours.key)
        else:
            endpoint["tls"] = endpoint_tls(ours.directory, listening.certificate.resolve(), listening.key.resolve())
    write_router_config(state, config)


def write_router_config(state: StateDirectory, config: dict[str, Any]) -> None:
    """Replace the configuration of the router, which reads it when it is started."""
    write_owner_only(state.router / "config.json", json.dumps(config, indent=2) + "\n")


def _transports(config: dict[str, Any]) -> dict[str, Any]:
    return {transport["id"]: transport for transport in config["workers"][0]["transports"]}


def ensure_owner(change: Change, authid: str, pubkey: str) -> None:
    """Have an owner with the key in a file: the first start, and the way back in after a mishap."""
    written: list[Written] = []
    rows = change.recorded_rows(PRINCIPALS, written)
    chance = real_chance()
    known = rows.find_by("authid", authid)
    now = chance.now()
    if known is None:
        rows.add(Principal(oid=chance.new_oid(), authid=authid, pubkey=pubkey, role="owner", created=now, changed=now))
    elif known.pubkey != pubkey or known.disabled or known.role != "owner":
        rows.put(
            msgspec.structs.replace(known, pubkey=pubkey, next_pubkey=None, role="owner", disabled=False, changed=now),
            known,
        )
    if written:
        whoever = Caller(session=0, authid=f"uid {os.getuid()}", authrole="")
        append(
            change,
            DEFAULT_LIMITS.audit_entries_max,
            lambda seq: done_entry(seq, now, whoever, "this machine", "init", written),
        )
