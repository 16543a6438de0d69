"""Operators: users of clusters of processes. They use everything that there is for these, at any time, all at once."""

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from controlplane.clock import limit, sleep
from controlplane.errors import ControlPlaneError, NoAnswer
from controlplane.records.principals import Caller
from controlplane.records.receivers import WEBHOOK_PATH
from controlplane.services.receivers import signal_of
from tests.simulation.callers import ANSWER_WITHIN_S, Callers
from tests.simulation.history import Key
from tests.simulation.lines import decode, encode
from tests.simulation.machine import BROKEN, MORTAL, SLOW
from tests.simulation.mirror import is_generic
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.witness import Witness

CLUSTERS_MAX = 3
DESIRED_MAX = 6
TIMEOUTS_S = (4, 8, 15, 30)
ACTIONS_REMEMBERED = 4
FIRST_SESSION = 50

PROFILES: Mapping[str, tuple[str, ...]] = {
    "good0": ("serve", "0"),
    "good1": ("serve", "1"),
    "good2": ("serve", "2"),
    "broken": ("serve", BROKEN),
    "mortal": ("serve", MORTAL),
    "slow": ("serve", SLOW),
}
"""Commands by name."""

POLICIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "more": (
        "scaling",
        {"event": "CLUSTER_SCALE_OUT", "adjustment": {"number": 2, "cooldown": 4, "best_effort": True}},
    ),
    "back": ("scaling", {"event": "CLUSTER_SCALE_IN", "adjustment": {"cooldown": 2.5}}),
    "oldest": ("deletion", {"criteria": "OLDEST_FIRST"}),
    "youngest": ("deletion", {"criteria": "YOUNGEST_FIRST", "reduce_desired_capacity": False}),
    "pairs": ("batch", {"min_in_service": 1, "max_batch_size": 2, "pause_time": 0.3, "canary": 1}),
    "apart": ("affinity", {"per_node_max": 1}),
    "crowded": ("affinity", {"per_node_max": 3}),
}
"""Type and properties by name."""


