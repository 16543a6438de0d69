"""One plane over a real LMDB store with clusters, nodes, workers, users and attached agents, to be called."""

import hashlib
import json
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import cbor2
import msgpack
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from controlplane.clock import Chance
from controlplane.core.access import USER_ROLES
from controlplane.errors import ControlPlaneError, InternalError
from controlplane.master.plane import PROCEDURES, Plane
from controlplane.records.limits import DEFAULT_LIMITS, Limits
from controlplane.records.principals import Caller, Principal
from controlplane.services.ledger import EVENTS_KEPT_MAX
from controlplane.store.catalog import AUDIT, OUTCOMES, PRINCIPALS, TABLES
from controlplane.store.lmdb import LmdbEngine
from tests.fuzz.goods import FACTS, World

REPLY_BYTES_MAX = 8 * 1024 * 1024
NOW = 1_700_000_000_000_000_000
PEOPLE = [
    Principal(oid=UUID(int=n), authid=role, pubkey=f"{1_000 + n:064x}", role=role, created=0)
    for n, role in enumerate(USER_ROLES)
]
OWNER, *OTHERS = [Caller(session=7 + n, authid=role, authrole=role) for n, role in enumerate(USER_ROLES)]
BOOT = str(UUID(int=77, version=4))
CLUSTERS = ("shop", "stopped")
USERS = ("joe", "ann")
SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}
GROW = {"event": "CLUSTER_SCALE_OUT", "adjustment": {"number": 2}}
DEFINED = (
    ("list_profiles", "create_profile", {"name": "sleeper", "spec": SPEC}),
    ("list_policies", "create_policy", {"name": "grow", "spec": {"type": "scaling", "properties": GROW}}),
    ("list_clusters", "create_cluster", {"name": "pond", "profile": "sleeper", "desired": 0}),
)
STEPS_MAX = 150
"""Half seconds of the test's clock that a call may take: one that is passed on to a node waits for a minute at most."""


class Found(AssertionError):
    """An input that did not end as it should."""


class Discarded:
    """The network of a master that nobody listens to; what goes out must be something that serializers carry."""

    def __init__(self) -> None:
        self.questions: list[tuple[int, str]] = []

    def publish(self, topics: tuple[str, ...], payload: Any, roles: tuple[str, ...] = ()) -> None:
        portable(payload)

    def send(self, topic: str, session: int, payload: Any) -> None:
        portable(payload)
        if topic.endswith("on_question"):
            self.questions.append((session, payload["oid"]))

    def announce(self, topic: str, payload: Any) -> None:
        pass

    def tell(self, topic: str, *arguments: Any) -> None:
        portable(arguments)

    def kill(self, session: int, reason: str) -> None:
        pass


def check_is_no_defect(problem: ControlPlaneError) -> None:
    if isinstance(problem, InternalError):
        raise Found(f"a defect: {problem.__cause__!r}") from problem


def portable(wire: Any) -> None:
    """Fail unless every serializer of the router can carry it."""
    json.dumps(wire).encode()
    msgpack.packb(wire)
    size = len(cbor2.dumps(wire))
    if size > REPLY_BYTES_MAX:
        raise Found(f"{size} bytes are sent")


class Digests(NamedTuple):
    """What everything that is stored looks like, with and without what is known of idempotency keys.

    The audit is no part of it: that tells also of what was refused.
    """

    all: bytes
    but_outcomes: bytes


