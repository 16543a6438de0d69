"""Clients that call all at once, lose answers, repeat their calls, and write down what they saw.

A call that was not answered is repeated with its idempotency key until it is, as users are told to; some are sent twice
at once. What makes an object is only ever lost with a key, so that in the end everybody knows what became of it.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable
from itertools import count
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from controlplane.clock import sleep
from controlplane.errors import ControlPlaneError, InternalError, NoAnswer
from tests.histories.checker import NEVER, Operation, explain
from tests.histories.model import Asked, Clusters

PREFIX = "crossbarfabriccenter.mrealm.routercluster."
WITHIN_S = 60.0
AGAIN_AFTER_S = 0.2
VERBS = {
    "create": "create_routercluster",
    "get": "get_routercluster",
    "get_by_name": "get_routercluster_by_name",
    "update": "update_routercluster",
    "delete": "delete_routercluster",
    "start": "start_routercluster",
    "stop": "stop_routercluster",
    "list": "list_routerclusters",
    "add_group": "add_routercluster_workergroup",
    "scale": "scale_routercluster_workergroup",
    "remove_group": "remove_routercluster_workergroup",
    "get_group": "get_routercluster_workergroup",
    "list_groups": "list_routercluster_workergroups",
}
MAKES = frozenset({"create", "add_group"})
READS = frozenset({"get", "get_by_name", "list", "get_group", "list_groups"})
WEIGHTS = {
    "create": 10,
    "get": 12,
    "get_by_name": 8,
    "update": 14,
    "delete": 5,
    "start": 8,
    "stop": 8,
    "list": 5,
    "add_group": 7,
    "scale": 12,
    "remove_group": 3,
    "get_group": 8,
    "list_groups": 4,
}
FATES = ("heard",) * 12 + ("deaf", "deaf", "cut", "twice", "twice")
GROUP_NAMES = ("web", "api")
SCALE_MAX = 30
"""Twice that many workers and a router are planned in the transaction of a change, so that a status is no surprise."""


class Line(Protocol):
    """A session of a client."""

    def call(self, uri: str, within: float, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Make a call; fails with `ControlPlaneError`."""
        ...

    def abort(self) -> None:
        """Cut the connection at once."""
        ...