class Operators(Callers):
    """Everybody who runs clusters of processes, and what they know."""

    def __init__(self, world: World, witness: "Witness", random: Random, *, pool: bool = False) -> None:
        super().__init__(world, witness)
        self._pool = pool
        """Whether workers stand by for their first cluster."""

        self._random = random
        self._pause_s = random.choice([0.5, 1.0, 2.5])
        self._names = 0
        self.clusters: dict[str, str] = {}
        """Names by oid."""

        self._actions: list[tuple[str, str]] = []
        """Cluster and oid of the last ones that somebody was told of."""

        self._receivers: dict[str, tuple[str, str]] = {}
        """Cluster and token, by oid."""

        self.profiles: dict[str, str] = {}
        self.policies: dict[str, str] = {}
        self._prepare()
        for who in range(random.randrange(1, 3)):
            ensureDeferred(self._live(FIRST_SESSION + who))

    def _prepare(self) -> None:
        """Make what all clusters are made of, and one that runs."""
        call = self._world.call
        for name, command in PROFILES.items():
            spec = {"type": "process", "properties": {"command": list(command)}}
            self.profiles[name] = call("create_profile", {"name": name, "spec": spec})["oid"]
        for name, (kind, properties) in POLICIES.items():
            spec = {"type": kind, "properties": properties}
            self.policies[name] = call("create_policy", {"name": name, "spec": spec})["oid"]
        made = [*self.profiles.values(), *self.policies.values()]
        self._witness.told({("definition", oid): True for oid in made})
        cluster = call("create_cluster", self._definition("good0"))
        self._made(cluster, self._world.clock.now)
        chosen = self._random.sample(sorted(self.policies), 2)
        if self._pool:
            spec = {"type": "standby", "properties": {"size": 2}}
            self.policies["ready"] = call("create_policy", {"name": "ready", "spec": spec})["oid"]
            self._witness.told({("definition", self.policies["ready"]): True})
            chosen.insert(0, "ready")
        for name in chosen:
            try:
                call("attach_policy", cluster["oid"], name)
            except ControlPlaneError as refused:  # Of most types one only.
                self._world.note(f"policy {name}: {refused}")

    def _definition(self, profile: str) -> dict[str, Any]:
        random = self._random
        self._names += 1
        low = random.choice([0, 0, 1])
        return {
            "name": f"farm{self._names}",
            "profile": profile,
            "desired": random.randrange(max(1, low), DESIRED_MAX),
            "min_size": low,
            "max_size": random.choice([-1, DESIRED_MAX]),
            "timeout": random.choice(TIMEOUTS_S),
            "grace_period": random.choice([0.5, 2, 5]),
            "batch": random.choice([1, 1, 2]),
            "steady": random.choice([0, 0.3, 1]),
            **({"naming": "$R-$3I"} if random.random() < 0.3 else {}),
        }

    def _made(self, cluster: Mapping[str, Any], begun: float) -> None:
        oid = cluster["oid"]
        self.clusters[oid] = cluster["name"]
        told: dict[Key, Any] = {("label", oid): None}
        if cluster["action_oid"] is not None:
            told["action", cluster["action_oid"]] = True
            self._actions.append((oid, cluster["action_oid"]))
        self._witness.told(told, begun)

    # Life

    async def _live(self, who: int) -> None:
        caller = Caller(session=who, authid="admin", authrole="admin")
        while self._active:
            await sleep(self._world.clock, self._random.expovariate(1 / self._pause_s))
            if self._active:
                await self._act(caller)

    async def _act(self, caller: Caller) -> None:
        random = self._random
        cluster = random.choice(list(self.clusters)) if self.clusters else None
        dice = random.random()
        if cluster is None or dice < 0.08:
            await self._create(caller)
        elif dice < 0.22:
            await self._resize(caller, cluster)
        elif dice < 0.40:
            count = random.choice([(), (), (1,), (2,)])
            await self._begin(caller, random.choice(["scale_out_cluster", "scale_in_cluster"]), cluster, *count)
        elif dice < 0.52:
            await self._change_profile(caller, cluster)
        elif dice < 0.56:
            await self._begin(caller, "recover_cluster", cluster)
        elif dice < 0.63:
            await self._take_out(caller, cluster)
        elif dice < 0.70:
            await self._cancel(caller)
        elif dice < 0.74:
            await self._delete(caller, cluster)
        elif dice < 0.84:
            await self._bind(caller, cluster)
        elif dice < 0.90:
            await self._update(caller, cluster)
        elif dice < 0.96:
            await self._receive(caller, cluster)
        else:
            await self._look(caller, cluster)

    async def _begin(self, caller: Caller, verb: str, cluster: str, *args: Any, **kwargs: Any) -> None:
        """Begin an action, and remember it."""
        begun = self._world.clock.now
        answer = await self._call(caller, verb, cluster, *args, **kwargs)
        if answer is not None:
            self._remember(cluster, answer["oid"], begun)

    def _remember(self, cluster: str, action: str, begun: float) -> None:
        self._witness.told({("action", action): True}, begun)
        self._actions = [*self._actions, (cluster, action)][-ACTIONS_REMEMBERED:]

    async def _create(self, caller: Caller) -> None:
        if len(self.clusters) >= CLUSTERS_MAX:
            return
        profile = self._random.choice(["good0", "good1", "good2", "good0", "broken", "mortal", "slow"])
        begun = self._world.clock.now
        answer = await self._call(caller, "create_cluster", self._definition(profile))
        if answer is not None:
            self._made(answer, begun)

    async def _resize(self, caller: Caller, cluster: str) -> None:
        random = self._random
        asked: dict[str, Any] = {}
        match random.randrange(4):
            case 0:
                asked = {"adjustment_type": "EXACT_CAPACITY", "number": random.randrange(DESIRED_MAX + 1)}
            case 1:
                asked = {"adjustment_type": "CHANGE_IN_CAPACITY", "number": random.choice([-2, -1, 1, 2, 3])}
            case 2:
                asked = {"adjustment_type": "CHANGE_IN_PERCENTAGE", "number": random.choice([-50, 30, 100])}
                asked["min_step"] = random.choice([None, 2])
            case _:
                asked = {"adjustment_type": "EXACT_CAPACITY", "number": random.randrange(2, DESIRED_MAX)}
                asked |= {"min_size": random.randrange(3), "max_size": random.choice([-1, DESIRED_MAX, 4])}
        asked["strict"] = random.random() < 0.5
        await self._begin(caller, "resize_cluster", cluster, **{k: v for k, v in asked.items() if v is not None})

    async def _change_profile(self, caller: Caller, cluster: str) -> None:
        change: dict[str, Any] = {"profile": self._random.choice(sorted(PROFILES))}
        if self._random.random() < 0.3:
            change["batch"] = self._random.randrange(1, 4)
        begun = self._world.clock.now
        answer = await self._call(caller, "update_cluster", cluster, change)
        if answer is not None and answer["action_oid"] is not None:
            self._remember(cluster, answer["action_oid"], begun)

    async def _take_out(self, caller: Caller, cluster: str) -> None:
        workers = await self._call(caller, "list_cluster_workers", cluster)
        if workers:
            chosen = self._random.sample([each["oid"] for each in workers], min(len(workers), 2))
            verb = self._random.choice(["remove_cluster_workers", "replace_cluster_workers"])
            await self._begin(caller, verb, cluster, chosen[: self._random.randrange(1, 3)])

    async def _cancel(self, caller: Caller) -> None:
        if self._actions:
            cluster, action = self._random.choice(self._actions[-2:])
            await self._call(caller, "cancel_action", cluster, action)

    async def _delete(self, caller: Caller, cluster: str) -> None:
        begun = self._world.clock.now
        answer = await self._call(caller, "delete_cluster", cluster, writes={("deleting", cluster): True})
        if answer is not None:
            self._witness.told({("action", answer["oid"]): True}, begun)
            if self._random.random() < 0.7:
                self.clusters.pop(cluster, None)

    async def _bind(self, caller: Caller, cluster: str) -> None:
        name = self._random.choice(sorted(self.policies))
        key: Key = ("bound", cluster, self.policies[name])
        dice = self._random.random()
        if dice < 0.5:
            await self._call(caller, "attach_policy", cluster, name, writes={key: True})
        elif dice < 0.8:
            await self._call(caller, "detach_policy", cluster, name, writes={key: None})
        else:
            enabled = self._random.random() < 0.5
            await self._call(caller, "update_cluster_policy", cluster, name, enabled, writes={key: enabled})

    async def _update(self, caller: Caller, cluster: str) -> None:
        label = f"label{self._random.getrandbits(32)}"
        change: dict[str, Any] = {"label": label}
        match self._random.randrange(5):
            case 0:
                change["timeout"] = self._random.choice(TIMEOUTS_S)
            case 1:
                change["grace_period"] = self._random.choice([0.5, 2, 5])
            case 2:
                change["batch"] = self._random.randrange(1, 4)
            case 3:
                change["name"] = f"{self.clusters[cluster][:8]}_{self._random.getrandbits(16)}"
            case _:
                change["metadata"] = {"what": self._random.getrandbits(16)}
        await self._call(caller, "update_cluster", cluster, change, writes={("label", cluster): label})

    async def _look(self, caller: Caller, cluster: str) -> None:
        match self._random.randrange(4):
            case 0:
                await self._call(caller, "list_actions", limit=20, sort="created:desc")
            case 1:
                await self._call(caller, "get_cluster", cluster)
            case 2:
                await self._call(caller, "list_cluster_policies", cluster)
            case _:
                await self._call(caller, "list_clusters", filters={"type": "generic"})

    # Signals

    async def _receive(self, caller: Caller, cluster: str) -> None:
        """Make a receiver, or send a signal to one."""
        mine = [oid for oid, (home, _) in self._receivers.items() if home == cluster]
        if not mine:
            self._names += 1
            action = self._random.choice(["CLUSTER_SCALE_OUT", "CLUSTER_SCALE_IN", "CLUSTER_RECOVER"])
            definition = {"name": f"bell{self._names}", "action": action}
            answer = await self._call(caller, "create_receiver", cluster, definition)
            if answer is not None:
                token = answer["webhook_path"].removeprefix(WEBHOOK_PATH)
                self._receivers[answer["receiver"]["oid"]] = (cluster, token)
        elif self._random.random() < 0.15:
            oid = mine[0]
            del self._receivers[oid]
            await self._call(caller, "delete_receiver", cluster, oid)
        else:
            await self._ring(self._receivers[mine[0]][1], cluster)

    async def _ring(self, token: str, cluster: str) -> None:
        """Send a signal, as the endpoint of the master takes it in."""
        self.calls += 1
        self.under_way += 1
        network, begun = self._world.network, self._world.clock.now
        answer: Deferred[Any] = Deferred(lambda _: None)

        def arrive() -> None:
            if network.master is None:
                settle(Failure(NoAnswer("the master is away")))
                return
            try:
                with network.master[0].store.read() as view:
                    signal = signal_of(view, token, {})
            except ControlPlaneError as problem:
                settle(Failure(problem))
            else:
                network.invoke(signal.caller, signal.uri, (), signal.arguments, settle)

        def settle(value: Any) -> None:
            sent = value if isinstance(value, Failure) else decode(encode(value))
            if not answer.called:
                answer.callback(sent)

        network.later(arrive)
        try:
            said = await limit(self._world.clock, answer, ANSWER_WITHIN_S, "signal")
            self._world.note(f"a signal to {cluster}: {said['name']}")
            self._remember(cluster, said["oid"], begun)
        except ControlPlaneError as problem:
            self._world.note(f"a signal to {cluster}: {problem}")
        finally:
            self.under_way -= 1

    def left(self) -> list[str]:
        """Return the clusters of processes that there still are."""
        return [oid for oid, cluster in self._witness.mirror.clusters.items() if is_generic(cluster)]
