"""Hostile calls on the real pipeline over a real LMDB store, in batches that can each be repeated alone."""

import hashlib
import json
import reprlib
import sys
import tempfile
from collections import Counter
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import cbor2
import msgpack
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from controlplane.clock import Chance
from controlplane.contract import EVERYWHERE
from controlplane.core.access import RIGHTS, USER_ROLES
from controlplane.errors import ControlPlaneError, InternalError, UnknownKey
from controlplane.master.plane import PROCEDURES, Plane
from controlplane.records.outcomes import IDEMPOTENCY_KEY
from controlplane.records.principals import Caller, Principal
from controlplane.services.idempotency import is_outcome
from controlplane.store.catalog import AUDIT, OUTCOMES, PRINCIPALS, TABLES
from controlplane.store.lmdb import LmdbEngine
from tests.fuzz.calls import HostileCall, World, hostile_call
from tests.fuzz.values import bent, value

BATCH_LENGTH = 500
REPLY_BYTES_MAX = 8 * 1024 * 1024
SHORT = reprlib.Repr()
"""Shows values that are nested more deeply than Python can show."""

NOW = 1_700_000_000_000_000_000
PEOPLE = [
    Principal(oid=UUID(int=n), authid=role, pubkey=f"{1_000 + n:064x}", role=role, created=0)
    for n, role in enumerate(USER_ROLES)
]
OWNER, *OTHERS = [Caller(session=7 + n, authid=role, authrole=role) for n, role in enumerate(USER_ROLES)]
FACTS = {
    "version": "1",
    "machine": "here",
    "address": "127.0.0.1",
    "sockets": "/run/x",
    "drivers": ["router"],
    "ports": [1000, 2000],
}


STEPS_MAX = 150
"""Half seconds of the test's clock that a call may take: one that is passed on to a node waits for a minute at most."""


class Found(AssertionError):
    """An input that did not end as it should."""


class Discarded:
    """The network of a master that nobody listens to; what goes out must be something that serializers carry."""

    def __init__(self) -> None:
        self.published = 0
        self.questions: list[tuple[int, str]] = []

    def publish(self, topics: tuple[str, ...], payload: Any, roles: tuple[str, ...] = ()) -> None:
        self.published += 1
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


def portable(wire: Any) -> None:
    """Fail unless every serializer of the router can carry it."""
    json.dumps(wire).encode()
    msgpack.packb(wire)
    size = len(cbor2.dumps(wire))
    if size > REPLY_BYTES_MAX:
        raise Found(f"{size} bytes are sent")


