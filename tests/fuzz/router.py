"""Hostile calls and messages over the real router, by clients of every serializer that it speaks."""

from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

import cbor2
import msgpack
from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.serializer import CBORSerializer, MsgPackSerializer
from autobahn.wamp.types import ComponentConfig
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint

from controlplane.clock import limit, sleep
from controlplane.core.access import RIGHTS
from controlplane.errors import ControlPlaneError, NoAnswer, RemoteError
from controlplane.keys import read_key
from controlplane.records.protocol import QUESTION_TOPIC
from controlplane.transports import Inner
from tests.fuzz.bench import Found
from tests.fuzz.calls import hostile_call
from tests.fuzz.pipeline import SHORT
from tests.fuzz.target import Target
from tests.fuzz.values import value

SERIALIZERS = {"cbor": CBORSerializer, "msgpack": MsgPackSerializer}
CLIENTS_EACH = 2
"""Sessions of every serializer and role."""

BATCH_LENGTH = 32
ANSWER_WITHIN_S = 60.0


class Client:
    """A joined session that is joined anew after the router has closed it."""

    def __init__(self, target: Target, serializer: str, role: str) -> None:
        self.target = target
        self.serializer = serializer
        self.role = role
        self.inner: Any = None

    async def ready(self) -> Any:
        if self.inner is None or not self.inner.is_attached():
            joined: Deferred[Any] = Deferred()

            class Owner:
                def joined(self, inner: Any) -> None:
                    joined.callback(inner)

                def left(self, reason: str, message: str) -> None:
                    if not joined.called:
                        joined.errback(NoAnswer(f"{reason}: {message}"))

            agent = self.role == "agent"
            login = self.target.agent_login if agent else self.target.admin_login
            key = read_key(self.target.directory / "agent.key" if agent else self.target.state.admin_key)
            config = ComponentConfig(realm="default", extra={"owner": Owner(), "login": login, "key": key})
            serializer = SERIALIZERS[self.serializer]()
            factory = WampWebSocketClientFactory(lambda: Inner(config), url=login.url, serializers=[serializer])
            factory.setProtocolOptions(maxMessagePayloadSize=2**24, maxFramePayloadSize=2**24, tcpNoDelay=True)
            await TCP4ClientEndpoint(reactor, "127.0.0.1", self.target.children.port).connect(factory)
            inner = self.inner = await limit(reactor, joined, ANSWER_WITHIN_S, "the router")
            if agent:
                await inner.subscribe(lambda question: self.target.answer(inner, question), QUESTION_TOPIC)
        return self.inner