class History:
    """What all clients saw, in the order in which it ended."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.tick = count(1).__next__
        """Tells before from after: all clients are in this process."""

        self.operations: list[Operation] = []
        self.made: dict[str, str] = {}
        """By key: the oid of what a call made."""

        self.clusters: dict[str, list[str]] = {}
        """By name: oids that somebody was told, the newest last."""

        self.groups: dict[str, list[str]] = {}
        """By name of the cluster: oids of groups that somebody was told."""

    def note(self, operation: Operation) -> None:
        self.operations.append(operation)
        outcome = operation.outcome
        if outcome is None or outcome[0] != "made" or operation.verb not in MAKES:
            return
        oid = outcome[1][0]
        known = self.clusters if operation.verb == "create" else self.groups
        if oid not in known.setdefault(operation.thing, []):
            known[operation.thing].append(oid)
        if operation.argument.key is not None:
            self.made[operation.argument.key] = oid

    def complete(self) -> list[Operation]:
        """Return all operations as the model wants them.

        What makes something says what it made, also where only a repetition was told. A call that was repeated until it
        was answered is one call, from its first beginning to its first answer: whichever time it was made, the answer
        is the same.
        """
        found: list[Operation] = []
        repeated: dict[Hashable, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            asked: Asked = operation.argument
            made = self.made.get(asked.key or "")
            if made is None and operation.verb in MAKES and operation.outcome and operation.outcome[0] == "made":
                made = operation.outcome[1][0]
            if made:
                asked = asked._replace(made=made)
            if asked.key is None:
                found.append(operation._replace(argument=asked))
            else:
                repeated[asked.key, asked.call(operation.verb)].append(operation._replace(argument=asked))
        for same in repeated.values():
            answered = sorted((each for each in same if each.is_answered), key=lambda each: each.ended)
            if answered:
                found.extend(answered[1:])
                found.append(answered[0]._replace(begun=min(each.begun for each in same)))
            else:
                found.extend(same)
        return found

    def problem(self) -> str | None:
        """Return what is wrong with the history, None when it is linearisable."""
        return explain(self.complete(), Clusters())


class Client:
    """One of those who call at once."""

    def __init__(self, number: int, history: History, connect: Callable[[], Awaitable[Line]], names: list[str]) -> None:
        self.number = number
        self.history = history
        self.names = names
        self._connect = connect
        self._line: Line | None = None
        self._other: Line | None = None
        self._keys = 0
        self._used: dict[str, list[str]] = {}

    async def work(self, random: Random, calls: int) -> None:
        """Make so many calls, each until it is answered."""
        for _ in range(calls):
            verb = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            await self.make(verb, *self.choose(random, verb))

    def choose(self, random: Random, verb: str) -> tuple[str, Asked, str]:
        """Return what a call is about, its argument and its fate."""
        name = random.choice(self.names)
        clusters, groups = self.history.clusters.get(name, []), self.history.groups.get(name, [])
        asked = Asked()
        if verb not in ("create", "get_by_name", "list"):
            asked = asked._replace(cluster_oid=recent(random, clusters))
        if verb in ("scale", "remove_group", "get_group"):
            asked = asked._replace(group_oid=recent(random, groups))
        fate = random.choice(FATES)
        if verb in READS:
            fate = "heard"
        elif verb in MAKES or (fate != "heard" and random.random() < 0.8) or random.random() < 0.3:
            asked = asked._replace(key=self._key(random, name, verb))
        elif fate != "heard":
            fate = "deaf"
        match verb:
            case "create" | "update":
                asked = asked._replace(value=f"label{self.number}.{random.randrange(10**6)}")
            case "add_group":
                asked = asked._replace(value=(random.choice(GROUP_NAMES), random.randrange(4)))
            case "scale":
                asked = asked._replace(value=random.randrange(SCALE_MAX + 1))
        return name, asked, fate

    def _key(self, random: Random, name: str, verb: str) -> str:
        """Return a key, now and then one that another call had already."""
        used = self._used.setdefault(name, [])
        if verb not in MAKES and used and random.random() < 0.1:
            return random.choice(used)
        self._keys += 1
        key = f"{name}-{self.number}-{self._keys}"
        if verb not in MAKES:
            used.append(key)
        return key

    async def make(self, verb: str, name: str, asked: Asked, fate: str) -> None:
        """Make a call; one that is not answered is repeated when it has a key."""
        line = self._line = self._line or await self._connect()
        if fate == "twice":
            other = self._other = self._other or await self._connect()
            both = [ensureDeferred(self._once(each, verb, name, asked)) for each in (line, other)]
            answers = await DeferredList(both, consumeErrors=True)
            for good, outcome in answers:
                if not good:
                    raise outcome.value
            heard = any(outcome for _, outcome in answers)
        elif fate == "deaf":
            heard = await self._once(line, verb, name, asked, deaf=True)
        elif fate == "cut":
            unheard = ensureDeferred(self._once(line, verb, name, asked))
            self.history.clock.callLater(self._cut_after(asked), line.abort)
            self._line = None
            heard = await unheard
        else:
            heard = await self._once(line, verb, name, asked)
        while not heard and asked.key is not None:
            line = self._line = self._line or await self._connect()
            heard = await self._once(line, verb, name, asked)
            if not heard:
                await sleep(self.history.clock, AGAIN_AFTER_S)

    @staticmethod
    def _cut_after(asked: Asked) -> float:
        """Return when the line is cut: before the call leaves, while it is under way, or while its answer is."""
        return len(str(asked.key)) % 5 * 0.002

    async def _once(self, line: Line, verb: str, name: str, asked: Asked, *, deaf: bool = False) -> bool:
        """Send a call, note how it ends, and say whether it was answered; to be deaf is to go on without the answer."""
        tick = self.history.tick
        begun = tick()
        answer = line.call(PREFIX + VERBS[verb], WITHIN_S, *arguments(verb, name, asked), **keyword(asked))
        outcome: Any = None
        ended = NEVER
        if deaf:
            answer.addErrback(lambda _: None)
        else:
            try:
                outcome = "made", seen(verb, await answer)
                ended = tick()
            except InternalError:
                raise
            except NoAnswer:
                self._line = None if line is self._line else self._line
                self._other = None if line is self._other else self._other
            except ControlPlaneError as problem:
                outcome = "error", problem.uri
                ended = tick()
        if verb == "list" and outcome is not None:
            for each in self.names:
                self._note(verb, each, asked, begun, ended, ("made", each in outcome[1]))
        else:
            self._note(verb, name, asked, begun, ended, outcome)
        return ended != NEVER

    def _note(self, verb: str, name: str, asked: Asked, begun: float, ended: float, outcome: Any) -> None:
        self.history.note(Operation(self.number, verb, asked, begun, ended, outcome, name))


async def run_history(
    clock: Any, connect: Callable[[], Awaitable[Line]], names: list[str], seed: int, clients: int, calls: int
) -> History:
    """Have so many clients make so many calls each, all at once, and return what they saw."""
    history = History(clock)
    each = [Client(number, history, connect, names) for number in range(clients)]
    working = [ensureDeferred(client.work(Random(f"{seed}/{client.number}"), calls)) for client in each]
    for good, outcome in await DeferredList(working, consumeErrors=True):
        if not good:
            raise outcome.value
    return history


def recent(random: Random, known: list[str]) -> str:
    """Return one of the oids, most of the time the newest; one that nobody has when there is none."""
    if not known:
        return "11111111-1111-4111-8111-111111111111"
    return known[-1] if random.random() < 0.8 else random.choice(known)


def arguments(verb: str, name: str, asked: Asked) -> list[Any]:
    """Return what a call sends."""
    value: Any = asked.value
    match verb:
        case "create":
            return [{"name": name, "label": value}]
        case "get_by_name":
            return [name]
        case "list":
            return [True]
        case "list_groups":
            return [asked.cluster_oid, True]
        case "update":
            return [asked.cluster_oid, {"label": value}]
        case "add_group":
            return [asked.cluster_oid, {"name": value[0], "scale": value[1]}]
        case "scale":
            return [asked.cluster_oid, asked.group_oid, value]
    return [asked.cluster_oid] if asked.group_oid is None else [asked.cluster_oid, asked.group_oid]


def keyword(asked: Asked) -> dict[str, Any]:
    return {} if asked.key is None else {"idempotency_key": asked.key}


def seen(verb: str, reply: Any) -> Any:
    """Return what of a reply the model says something about."""
    try:
        match verb:
            case "create" | "get" | "get_by_name" | "update" | "delete":
                return reply["oid"], reply["label"], reply["status"] != "STOPPED"
            case "start" | "stop":
                return reply["status"]
            case "list":
                return frozenset(reply)
            case "list_groups":
                return tuple(sorted(reply))
        return reply["oid"], reply["scale"]
    except (KeyError, TypeError):
        return "no reply to this call", repr(reply)
