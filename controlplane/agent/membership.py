"""How a node belongs to a master: the keys that its agent logs in with, and joining with a token.

In the agent's directory `agent.key` is the key in use, and `agent.key.new` one that was announced and was not used yet:
it takes the other's place once it logged in. `joined.json` says which master the node joined, and `router-keys.json` by
what its router is known since. All are for their owner only.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from autobahn.wamp.cryptosign import CryptosignKey
from twisted.logger import Logger

from controlplane.clock import sleep
from controlplane.drivers.files import write_whole
from controlplane.errors import ControlPlaneError, InvalidConfiguration, NoAnswer, NodeUnpaired, UnknownKey
from controlplane.keys import KEY_FILE, ensure_key, make_key, public_key, read_key
from controlplane.records.protocol import JOIN_NODE, ROTATE_KEY
from controlplane.records.types import Record
from controlplane.tokens import Token, void
from controlplane.transports import Login, require_protected
from controlplane.wamp import Session, join_once

JOINED_FILE = "joined.json"
PINS_FILE = "router-keys.json"
JOINING_ROLE = "joining"
AGENT_ROLE = "agent"
JOIN_WITHIN_S = 30.0
GIVE_UP_AFTER_S = 60.0
JOIN_AGAIN_AFTER_S = 1.0

log = Logger()


class Keys:
    """The key of a node, and the one that is to follow it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / KEY_FILE
        self._next_path = directory / f"{KEY_FILE}.new"
        self.current = ensure_key(self._path)
        self._next = read_key(self._next_path) if self._next_path.exists() else None
        self.in_use = self._next or self.current
        """The key to log in with."""

    def announce(self) -> CryptosignKey:
        """Make the key that is to follow, in the place of an earlier one that was never used."""
        self._next_path.unlink(missing_ok=True)
        self._next = make_key(self._next_path)
        return self._next

    def use_next(self) -> None:
        """Log in with the key that is to follow from now on."""
        self.in_use = self._next or self.current

    def refused(self) -> None:
        """Try the other key, if there are two: the master knows one of them."""
        if self._next is not None:
            self.in_use = self.current if self.in_use is self._next else self._next

    def accepted(self) -> None:
        """Take note of a login: a new key that worked takes the place of the old one for good."""
        if self._next is not None and self.in_use is self._next:
            os.replace(self._next_path, self._path)
            self.current, self._next = self._next, None
            log.info("the key of this node is {key} now", key=public_key(self.current))


class Pins:
    """The fingerprints that the router is known by: what was said to the agent first, or what a master said since.

    Whoever says something else to the agent is believed again. Nothing is pinned where nothing was said.
    """

    def __init__(self, directory: Path, said: tuple[str, ...]) -> None:
        self._path = directory / PINS_FILE
        self._said = said
        self.keys = said
        try:
            known = msgspec.json.decode(self._path.read_bytes(), type=_Pinned)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as problem:
            log.warn("{path} cannot be read: {problem}", path=str(self._path), problem=str(problem))
            return
        if known.said == said:
            self.keys = known.keys

    def learn(self, keys: tuple[str, ...]) -> bool:
        """Believe a master that was known by the former keys; says whether anything is new."""
        if not self._said or not keys or keys == self.keys:
            return False
        write_whole(self._path, msgspec.json.encode(_Pinned(said=self._said, keys=keys)))
        self.keys = keys
        return True


class _Pinned(Record, frozen=True, kw_only=True):
    said: tuple[str, ...]
    keys: tuple[str, ...]


class Master(Record, frozen=True, kw_only=True):
    """The master that a node joined with a token."""

    url: str
    server_keys: tuple[str, ...]
    invitation: str
    realm: str
    node_oid: str | None = None
    authid: str | None = None
    """Both are None when the answer to the trade was lost."""


def known_master(directory: Path) -> Master | None:
    """Return the master that a node joined with a token, or None when it did not."""
    path = directory / JOINED_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Master)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as problem:
        raise InvalidConfiguration(
            f"{path} cannot be read: {problem}", next_step="remove it, and say --url and --server-keys"
        ) from problem


async def join(reactor: Any, token: Token, directory: Path, key: CryptosignKey, name: str | None) -> None:
    """Trade a token for the pairing of this node; nothing is done when it was traded by this node before.

    A router or master that is away is waited for. An answer that was lost on the way costs nothing: the token is void
    then, and the node's own key is known.
    """
    invitation = public_key(token.key())
    known = known_master(directory)
    if known is not None and known.invitation == invitation:
        return
    login = Login(url=token.url, realm=token.realm, authrole=JOINING_ROLE, server_keys=token.server_keys)
    require_protected(login)
    end = reactor.seconds() + GIVE_UP_AFTER_S
    while True:
        try:
            paired = await _trade(reactor, login, token, key, name)
        except NoAnswer as problem:
            if reactor.seconds() >= end:
                raise
            log.warn("not joined yet, trying again: {problem}", problem=str(problem))
            await sleep(reactor, JOIN_AGAIN_AFTER_S)
        else:
            break
    master = Master(
        url=token.url,
        server_keys=token.server_keys,
        invitation=invitation,
        realm=token.realm,
        node_oid=paired.get("node_oid"),
        authid=paired.get("authid"),
    )
    write_whole(directory / JOINED_FILE, msgspec.json.format(msgspec.json.encode(master), indent=2))
    log.info("joined {url} as node {name}", url=token.url, name=master.authid or public_key(key))


async def _trade(reactor: Any, login: Login, token: Token, key: CryptosignKey, name: str | None) -> Mapping[str, str]:
    """Return what the master says of the pairing; nothing when its answer was lost and the node is paired."""
    try:
        session = await join_once(reactor, login, token.key())
    except UnknownKey:
        try:
            session = await join_once(reactor, msgspec.structs.replace(login, authrole=AGENT_ROLE), key)
        except (UnknownKey, NodeUnpaired):
            raise void() from None
        session.leave()
        return {}
    try:
        answer: Mapping[str, str] = await session.call(JOIN_NODE, JOIN_WITHIN_S, pubkey=public_key(key), node_name=name)
    finally:
        session.leave()
    return answer


async def rotate(keys: Keys, session: Session, within: float, again: Callable[[], None]) -> None:
    """Announce a new key, and log in with it; the old one is kept until that has worked."""
    try:
        await session.call(ROTATE_KEY, within, pubkey=public_key(keys.announce()))
    except ControlPlaneError as problem:
        log.error("the key could not be rotated: {problem}", problem=str(problem))
        return
    keys.use_next()
    again()