class Bench:
    """One plane, and what is in it."""

    def __init__(self, directory: Path, limits: Limits = DEFAULT_LIMITS, events_kept: int = EVENTS_KEPT_MAX) -> None:
        self.clock = Clock()
        self.wire = Discarded()
        numbers = count(1)
        chance = Chance(
            lambda: NOW + int(self.clock.seconds() * 1e9), lambda: UUID(int=next(numbers), version=4), lambda: 0.5
        )
        self.engine = LmdbEngine(directory, sync=False)
        self.plane = Plane(self.engine, self.clock, chance, self.wire, events_kept=events_kept, limits=limits)
        self.plane.store.write_now(lambda change: [change.rows(PRINCIPALS).put(record) for record in PEOPLE])
        self.plane.start()
        self.plane.uplinks.joined()
        self._sessions = count(100)
        self._snapshot: tuple[int, ExitStack, Any] | None = None
        self.agents: list[Caller] = []
        self.world = World((), (), (), (), BOOT, (), (), ())
        self.populate()

    def populate(self) -> None:
        """Make what callers may name, as far as it is not there."""
        names = self.good("list_nodes", True)
        for number in (1, 2):
            if f"edge{number}" not in names:
                self.good("pair_node", f"{10_000 + number:064x}", f"edge{number}")
        nodes = [self.good("controlplane.node.get_node_by_name", f"edge{number}")["oid"] for number in (1, 2)]
        self.agents = [Caller(session=next(self._sessions), authid=oid, authrole="agent") for oid in nodes]
        for agent in self.agents:
            self.good("attach_agent", FACTS, {"boot": BOOT, "sequence": 0}, caller=agent)
        clusters = [self._cluster(name, nodes) for name in CLUSTERS]
        if self.good("get_routercluster", clusters[0])["status"] == "STOPPED":
            self.good("start_routercluster", clusters[0])
        self.settle()
        groups = [self.good("list_routercluster_workergroups", cluster)[0] for cluster in clusters]
        workers = self.good("list_routercluster_workers", clusters[0])
        for name in USERS:
            if name not in self.good("list_users", True):
                self.good("create_user", name, "viewer", f"{hash_of(name):064x}")
        for listed, created, definition in DEFINED:
            if definition["name"] not in [each["name"] for each in self.good(listed)]:
                self.good(created, definition)
        users = [self.good("get_user_by_name", name)["oid"] for name in USERS]
        teams = self.good("list_teams") or [self.good("create_team", "crew")["oid"]]
        invitations = self.good("list_invitations") or [self.good("invite_node", f"{hash_of('invited'):064x}")]
        self.world = World(
            tuple(clusters),
            tuple(nodes),
            tuple(groups),
            tuple(workers),
            BOOT,
            tuple(users),
            tuple(teams),
            tuple(invitation["oid"] for invitation in invitations),
        )
        running = {"boot": BOOT, "sequence": 1, "version": 9, "workers": []}
        for agent in self.agents:
            mine = [
                w for w in workers if self.good("get_routercluster_worker", clusters[0], w)["node_oid"] == agent.authid
            ]
            said = [{"oid": oid, "status": "RUNNING", "digest": "d", "pid": 5} for oid in mine]
            self.good("report_workers", {**running, "workers": said}, caller=agent)
        self.settle()

    def empty(self) -> None:
        """Take everything away again, and let the agents' sessions end."""
        for agent in self.agents:
            self.plane.session_left(agent.session)
        for node in self.good("list_nodes"):
            self.good("unpair_node", node)
        for cluster in self.good("list_routerclusters"):
            if self.good("get_routercluster", cluster)["status"] != "STOPPED":
                self.good("stop_routercluster", cluster)
            self.settle()
            self.good("delete_routercluster", cluster)
        for user in self.good("list_users"):
            if UUID(user) not in [person.oid for person in PEOPLE]:
                self.good("remove_user", user)
        self._empty_of_definitions()
        for team in self.good("list_teams"):
            self.good("remove_team", team)
        for invitation in self.good("list_invitations"):
            self.good("remove_invitation", invitation["oid"])
        self.settle()

    def _empty_of_definitions(self) -> None:
        """Take away what else is defined, as far as nothing uses it."""
        for listed, deleted in (
            ("list_clusters", "delete_cluster"),
            ("list_policies", "delete_policy"),
            ("list_profiles", "delete_profile"),
        ):
            for each in self.good(listed):
                try:
                    self.good(deleted, each["oid"])
                except ControlPlaneError as problem:
                    check_is_no_defect(problem)
                self.settle()

    def _cluster(self, name: str, nodes: list[str]) -> str:
        if name in self.good("list_routerclusters", True):
            cluster = self.good("get_routercluster_by_name", name)["oid"]
        else:
            cluster = self.good("create_routercluster", {"name": name})["oid"]
        members = self.good("list_routercluster_nodes", cluster)
        for node in nodes:
            if node not in members:
                self.good("add_routercluster_node", cluster, node)
        if not self.good("list_routercluster_workergroups", cluster):
            self.good("add_routercluster_workergroup", cluster, {"name": "web", "scale": 3})
        return cluster

    def good(self, verb: str, *args: Any, caller: Caller = OWNER) -> Any:
        """Make a call that must succeed."""
        uri = verb if "." in verb else next(u for u in PROCEDURES if u.endswith(f".{verb}"))
        return self.outcome(caller, uri, args, {})

    def outcome(self, caller: Caller, uri: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the reply, or raise the error."""
        found: list[Any] = []
        ensureDeferred(self.plane.invoke(caller, uri, args, kwargs)).addBoth(found.append)
        steps = 0
        while not found:
            self.clock.advance(0 if steps < 3 else 0.5)
            steps += 1
            if steps > STEPS_MAX:
                raise Found("no answer")
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        return found[0]

    def answer(self, answer: Any) -> None:
        """Have agents answer what they are asked within the next moments."""

        def say() -> None:
            while self.wire.questions:
                session, oid = self.wire.questions.pop()
                for caller in self.agents:
                    if caller.session == session:
                        uri = "controlplane.agent.answer_question"
                        said = ensureDeferred(self.plane.invoke(caller, uri, (oid, answer), {}))
                        said.addErrback(lambda failure: failure.trap(ControlPlaneError) and None)

        self.wire.questions.clear()
        self.clock.callLater(0.1, say)

    def settle(self) -> None:
        for _ in range(10):
            self.clock.advance(0.001)

    def writes(self) -> int:
        """Return a number that changes with every change of the store, and with nothing else."""
        return self.engine._env.info()["last_txnid"]

    def look(self) -> int:
        """Keep in sight what is stored now, and return the number of the write that it comes from."""
        writes = self.writes()
        if self._snapshot is None or self._snapshot[0] != writes:
            self._let_go()
            kept = ExitStack()
            self._snapshot = writes, kept, kept.enter_context(self.engine.read())
        return writes

    def seen(self) -> Digests:
        """Return what everything looked like that was stored at the last look."""
        assert self._snapshot is not None
        return digests_of(self._snapshot[2])

    def digests(self) -> Digests:
        """Return what everything that is stored looks like now."""
        with self.engine.read() as transaction:
            return digests_of(transaction)

    def _let_go(self) -> None:
        if self._snapshot is not None:
            self._snapshot[1].close()
            self._snapshot = None

    def close(self) -> None:
        self._let_go()
        ensureDeferred(self.plane.close())


def digests_of(transaction: Any) -> Digests:
    everything, but_outcomes = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    for table in TABLES:
        if table is AUDIT:
            continue
        for space in table.spaces():
            data = b"".join(part for pair in transaction.scan(space) for part in pair)
            everything.update(data)
            if table is not OUTCOMES:
                but_outcomes.update(data)
    return Digests(everything.digest(), but_outcomes.digest())


def hash_of(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "big")
