"""Wardens: they look after clusters that obey health policies, with fencing, and after workers alone.

They have workers checked and brought back, protect some of them, and have workers alone made, changed, deleted, join a
cluster and leave it again. Some of what they look after is found not to be well when an agent looks.
"""

from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from twisted.internet.defer import ensureDeferred

from controlplane.clock import sleep
from controlplane.errors import ActionConflict, ControlPlaneError
from controlplane.records.principals import Caller
from tests.simulation.callers import Callers
from tests.simulation.mirror import Row
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.witness import Witness

FIRST_SESSION = 80
WARDS_MAX = 2
ALONE_MAX = 4
TIMEOUTS_S = (6, 12, 25)
FENCE_AFTER_S = 5.0
RETRY_S = 0.5
WATCHED_FOR_S = 15.0
"""A look that had begun when all got well may say for as long as it takes that somebody is not."""

SETTLED_S = 1.0
OPERATIONS = ("REBOOT", "REBUILD", "RECREATE")


def health(name: str, modes: list[str], actions: list[str], **recovery: Any) -> dict[str, Any]:
    """Return the definition of a health policy."""
    detection = {"interval": 2, "node_update_timeout": 0, "detection_modes": [{"type": mode} for mode in modes]}
    chain = [{"name": action, "params": {"timeout": 4}} for action in actions]
    spec = {"type": "health", "properties": {"detection": detection, "recovery": {"actions": chain, **recovery}}}
    return {"name": name, "spec": spec}


FENCED = {"fencing": ["COMPUTE"], "fence_after": FENCE_AFTER_S}
POLICIES = (
    health("nurse", ["NODE_STATUS_POLLING", "LIFECYCLE_EVENTS"], ["REBOOT", "RECREATE"]),
    health("surgeon", ["LIFECYCLE_EVENTS"], ["RECREATE"], limits={"worker_max": 2, "cluster_max": 4, "within": 30}),
    health("keeper", ["NODE_STATUS_POLLING"], ["REBUILD"], **FENCED),
    health("guard", ["LIFECYCLE_EVENTS"], ["RECREATE"], **FENCED),
)


