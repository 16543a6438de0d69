"""Inviting, registering and changing keys over a saved connection.

Secrets are made here, and stay with whoever runs it: the master gets public halves only.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from autobahn.wamp.cryptosign import CryptosignKey

from controlplane.cli.client import CALL_WITHIN_S, one_shot, run_once
from controlplane.clock import sleep
from controlplane.core.addresses import is_loopback
from controlplane.errors import (
    AlreadyExists,
    NoAnswer,
    NoSuchObject,
    UnknownKey,
)
from controlplane.keys import make_key, public_key, read_key
from controlplane.records.protocol import REGISTER_KEY
from controlplane.saved_login import connection_path, read_connection
from controlplane.tokens import Token, new_secret, read_token, void
from controlplane.transports import Login, require_protected
from controlplane.wamp import Session, join_once

ROTATED_WITHIN_S = 30.0
ASK_AGAIN_AFTER_S = 0.1
JOINING_ROLE = "joining"


def invite(connection: str | None, url: str | None, kind: str, valid_for: float, settings: dict[str, Any]) -> str:
    """Return the token of a new invitation."""
    login, _ = read_connection(connection)
    key = CryptosignKey.from_bytes(secret := new_secret())

    async def work(session: Session) -> Any:
        asked = {"pubkey": public_key(key), "valid_for": valid_for}
        if kind == "node":
            given = {name: value for name, value in settings.items() if value is not None}
            return await session.call("controlplane.invitation.invite_node", CALL_WITHIN_S, **asked, **given)
        user = await _ensure_user(session, settings["name"], settings["role"])
        return await session.call("controlplane.invitation.invite_user", CALL_WITHIN_S, user_oid=user, **asked)

    invitation = one_shot(connection, work)
    token = Token(url=url or login.url, realm=invitation["realm"], secret=secret, server_keys=login.server_keys)
    if is_loopback(urlsplit(token.url).hostname or ""):
        print(f"this is good on this machine alone: {token.url}; --url says otherwise", file=sys.stderr)
    return token.text()


async def _ensure_user(session: Session, name: str, role: str | None) -> str:
    """Return the oid of a user, who is created when there is none; the role of one that there is stays."""
    try:
        known = await session.call("controlplane.user.get_user_by_name", CALL_WITHIN_S, name)
    except NoSuchObject:
        asked = {"authid": name, "role": role or "viewer"}
        return str((await session.call("controlplane.user.create_user", CALL_WITHIN_S, **asked))["oid"])
    if role not in (None, known["role"]):
        raise AlreadyExists(
            f"user {name} has the role {known['role']!r}", next_step="leave --role out, or call update_user"
        )
    return str(known["oid"])


def register_user(connection: str | None, text: str) -> Path:
    """Make a key, trade a token for it, and save the connection; return the file that it is in."""
    token = read_token(text)
    path = connection_path(connection)
    if path.exists():
        raise AlreadyExists(f"{path} exists already", next_step="name another file with --connection")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_path = path.with_name(f"{path.stem}.key")
    # A key without a connection is that of a run whose answer was lost.
    key = read_key(key_path) if key_path.exists() else make_key(key_path)

    async def work(reactor: Any) -> Any:
        login = Login(url=token.url, realm=token.realm, authrole=JOINING_ROLE, server_keys=token.server_keys)
        require_protected(login)
        try:
            session = await join_once(reactor, login, token.key())
        except UnknownKey:
            return await _registered(reactor, login, key)
        try:
            return await session.call(REGISTER_KEY, CALL_WITHIN_S, pubkey=public_key(key))
        finally:
            session.leave()

    try:
        user = run_once(work)
    except NoAnswer as problem:
        # Whether the key is registered is not known, so it is kept.
        raise NoAnswer(problem.message, next_step="run the same command again") from None
    except BaseException:
        key_path.unlink()
        raise
    saved = {"url": token.url, "realm": user["realm"], "authid": user["authid"], "authrole": user["role"]}
    _write(path, {**saved, "server_keys": list(token.server_keys), "privkey_file": key_path.name})
    return path


async def _registered(reactor: Any, login: Login, key: CryptosignKey) -> dict[str, Any]:
    """Return the user whose key this is, when the answer to its registration was lost."""
    try:
        session = await join_once(reactor, msgspec.structs.replace(login, authrole=None), key)
    except UnknownKey:
        raise void() from None
    user: dict[str, Any] = await session.call("controlplane.user.get_own_user", CALL_WITHIN_S)
    session.leave()
    return {**user, "realm": login.realm}


def rotate_own_key(connection: str | None) -> Path:
    """Log in with a new key from now on, and put it in the place of the old one; return its file.

    The new key is on disk before it is announced, and the old one until the new one has worked: a run that was
    interrupted is finished by the next one.
    """
    login, key = read_connection(connection)
    path = connection_path(connection)
    key_path = path.parent / str(json.loads(path.read_text())["privkey_file"])
    fresh_path = key_path.with_name(f"{key_path.name}.new")
    fresh = read_key(fresh_path) if fresh_path.exists() else make_key(fresh_path)

    async def work(reactor: Any) -> None:
        try:
            session = await join_once(reactor, login, fresh)
        except UnknownKey:
            session = await join_once(reactor, login, key)
            await session.call("controlplane.user.rotate_key", CALL_WITHIN_S, pubkey=public_key(fresh))
            session.leave()
            session = await join_once(reactor, login, fresh)
        session.leave()

    run_once(work)
    os.replace(fresh_path, key_path)
    return key_path


def rotate_node(connection: str | None, name: str) -> None:
    """Have a node's agent change its key, and wait until it has."""

    async def work(session: Session) -> None:
        node = await session.call("controlplane.node.get_node_by_name", CALL_WITHIN_S, name)
        await session.call("controlplane.node.rotate_node_key", CALL_WITHIN_S, node["oid"])
        end = session.clock.seconds() + ROTATED_WITHIN_S
        while True:
            now = await session.call("controlplane.node.get_node", CALL_WITHIN_S, node["oid"])
            if now["pubkey"] != node["pubkey"]:
                return
            if session.clock.seconds() > end:
                raise NoAnswer(f"node {name} has not changed its key", next_step="see the log of its agent")
            await sleep(session.clock, ASK_AGAIN_AFTER_S)

    one_shot(connection, work)


def read_users(connection: str | None) -> list[dict[str, Any]]:
    """Return the users, in order of their names."""

    async def work(session: Session) -> list[dict[str, Any]]:
        names = await session.call("controlplane.user.list_users", CALL_WITHIN_S, return_names=True)
        return [await session.call("controlplane.user.get_user_by_name", CALL_WITHIN_S, name) for name in names]

    found: list[dict[str, Any]] = one_shot(connection, work)
    return found


def _write(path: Path, saved: dict[str, Any]) -> None:
    with open(path, "x", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
        json.dump(saved, file, indent=2)
        file.write("\n")
