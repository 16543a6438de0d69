"""What is in the store after a crash, held against what clients were told before it."""

from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.task import Clock

from controlplane.core.health import state_of
from controlplane.services.ledger import assigned_to, groups_of
from controlplane.store.catalog import CLUSTERS, EVENTS, MEMBERSHIPS, WORKERS
from controlplane.store.database import Store
from controlplane.store.lmdb import LmdbEngine
from controlplane.store.tables import key_of
from controlplane.store.verification import find_problems
from tests.consistency import check_derived
from tests.crash.users import USER_EVENTS, State, User, detail_of


class Ledgers:
    """Reads a store again and again, and goes on where it stopped with the events."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_to = 0
        self._events: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        self.published: dict[int, tuple[str, dict[str, Any]]] = {}
        """What subscribers heard, by sequence number, as far as it is not yet compared."""

    def audit(self, users: list[User]) -> None:
        """Compare everything; raises `AssertionError` that says what is wrong."""
        engine = LmdbEngine(self._directory)
        store = Store(engine, Clock(), _new_oid, only_existing=True)
        try:
            with engine.read() as transaction:
                problems = list(find_problems(transaction))
                assert not problems, problems
            with store.read() as view:
                check_derived(view)
                stored = clusters_in(view)
                for user in users:
                    user.compare({name: c for name, c in stored.items() if name.startswith(user.prefix)})
                self._read_events(view)
            for user in users:
                found = [event for oid in user.oids for event in self._events[oid]]
                assert [event[1:] for event in sorted(found)] == user.history, user.prefix
        finally:
            store.close()

    def workers(self) -> list[tuple[str, str, str, str]]:
        """Return (oid, node, digest, state) of every worker that a node shall run."""
        engine = LmdbEngine(self._directory)
        store = Store(engine, Clock(), _new_oid, only_existing=True)
        try:
            with store.read() as view:
                return [
                    (str(worker.oid), str(worker.node_oid), str(worker.digest), state_of(worker))
                    for worker in view.rows(WORKERS).all()
                    if assigned_to(worker)
                ]
        finally:
            store.close()

    def _read_events(self, view: Any) -> None:
        rows = view.rows(EVENTS)
        for key in list(rows.scan_keys(key_of(self._read_to + 1))):
            event = rows.get(key)
            assert event.seq == self._read_to + 1, f"event {self._read_to + 1} is missing"
            self._read_to = event.seq
            word = event.topic.rpartition(".on_")[2]
            if word in USER_EVENTS:
                oid = event.payload.get("cluster_oid") or event.payload["oid"]
                self._events[oid].append((event.seq, word, detail_of(word, event.payload)))
        # The router may deliver what a master sent when that is dead already, and looked at.
        for number, heard in self.published.items():
            event = rows.find(number)
            assert event is not None, f"event {number} was told, but is not stored: {heard}"
            assert heard == (event.topic, dict(event.payload)), f"event {number} was told otherwise than stored"
        self.published.clear()


def clusters_in(view: Any) -> State:
    """Return the clusters of a snapshot in the form of the users' models."""
    return {
        cluster.name: {
            "oid": str(cluster.oid),
            "run": cluster.run,
            "groups": {
                group.name: {"oid": str(group.oid), "scale": group.scale} for group in groups_of(view, cluster.oid)
            },
            "members": {str(member.node_oid): member.hardlimit for member in view.rows(MEMBERSHIPS).all(cluster.oid)},
        }
        for cluster in view.rows(CLUSTERS).all()
    }


_numbers = count(1)


def _new_oid() -> UUID:
    return UUID(int=next(_numbers))
