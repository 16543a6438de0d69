"""A Hypothesis state machine over a real router: its rules begin calls and do not wait, so that many are under way.

It runs in a thread of its own; the sessions live in the reactor's. Hypothesis makes the shortest story of calls that
has no order.
"""

from itertools import count
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import blockingCallFromThread

from tests.histories.clients import GROUP_NAMES, MAKES, READS, SCALE_MAX, Client, History
from tests.histories.model import Asked

CLIENTS = 8
NAMES = ("shop", "bank")
UNKNOWN = "11111111-1111-4111-8111-111111111111"
CHANGES = ("update", "start", "stop", "delete", "scale", "remove_group")
_numbers = count(1)


def state_machine(connect: Any, examples: int, steps: int, *, shrink: bool = True) -> None:
    """Run the machine with sessions that `connect` joins; call it in a thread. Raises what Hypothesis found."""
    phases = [phase for phase in Phase if shrink or phase not in (Phase.shrink, Phase.explain)]
    lines: dict[int, Any] = {}

    class Concurrent(RuleBasedStateMachine):
        """Calls of eight clients; each has one at a time."""

        @initialize()
        def begin(self) -> None:
            # Other names for every story: clusters of the one before may be there yet.
            self.number = next(_numbers)
            self.names = [f"{name}_{self.number}" for name in NAMES]
            self.history = History(reactor)
            self.clients = [Client(n, self.history, connect, self.names) for n in range(CLIENTS)]
            for client in self.clients:
                client._line = lines.get(client.number)
            self.working: dict[int, Deferred[None]] = {}
            self.keys = 0
            self.used: list[str] = []

        def _start(self, client: int, verb: str, name: str, asked: Asked, fate: str) -> None:
            def start() -> None:
                # One after the other, as a client's calls are.
                before = self.working.get(client)

                async def work() -> None:
                    if before is not None:
                        await before
                    await self.clients[client].make(verb, name, asked, fate)

                self.working[client] = ensureDeferred(work())

            blockingCallFromThread(reactor, start)

        def _oid(self, known: dict[str, list[str]], name: str, back: int) -> str:
            oids = known.get(name, [])
            return oids[-1 - back % len(oids)] if oids else UNKNOWN

        def _key(self, verb: str, keyed: bool, fate: str) -> str | None:
            if not keyed and fate in ("heard", "deaf") and verb not in MAKES:
                return None
            self.keys += 1
            return f"{self.number}-{self.keys}"

        @rule(
            client=st.integers(0, CLIENTS - 1), name=st.integers(0, 1), fate=st.sampled_from(("heard", "twice", "cut"))
        )
        def create(self, client: int, name: int, fate: str) -> None:
            key = self._key("create", True, fate)
            self._start(client, "create", self.names[name], Asked(value=f"label {key}", key=key), fate)

        @rule(
            client=st.integers(0, CLIENTS - 1),
            name=st.integers(0, 1),
            group=st.sampled_from(GROUP_NAMES),
            scale=st.integers(0, 3),
            fate=st.sampled_from(("heard", "twice", "cut")),
        )
        def add_group(self, client: int, name: int, group: str, scale: int, fate: str) -> None:
            name_of = self.names[name]
            asked = Asked(
                cluster_oid=self._oid(self.history.clusters, name_of, 0),
                value=(group, scale),
                key=self._key("add_group", True, fate),
            )
            self._start(client, "add_group", name_of, asked, fate)

        @rule(
            client=st.integers(0, CLIENTS - 1),
            verb=st.sampled_from(CHANGES),
            name=st.integers(0, 1),
            back=st.integers(0, 1),
            number=st.integers(0, SCALE_MAX),
            keyed=st.booleans(),
            fate=st.sampled_from(("heard", "heard", "twice", "cut", "deaf")),
        )
        def change(self, client: int, verb: str, name: int, back: int, number: int, keyed: bool, fate: str) -> None:
            name_of = self.names[name]
            asked = Asked(cluster_oid=self._oid(self.history.clusters, name_of, back), key=self._key(verb, keyed, fate))
            if verb in ("scale", "remove_group"):
                asked = asked._replace(group_oid=self._oid(self.history.groups, name_of, back))
            if verb in ("scale", "update"):
                asked = asked._replace(value=number if verb == "scale" else f"label {number}")
            self._start(client, verb, name_of, asked, fate)

        @rule(client=st.integers(0, CLIENTS - 1), verb=st.sampled_from(sorted(READS)), name=st.integers(0, 1))
        def look(self, client: int, verb: str, name: int) -> None:
            name_of = self.names[name]
            asked = Asked()
            if verb not in ("get_by_name", "list"):
                asked = asked._replace(cluster_oid=self._oid(self.history.clusters, name_of, 0))
            if verb == "get_group":
                asked = asked._replace(group_oid=self._oid(self.history.groups, name_of, 0))
            self._start(client, verb, name_of, asked, "heard")

        @precondition(lambda self: self.working)
        @rule()
        def wait(self) -> None:
            self._settle()
            problem = self.history.problem()
            assert problem is None, problem

        def _settle(self) -> None:
            async def settle() -> None:
                for work in self.working.values():
                    await work
                self.working.clear()

            blockingCallFromThread(reactor, lambda: ensureDeferred(settle()))

        def teardown(self) -> None:
            if not hasattr(self, "history"):
                return
            self._settle()
            for client in self.clients:
                lines[client.number] = client._line
            problem = self.history.problem()
            assert problem is None, problem

    run_state_machine_as_test(
        Concurrent,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=phases,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
