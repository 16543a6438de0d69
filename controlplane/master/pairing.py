"""Pairing by a folder, as Crossbar.io's master does it: nodes whose directories appear there are paired and told so.

A node of Crossbar.io writes its public key into `key.pub` when it first starts. A directory with such a file under the
folder is paired, and a file `key.activate` beside it tells the node where its master is; the node ends when it finds
it, and is to be started again. Whoever can write to the folder can pair nodes, so a folder that everybody can write to
is not used.
"""

import os
import stat
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from controlplane.clock import Clock, DelayedCall
from controlplane.core.paired_names import name_of_node
from controlplane.errors import AlreadyExists, ControlPlaneError
from controlplane.records.types import MANAGEMENT_REALM, MANAGEMENT_REALM_OID, NANOSECONDS, Instant

LOOK_EVERY_S = 2.0
DEPTH_MAX = 3
DIRECTORIES_MAX = 10_000
FILE_BYTES_MAX = 16_384
KEY_FILE = "key.pub"
ACTIVATION_FILE = "key.activate"
KEY_TAG, NAME_TAG, ADDRESS_TAG = "public-key-ed25519", "node-authid", "node-cluster-ip"
UNKNOWN = ("", "unknown", "None")

log = Logger()

Pair = Callable[[Mapping[str, Any]], Coroutine[Any, Any, Mapping[str, Any]]]


class PairingFolder:
    """Looks for nodes that want to be paired."""

    def __init__(self, clock: Clock, now: Callable[[], Instant], folder: Path, url: str, pair: Pair) -> None:
        """`pair(arguments)` pairs a node and returns it; `url` is what nodes are told to connect to."""
        self._clock = clock
        self._now = now
        self._folder = folder
        self._url = url
        self._pair = pair
        self._known: set[str] = set()
        """Keys that are paired, or cannot be."""

        self._next: DelayedCall | None = None
        self._complained = False

    def start(self) -> None:
        """Look now, and again and again."""
        ensureDeferred(self._look()).addErrback(lambda failure: log.failure("the pairing folder", failure)).addCallback(
            lambda _: self._again()
        )

    def close(self) -> None:
        """Look no more."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None
        self._folder = Path(os.devnull)

    def _again(self) -> None:
        if self._folder != Path(os.devnull):
            self._next = self._clock.callLater(LOOK_EVERY_S, self.start)

    async def _look(self) -> None:
        if not self._is_safe():
            return
        for file in _key_files(self._folder):
            tags = read_tags(file)
            key = tags.get(KEY_TAG, "").lower()
            if key and key not in self._known:
                await self._try(file.parent, key, tags)

    async def _try(self, directory: Path, key: str, tags: Mapping[str, str]) -> None:
        address = tags.get(ADDRESS_TAG, "")
        extra = {} if address in UNKNOWN else {"cluster_ip": address}
        name = name_of_node(tags.get(NAME_TAG, ""), key)
        given = {"pubkey": key, "realm_name": MANAGEMENT_REALM, "authid": name, "authextra": extra}
        try:
            node = await self._pair(given)
        except AlreadyExists as problem:
            self._known.add(key)
            if (problem.subject or {}).get("type") != "node" or "pubkey" not in problem.message:
                log.warn("node {name} in {place} is not paired: {p}", name=name, place=str(directory), p=str(problem))
        except ControlPlaneError as problem:
            log.warn("node {name} in {place} is not paired yet: {p}", name=name, place=str(directory), p=str(problem))
        else:
            self._known.add(key)
            log.info("paired node {name}, whose key is in {place}", name=name, place=str(directory))
            self._activate(directory, key, node)

    def _activate(self, directory: Path, key: str, node: Mapping[str, Any]) -> None:
        """Tell a node where its master is; nothing that is there already is written over."""
        tags = {
            "created-at": datetime.fromtimestamp(self._now() / NANOSECONDS, UTC).isoformat(timespec="milliseconds"),
            "management-url": self._url,
            "management-realm": MANAGEMENT_REALM,
            "management-realm-oid": str(MANAGEMENT_REALM_OID),
            "node-oid": node["oid"],
            ADDRESS_TAG: node["cluster_ip"] or "unknown",
            NAME_TAG: node["authid"],
            "activation-code": "unknown",
            KEY_TAG: key,
        }
        text = "Crossbar.io node activation\n\n" + "".join(f"{tag}: {value}\n" for tag, value in tags.items())
        path = directory / ACTIVATION_FILE
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except OSError as problem:
            log.warn("{path} was not written: {problem}", path=str(path), problem=problem)
            return
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def _is_safe(self) -> bool:
        try:
            found = self._folder.stat()
        except OSError:
            return False  # It may come.
        safe = stat.S_ISDIR(found.st_mode) and not found.st_mode & stat.S_IWOTH
        if not safe and not self._complained:
            log.error("{folder} is not used: everybody can write to it", folder=str(self._folder))
        self._complained = not safe
        return safe


def read_tags(file: Path) -> dict[str, str]:
    """Return what a key file of Crossbar.io says: lines of tag and value after an empty line."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return {}
        with file.open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(FILE_BYTES_MAX)
    except OSError:
        return {}
    _, _, body = text.partition("\n\n")
    pairs = (line.split(":", 1) for line in body.splitlines() if ":" in line)
    return {tag.strip().lower(): value.strip() for tag, value in pairs}


def _key_files(folder: Path) -> Iterator[Path]:
    for seen, (place, directories, files) in enumerate(os.walk(folder, followlinks=False)):
        depth = len(Path(place).relative_to(folder).parts)
        directories[:] = sorted(directories) if depth < DEPTH_MAX and seen < DIRECTORIES_MAX else []
        if KEY_FILE in files:
            yield Path(place) / KEY_FILE
