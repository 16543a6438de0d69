"""Hostile calls on the real pipeline over a real LMDB store: in batches that can be repeated alone, or on one plane.

A plane of its own for every batch makes an input easy to repeat, but shows nothing of what a plane that lives for long
gathers. So some of the inputs go to one plane that is emptied after every batch and never ends.
"""

import re
import reprlib
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from twisted.logger import LogLevel, globalLogPublisher

from controlplane.contract import EVERYWHERE
from controlplane.core.access import RIGHTS
from controlplane.errors import ControlPlaneError, InternalError, UnknownKey
from controlplane.records.limits import Limits
from controlplane.records.outcomes import IDEMPOTENCY_KEY
from controlplane.records.principals import Caller
from controlplane.services.idempotency import is_outcome
from controlplane.services.remote import Forwarding
from tests.fuzz.bench import OTHERS, OWNER, Bench, Found, portable
from tests.fuzz.calls import HostileCall, hostile_call
from tests.fuzz.goods import statistics
from tests.fuzz.values import bent, value

BATCH_LENGTH = 500
KEPT_MAX = 500
"""Events and audit entries of the plane that lasts: they are full soon, and must not grow from then on."""

ALONE_S = 0.5
"""Of the clock of a bench, which stands still unless somebody waits: then what is due meanwhile happens as well."""

SHORT = reprlib.Repr()
"""Shows values that are nested more deeply than Python can show."""


class Run:
    """Batches of inputs from one seed, and what became of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.outcomes: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        """By procedure: how often it ended in a result."""

        self.inputs = 0

    def batch(self, number: int, length: int = BATCH_LENGTH, *, show: bool = False) -> None:
        """Make the calls of one batch on a plane of its own; raises `Found` that says how to repeat it."""
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            bench = Bench(Path(folder))
            try:
                self._inputs(bench, f"{self.seed}/{number}", length, show, f"--part pipeline --batch {number}")
            finally:
                bench.close()

    def lasting(self, batches: int) -> Iterator[None]:
        """Make the calls of one batch after the other on the same plane; yields after each of them."""
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            bench = Bench(Path(folder), Limits(audit_entries_max=KEPT_MAX), KEPT_MAX)
            try:
                for number in range(batches):
                    again = f"--part lasting --inputs {BATCH_LENGTH * (number + 1)}"
                    self._inputs(bench, f"{self.seed}/lasting/{number}", BATCH_LENGTH, False, again)
                    bench.empty()
                    bench.populate()
                    yield
            finally:
                bench.close()

    def _inputs(self, bench: Bench, seed: str, length: int, show: bool, again: str) -> None:
        random, what = Random(seed), ""
        try:
            with errors_logged() as errors:
                for index in range(length):
                    what = f"input {index} of {seed}"
                    self._input(bench, random, index if show else None)
                    self.inputs += 1
                    if errors:
                        raise Found(f"an error is logged: {shown(errors[0])}")
        except Exception as problem:
            raise Found(
                f"{what}: {type(problem).__name__}: {problem}\nagain: scripts/fuzz --seed {self.seed} {again}"
            ) from problem

    def _input(self, bench: Bench, random: Random, show: int | None) -> None:
        kind = random.random()
        if kind < 0.03:
            self._login(bench, random)
            return
        caller = OWNER if kind < 0.7 else random.choice([*bench.agents, *bench.agents, *OTHERS])
        if kind > 0.97:
            caller = Caller(
                session=random.choice((0, 7, 2**53)),
                authid=random.choice(("", "x", "owner", "viewer", bench.world.nodes[0], "é" * 200)),
                authrole=random.choice(("", "agent", "owner", "OWNER", "viewer", "joining", "\x00")),
            )
        call = hostile_call(random, bench.world, rights=RIGHTS.get(caller.authrole, RIGHTS["owner"]))
        if random.random() < 0.7:
            self._answer(bench, call, random)
        if show is not None:
            sys.stdout.write(f"{show} {caller} {call.uri} {SHORT.repr(call.args)} {SHORT.repr(call.kwargs)}\n")
        before, since = bench.look(), bench.clock.seconds()
        try:
            reply = bench.outcome(caller, call.uri, call.args, call.kwargs)
        except ControlPlaneError as problem:
            known = problem.uri in ControlPlaneError.known
            self.outcomes[problem.uri if known else "whatever the other side said"] += 1
            check_error(call, problem)
            # What waited for an answer for long is not alone: actions go on meanwhile.
            if bench.writes() != before and bench.clock.seconds() - since < ALONE_S:
                was, now = bench.seen(), bench.digests()
                keyed = call.kwargs.get(IDEMPOTENCY_KEY) is not None and is_outcome(problem)
                if now.but_outcomes != was.but_outcomes or (now.all != was.all and not keyed):
                    raise Found(f"{call.uri} was refused with {problem.uri} and changed the store") from problem
            return
        self.outcomes["result"] += 1
        self.made[call.declared.uri] += 1
        portable(reply)
        bench.clock.advance(0.01)

    def _answer(self, bench: Bench, call: HostileCall, random: Random) -> None:
        """Have agents answer what they are asked with something that may be bad."""
        if isinstance(call.declared, Forwarding):
            bench.answer(bent(random, random.choice(({"result": {"a": [1]}}, {"error": "a.b", "message": "it is"}))))
        elif call.declared.uri.endswith("stat_routercluster"):
            good = statistics(random, bench.world)
            bench.answer(good if random.random() < 0.3 else bent(random, good))

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


@contextmanager
def errors_logged() -> Iterator[list[Any]]:
    """Give a list of what is logged as an error from now on."""
    errors: list[Any] = []

    def observe(event: Any) -> None:
        if event["log_level"] in (LogLevel.error, LogLevel.critical) or "log_failure" in event:
            errors.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield errors
    finally:
        globalLogPublisher.removeObserver(observe)


def check_error(call: HostileCall, problem: ControlPlaneError) -> None:
    """Fail unless an error is one that the procedure promises, and says what is needed."""
    if isinstance(problem, InternalError):
        raise Found(f"a defect: {problem.__cause__!r}") from problem
    if not isinstance(problem, (*EVERYWHERE, *call.declared.raises)):
        raise Found(f"{problem.uri} is not declared: {problem}")
    check_text(problem)


def check_text(problem: ControlPlaneError) -> None:
    text = str(problem)
    if not re.fullmatch(r"([^\s.#]+\.)*[^\s.#]+", problem.uri):
        raise Found(f"no router carries an error with the name {problem.uri!r}: it ends the master's connection")
    if not 0 < len(text) <= 2_000 or "Traceback" in text or not problem.next_step:
        raise Found(f"the error does not help: {text!r}")
    portable({"text": text, **problem.details()})


def shown(event: Any) -> str:
    failure = event.get("log_failure")
    return failure.getTraceback() if failure is not None else str(event.get("log_format"))