class Wardens(Callers):
    """Everybody who looks after such clusters, and what they know."""

    def __init__(self, world: World, witness: "Witness", random: Random) -> None:
        super().__init__(world, witness)
        self._random = random
        self._names = 0
        self.wards: list[str] = []
        self._prepare()
        for who in range(random.randrange(1, 3)):
            ensureDeferred(self._live(FIRST_SESSION + who))

    def _prepare(self) -> None:
        call = self._world.call
        for policy in POLICIES:
            oid = call("create_policy", policy)["oid"]
            self._witness.told({("definition", oid): True})
        cluster = call("create_cluster", self._ward())
        self.wards.append(cluster["oid"])
        call("attach_policy", cluster["oid"], self._random.choice(POLICIES)["name"])

    def _ward(self) -> dict[str, Any]:
        self._names += 1
        return {
            "name": f"ward{self._names}",
            "profile": "good0",
            "desired": self._random.randrange(1, 5),
            "max_size": 8,
            "timeout": self._random.choice(TIMEOUTS_S),
            "grace_period": self._random.choice([0.5, 2]),
            "steady": 0.3,
        }

    # Life

    async def _live(self, who: int) -> None:
        caller = Caller(session=who, authid="admin", authrole="admin")
        while self._active:
            await sleep(self._world.clock, self._random.expovariate(1.0))
            if self._active:
                await self._act(caller)

    async def _act(self, caller: Caller) -> None:
        random = self._random
        ward = random.choice(self.wards) if self.wards else None
        dice = random.random()
        if ward is None or dice < 0.05:
            await self._create(caller)
        elif dice < 0.20:
            self._sicken(ward)
        elif dice < 0.30:
            await self._look_after(caller, ward)
        elif dice < 0.42:
            await self._look_after_one(caller, ward)
        elif dice < 0.50:
            verb = random.choice(["scale_out_cluster", "scale_in_cluster"])
            await self._call(caller, verb, ward, random.choice([1, 2]))
        elif dice < 0.58:
            await self._protect(caller, ward)
        elif dice < 0.66:
            await self._call(caller, "create_worker", self._alone(), *([ward] if random.random() < 0.3 else []))
        elif dice < 0.74:
            await self._join(caller, ward)
        elif dice < 0.82:
            await self._leave(caller, ward)
        elif dice < 0.90:
            await self._change_alone(caller)
        elif dice < 0.97:
            await self._bind(caller, ward)
        else:
            self.wards.remove(ward)
            await self._call(caller, "delete_cluster", ward, writes={("deleting", ward): True})

    async def _create(self, caller: Caller) -> None:
        if len(self.wards) < WARDS_MAX:
            answer = await self._call(caller, "create_cluster", self._ward())
            if answer is not None:
                self.wards.append(answer["oid"])
                policy = self._random.choice(POLICIES)["name"]
                await self._call(caller, "attach_policy", answer["oid"], policy)

    async def _look_after(self, caller: Caller, ward: str) -> None:
        if self._random.random() < 0.4:
            await self._call(caller, "check_cluster", ward)
        else:
            await self._call(caller, "recover_cluster", ward, *self._chain(), check=self._random.random() < 0.5)

    async def _look_after_one(self, caller: Caller, ward: str) -> None:
        worker = self._one_of(self._members(ward) + self._all_alone())
        if worker is None:
            return
        if self._random.random() < 0.4:
            await self._call(caller, "check_worker", worker["oid"])
        else:
            check = self._random.random() < 0.5
            await self._call(caller, "recover_worker", worker["oid"], *self._chain(), check=check)

    def _chain(self) -> tuple[Any, ...]:
        chain = self._random.sample(OPERATIONS, self._random.randrange(1, 3))
        return chain, {"timeout": 4, "type": self._random.choice(["SOFT", "HARD"])}

    async def _protect(self, caller: Caller, ward: str) -> None:
        worker = self._one_of(self._members(ward))
        if worker is not None:
            verb = self._random.choice(["protect_worker", "unprotect_worker"])
            await self._call(caller, verb, worker["oid"])

    async def _join(self, caller: Caller, ward: str) -> None:
        alone = self._all_alone()
        if alone:
            chosen = [each["oid"] for each in self._random.sample(alone, min(len(alone), 2))]
            await self._call(caller, "add_cluster_workers", ward, chosen[: self._random.randrange(1, 3)])

    async def _leave(self, caller: Caller, ward: str) -> None:
        worker = self._one_of(self._members(ward))
        if worker is not None and len(self._all_alone()) < ALONE_MAX:
            await self._call(caller, "remove_cluster_workers", ward, [worker["oid"]], destroy=False)

    async def _change_alone(self, caller: Caller) -> None:
        worker = self._one_of(self._all_alone())
        if worker is None:
            return
        dice = self._random.random()
        if dice < 0.35 or len(self._all_alone()) > ALONE_MAX:
            await self._call(caller, "delete_worker", worker["oid"])
        elif dice < 0.6:
            profile = self._random.choice(["good0", "good1", "broken", "slow"])
            await self._call(caller, "update_worker", worker["oid"], {"profile": profile})
        else:
            self._names += 1
            await self._call(caller, "update_worker", worker["oid"], {"name": f"hermit{self._names}"})

    async def _bind(self, caller: Caller, ward: str) -> None:
        name = self._random.choice(POLICIES)["name"]
        dice = self._random.random()
        if dice < 0.5:
            await self._call(caller, "attach_policy", ward, name)
        elif dice < 0.7:
            for policy in POLICIES:
                await self._call(caller, "detach_policy", ward, policy["name"])
        else:
            await self._call(caller, "update_cluster_policy", ward, name, self._random.random() < 0.7)

    # What they see

    def _alone(self) -> dict[str, Any]:
        self._names += 1
        return {
            "name": f"hermit{self._names}",
            "profile": self._random.choice(["good0", "good0", "good1", "slow"]),
            "timeout": self._random.choice(TIMEOUTS_S),
            "grace_period": self._random.choice([0.5, 2]),
        }

    def _members(self, ward: str) -> list[Row]:
        return sorted(self._witness.mirror.workers_of[ward].values(), key=_by_age)

    def _all_alone(self) -> list[Row]:
        mirror = self._witness.mirror
        places = [oid for oid, cluster in mirror.clusters.items() if cluster["alone"]]
        return sorted((each for oid in places for each in mirror.workers_of[oid].values()), key=_by_age)

    def _one_of(self, workers: list[Row]) -> Row | None:
        return self._random.choice(workers) if workers else None

    def _sicken(self, ward: str) -> None:
        """One that runs is not well: it says so, or says nothing, whenever somebody looks."""
        worker = self._one_of(self._members(ward) + self._all_alone())
        for machine in self._world.machines if worker is not None else ():
            oid = UUID(worker["oid"])  # type: ignore[index]
            unit = machine.units.get(oid)
            if unit is not None:
                self._witness.injected("worker unwell")
                self._world.note(f"FAULT worker unwell {oid} on {machine.name}")
                machine.sick[oid, unit.started] = self._random.choice(["deaf", "deaf", None])

    # The end

    def heal(self, lost: bool) -> None:
        """All that runs is well from now on; whoever was found not to be is looked at once more.

        Where machines are lost, policies would go on with what is on them until they give up, and begin anew with that.
        """
        if lost:
            self.leave()
        for machine in self._world.machines:
            machine.sick.clear()
        ensureDeferred(self._make_well())

    def leave(self) -> None:
        """Leave clusters to those who need no policy to be prompt: with fencing much takes longer."""
        mirror = self._witness.mirror
        for home, bindings in list(mirror.bindings.items()):
            if home not in mirror.clusters or mirror.clusters[home]["deleting"]:
                continue
            for binding in list(bindings.values()):
                if mirror.definitions[binding["policy_oid"]]["spec"]["type"] == "health":
                    self._world.call("detach_policy", home, mirror.definitions[binding["policy_oid"]]["name"])
        self._world.run(SETTLED_S)

    async def _make_well(self) -> None:
        """Have those checked that nobody else will look at, and policies that gave up begin anew.

        What is refused, because an action has not come to its end yet, is tried again until then.
        """
        rounds = int(WATCHED_FOR_S / RETRY_S)
        while rounds > 0:
            rounds -= 1
            left = self._left_over()
            if left is not None:
                self.under_way += 1
                verb, arguments = left
                try:
                    await self._world.ask(verb, *arguments)
                except ControlPlaneError as problem:
                    self._world.note(f"wardens {verb}: {problem}")
                    rounds += isinstance(problem, ActionConflict)
                self.under_way -= 1
            await sleep(self._world.clock, RETRY_S)

    def _left_over(self) -> tuple[str, tuple[Any, ...]] | None:
        mirror = self._witness.mirror
        # Workers first: a policy gives up again at once when a worker is protected against what it would do.
        for worker in mirror.workers.values():
            if worker["status"] == "ERROR" and worker["want"] == "RUN" and worker["started"] is not None:
                return "check_worker", (worker["oid"],)
        for home, bindings in mirror.bindings.items():
            for binding in bindings.values():
                if binding["given_up"]:
                    policy = mirror.definitions[binding["policy_oid"]]["name"]
                    return "update_cluster_policy", (home, policy, True)
        return None


def _by_age(worker: Row) -> tuple[int, str]:
    return worker["created"], worker["oid"]