class Run:
    """Batches of calls from one seed."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.seed = seed
        self.outcomes: Counter[str] = Counter()
        self.inputs = 0
        self.clients = {
            role: [Client(target, serializer, role) for serializer in SERIALIZERS for _ in range(CLIENTS_EACH)]
            for role in ("owner", "agent")
        }

    async def batch(self, number: int, *, show: bool = False) -> None:
        """Send one batch at once; raises `Found` that says how to repeat it."""
        random = self.target.random = Random(f"{self.seed}/{number}")
        try:
            await self._batch(random, show)
        except Exception as problem:
            raise Found(
                f"batch {number} of seed {self.seed}: {type(problem).__name__}: {problem}\n"
                f"again: scripts/fuzz --part router --seed {self.seed} --batch {number}"
            ) from problem

    async def _batch(self, random: Random, show: bool) -> None:
        role = random.choice(("owner", "owner", "agent"))
        clients = [(client, await client.ready()) for client in self.clients[role]]
        await self.target.attach()
        changed = await self._acting()
        before = await self._settled()
        if role == "owner" and random.random() < 0.3:
            await self._message(*random.choice(clients), random)
        else:
            answers = [
                # Several clients: what is still under way on a link that is closed is lost.
                ensureDeferred(self._call(*clients[number % len(clients)], random, show))
                for number in range(BATCH_LENGTH)
            ]
            ended = await DeferredList(answers, consumeErrors=True)
            for good, outcome in ended:
                if not good:
                    raise outcome.value
            changed |= any(outcome for _, outcome in ended)
        # What an agent answered may have ended its link: then its node is offline, whoever asked.
        changed |= self.target.agent.over
        now = self.target.contents()
        if not changed and now != before:
            different = {key: (before.get(key), now.get(key)) for key in before | now}
            shown = {key: pair for key, pair in different.items() if pair[0] != pair[1]}
            raise Found(f"refused input changed the store: {shown}")
        await self.target.call("controlplane.node.list_nodes")

    async def _acting(self) -> bool:
        """Cancel the actions that run, and say whether some go on: that may end at any time, and change the store."""
        running = {"status": "RUNNING"}
        for action in await self.target.call("controlplane.action.list_actions", running):
            with suppress(ApplicationError):  # It has ended meanwhile.
                await self.target.call("controlplane.action.cancel_action", action["cluster_oid"], action["oid"])
        return bool(await self.target.call("controlplane.action.list_actions", running))

    async def _settled(self) -> dict[bytes, bytes]:
        """Return what is stored, once nothing follows any more from what was done before."""
        before: dict[bytes, bytes] = {}
        now = self.target.contents()
        while before != now:
            await sleep(reactor, 0.03)
            await self.target.call("controlplane.node.list_nodes")
            before, now = now, self.target.contents()
        return now

    async def _call(self, client: Client, inner: Any, random: Random, show: bool) -> bool:
        """Make a call, and say whether it may have changed something."""
        call = hostile_call(
            random, self.target.world, json_only=client.serializer == "msgpack", rights=RIGHTS[client.role]
        )
        if "unpair_node" in call.declared.uri:
            return False  # It would end the agent that this process plays.
        kwargs = {name: given for name, given in call.kwargs.items() if name != "idempotency_key"}
        if show:
            print(client.serializer, client.role, call.uri, SHORT.repr(call.args), SHORT.repr(kwargs), flush=True)
        try:
            answer = inner.ends_with_line(inner.call(call.uri, *call.args, **kwargs))
            self.inputs += 1
        except TransportLost:
            self.outcomes["the link is closed"] += 1
            return False
        except Exception:
            self.outcomes["cannot be sent"] += 1
            return False
        try:
            await limit(reactor, answer, ANSWER_WITHIN_S, call.uri)
        except ApplicationError as problem:
            known = problem.error in ControlPlaneError.known or problem.error.startswith("wamp.")
            passed = RemoteError in call.declared.raises
            self.outcomes[problem.error if known else "whatever the other side said"] += 1
            said = f"{problem.args} {problem.kwargs}"
            if not (known or passed) or "Traceback" in said or problem.error == "controlplane.error.internal_error":
                raise Found(f"{call.uri} ended in {problem.error} {said[:500]}") from problem
            return False
        except TransportLost:
            self.outcomes["the link is closed"] += 1
            return True  # It may have been made, and the end of an agent's session is news, too.
        except NoAnswer as problem:
            raise Found(f"{call.uri} is never answered ({client.serializer}): {repr(call)[:2_000]}") from problem
        self.outcomes["result"] += 1
        return call.declared.writes

    async def _message(self, client: Client, inner: Any, random: Random) -> None:
        """Send something that is no WAMP message, or one that is out of place, on a joined session."""
        self.inputs += 1
        number = random.choice((1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 32, 33, 34, 35, 36, 48, 49, 50, 64, 65, 66, 68, 69, 70))
        number = random.choice((number, number, -1, 0, 999, 2**70, "48", None, [48]))
        message = random.choice(
            (
                [number],
                [number, 1],
                [number, 2**53, {}, "controlplane.node.list_nodes"],
                [number, 1, {}, value(random)],
                [number, value(random), {}, "controlplane.node.list_nodes", value(random)],
                [number, 1, {"procedure": 5, "match": "prefix"}, "controlplane."],
                [number, "default", {"roles": value(random)}],
                [number] * 40,
                {"a": 1},
                value(random),
            )
        )
        try:
            data = {"cbor": cbor2.dumps, "msgpack": msgpack.packb}[client.serializer](message)
        except Exception:
            data = random.randbytes(40)
        if random.random() < 0.3:
            data = data[: random.randrange(len(data) + 1)] + random.randbytes(3)
        inner._transport.sendMessage(data, isBinary=random.random() < 0.95)
        self.outcomes["a message out of place"] += 1
        await self.target.call("controlplane.node.list_nodes")
        if inner._transport is not None:
            inner._transport.sendClose()
        client.inner = None