class Bench:
    """One plane with clusters, nodes, workers and attached agents, for one batch."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.wire = Discarded()
        numbers = count(1)
        chance = Chance(
            lambda: NOW + int(self.clock.seconds() * 1e9), lambda: UUID(int=next(numbers), version=4), lambda: 0.5
        )
        self.engine = LmdbEngine(directory, sync=False)
        self.plane = Plane(self.engine, self.clock, chance, self.wire)
        self.plane.store.write_now(lambda change: [change.rows(PRINCIPALS).put(record) for record in PEOPLE])
        self.plane.start()
        self.plane.uplinks.joined()
        self._populate()
        self.logged: list[str] = []

    def _populate(self) -> None:
        nodes = [self.good("pair_node", f"{n:064x}", f"edge{n}")["oid"] for n in (1, 2)]
        boot = str(UUID(int=77, version=4))
        self.agents = [Caller(session=100 + n, authid=oid, authrole="agent") for n, oid in enumerate(nodes)]
        for agent in self.agents:
            self.good("attach_agent", FACTS, {"boot": boot, "sequence": 0}, caller=agent)
        clusters = [self.good("create_routercluster", {"name": name})["oid"] for name in ("shop", "stopped")]
        groups = []
        for cluster in clusters:
            for node in nodes:
                self.good("add_routercluster_node", cluster, node)
            groups.append(self.good("add_routercluster_workergroup", cluster, {"name": "web", "scale": 3})["oid"])
        self.good("start_routercluster", clusters[0])
        self.settle()
        workers = self.good("list_routercluster_workers", clusters[0])
        self.world = World(tuple(clusters), tuple(nodes), tuple(groups), tuple(workers), boot)
        running = {"boot": boot, "sequence": 1, "version": 9, "workers": []}
        for agent in self.agents:
            mine = [
                w for w in workers if self.good("get_routercluster_worker", clusters[0], w)["node_oid"] == agent.authid
            ]
            said = [{"oid": oid, "status": "RUNNING", "digest": "d", "pid": 5} for oid in mine]
            self.good("report_workers", {**running, "workers": said}, caller=agent)
        self.settle()

    def good(self, verb: str, *args: Any, caller: Caller = OWNER) -> Any:
        """Make a call that must succeed."""
        uri = next(u for u in PROCEDURES if u.endswith(f".{verb}"))
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

    def settle(self) -> None:
        for _ in range(10):
            self.clock.advance(0.001)

    def writes(self) -> int:
        """Return a number that changes with every change of the store, and with nothing else."""
        return self.engine._env.info()["last_txnid"]

    def digest(self, *, outcomes: bool) -> bytes:
        """Return a digest of everything that is stored, with or without what is known of idempotency keys.

        The audit is no part of it: that tells also of what was refused.
        """
        digest = hashlib.blake2b(digest_size=16)
        left_out = [*AUDIT.spaces(), *([] if outcomes else OUTCOMES.spaces())]
        with self.engine.read() as transaction:
            for table in TABLES:
                for space in table.spaces():
                    if space not in left_out:
                        for key, data in transaction.scan(space):
                            digest.update(key)
                            digest.update(data)
        return digest.digest()

    def close(self) -> None:
        ensureDeferred(self.plane.close())


class Run:
    """Batches of inputs from one seed, and what became of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.outcomes: Counter[str] = Counter()
        self.inputs = 0

    def batch(self, number: int, length: int = BATCH_LENGTH, *, show: bool = False) -> None:
        """Make the calls of one batch; raises `Found` that says how to repeat it."""
        random = Random(f"{self.seed}/{number}")
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            bench = Bench(Path(folder))
            errors: list[Any] = []

            def observe(event: Any) -> None:
                if event["log_level"] in (LogLevel.error, LogLevel.critical) or "log_failure" in event:
                    errors.append(event)

            globalLogPublisher.addObserver(observe)
            what: Any = None
            try:
                state = bench.digest(outcomes=True), bench.digest(outcomes=False)
                for index in range(length):
                    what = f"input {index}"
                    state = self._input(bench, random, state, index if show else None)
                    self.inputs += 1
                    if errors:
                        raise Found(f"an error is logged: {shown(errors[0])}")
            except Exception as problem:
                raise Found(
                    f"{what} of batch {number}: {type(problem).__name__}: {problem}\n"
                    f"again: scripts/fuzz --part pipeline --seed {self.seed} --batch {number}"
                ) from problem
            finally:
                globalLogPublisher.removeObserver(observe)
                bench.close()

    def _input(self, bench: Bench, random: Random, state: tuple[bytes, bytes], show: int | None) -> tuple[bytes, bytes]:
        kind = random.random()
        if kind < 0.03:
            self._login(bench, random)
            return state
        caller = OWNER if kind < 0.7 else random.choice([*bench.agents, *bench.agents, *OTHERS])
        if kind > 0.97:
            caller = Caller(
                session=random.choice((0, 7, 2**53)),
                authid=random.choice(("", "x", "owner", "viewer", bench.world.nodes[0], "é" * 200)),
                authrole=random.choice(("", "agent", "owner", "OWNER", "viewer", "joining", "\x00")),
            )
        call = hostile_call(random, bench.world, rights=RIGHTS.get(caller.authrole, RIGHTS["owner"]))
        if call.uri.endswith("stat_routercluster") and random.random() < 0.3:
            self._answer(bench, random)
        if show is not None:
            sys.stdout.write(f"{show} {caller} {call.uri} {SHORT.repr(call.args)} {SHORT.repr(call.kwargs)}\n")
        before = bench.writes()
        try:
            reply = bench.outcome(caller, call.uri, call.args, call.kwargs)
        except ControlPlaneError as problem:
            self.outcomes[problem.uri] += 1
            check_error(call, problem)
            if bench.writes() == before:
                return state
            now = bench.digest(outcomes=True), bench.digest(outcomes=False)
            keyed = call.kwargs.get(IDEMPOTENCY_KEY) is not None and is_outcome(problem)
            if now[1] != state[1] or (now[0] != state[0] and not keyed):
                raise Found(f"{call.uri} was refused with {problem.uri} and changed the store") from problem
            return now
        self.outcomes["result"] += 1
        portable(reply)
        bench.clock.advance(0.01)
        if bench.writes() == before:
            return state
        return bench.digest(outcomes=True), bench.digest(outcomes=False)

    def _answer(self, bench: Bench, random: Random) -> None:
        """Have an agent answer what it is asked with something bad."""
        good = {oid: {"realms": {"shop": {"sessions": 1, "messages": {}}}} for oid in bench.world.workers}
        answer = bent(random, good)

        def say() -> None:
            while bench.wire.questions:
                session, oid = bench.wire.questions.pop()
                caller = next(agent for agent in bench.agents if agent.session == session)
                uri = "controlplane.agent.answer_question"
                ensureDeferred(bench.plane.invoke(caller, uri, (oid, answer), {})).addErrback(lambda _: None)

        bench.clock.callLater(0.1, say)

    def _login(self, bench: Bench, random: Random) -> None:
        good = {
            "authmethod": "cryptosign",
            "authextra": {"pubkey": f"{1:064x}", "channel_binding": random.choice((None, "tls-unique"))},
            "authrole": "agent",
            "transport": {"peer": "tcp4:127.0.0.1:5", "channel_id": {"tls-unique": b"x" * 32}},
        }
        good = (
            good if random.random() < 0.7 else {**good, "authrole": "owner", "authextra": {"pubkey": f"{1_000:064x}"}}
        )
        realm = random.choice((None, "default", "", "x" * 300, value(random)))
        details = bent(random, good)
        try:
            authid = random.choice((None, None, "edge1", value(random)))
            bench.plane.authenticate(realm, details if isinstance(details, dict) else {}, authid)
            self.outcomes["login"] += 1
        except ControlPlaneError as problem:
            self.outcomes[problem.uri] += 1
            check_text(problem)
            if isinstance(problem, UnknownKey):
                portable(problem.details())


def check_error(call: HostileCall, problem: ControlPlaneError) -> None:
    """Fail unless an error is one that the procedure promises, and says what is needed."""
    if isinstance(problem, InternalError):
        raise Found(f"a defect: {problem.__cause__!r}") from problem
    if not isinstance(problem, (*EVERYWHERE, *call.declared.raises)):
        raise Found(f"{problem.uri} is not declared: {problem}")
    check_text(problem)


def check_text(problem: ControlPlaneError) -> None:
    text = str(problem)
    if not 0 < len(text) <= 2_000 or "Traceback" in text or not problem.next_step:
        raise Found(f"the error does not help: {text!r}")
    portable({"text": text, **problem.details()})


def shown(event: Any) -> str:
    failure = event.get("log_failure")
    return failure.getTraceback() if failure is not None else str(event.get("log_format"))
