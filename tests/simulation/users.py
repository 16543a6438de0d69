"""Users: each makes one call after the other, all of them at once, and remembers what it was told."""

from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import ensureDeferred

from controlplane.clock import sleep
from controlplane.records.principals import Caller
from tests.simulation.callers import Callers
from tests.simulation.history import Key
from tests.simulation.machine import Machine
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.witness import Witness

CLUSTERS_MAX = 3
GROUPS_MAX = 3
SCALE_MAX = 5


def config(name: str, number: int) -> dict[str, Any] | None:
    """Return one of a few configurations; they differ in what routers and frontends run."""
    if number == 0:
        return None
    roles = [{"name": "anonymous", "permissions": []}, {"name": f"role{number}", "permissions": []}]
    realms = [{"name": name, "roles": roles[: 1 + number % 2]}]
    if number > 2:
        realms.append({"name": f"{name}-more", "roles": roles})
    return {"realms": realms}


class Users(Callers):
    """Everybody who administers router clusters, and what they know."""

    def __init__(self, world: World, witness: "Witness", number: int, pause_s: float) -> None:
        super().__init__(world, witness)
        self._random: Random = world.random
        self._pause_s = pause_s
        self._names = 0
        self.clusters: dict[str, str] = {}
        """Names by oid, as far as somebody was told of them."""

        self.groups: dict[str, str] = {}
        """Clusters by oid of the group."""

        for who in range(number):
            ensureDeferred(self._live(who))

    # Life

    async def _live(self, who: int) -> None:
        caller = Caller(session=1 + who, authid="admin", authrole="admin")
        while self._active:
            await sleep(self._world.clock, self._random.expovariate(1 / self._pause_s))
            if self._active:
                await self._act(caller)

    async def _act(self, caller: Caller) -> None:
        random = self._random
        cluster = random.choice(list(self.clusters)) if self.clusters else None
        group = random.choice(list(self.groups)) if self.groups else None
        machine = random.choice(self._world.machines)
        node = str(machine.oid)
        dice = random.random()
        if cluster is None or dice < 0.06:
            await self._create(caller)
        elif group is None or dice < 0.16:
            await self._add_group(caller, cluster)
        elif dice < 0.40:
            scale = random.randrange(SCALE_MAX + 1)
            home = self.groups[group]
            verb = "scale_routercluster_workergroup"
            await self._call(caller, verb, home, group, scale, writes={("scale", home, group): scale})
        elif dice < 0.52:
            await self._add_node(caller, cluster, machine)
        elif dice < 0.58:
            writes: dict[Key, Any] = {("member", cluster, node): None}
            await self._call(caller, "remove_routercluster_node", cluster, node, writes=writes)
        elif dice < 0.68:
            await self._call(caller, "start_routercluster", cluster, writes={("run", cluster): True})
        elif dice < 0.73:
            await self._call(caller, "stop_routercluster", cluster, writes={("run", cluster): False})
        elif dice < 0.77:
            await self._delete(caller, cluster)
        elif dice < 0.80:
            home = self.groups[group]
            verb = "remove_routercluster_workergroup"
            await self._call(caller, verb, home, group, writes={("scale", home, group): None})
        elif dice < 0.88:
            await self._update(caller, cluster)
        elif dice < 0.91:
            await self._pair_again(caller, machine)
        else:
            await self._look(caller, cluster)

    async def _create(self, caller: Caller) -> None:
        if len(self.clusters) >= CLUSTERS_MAX:
            return
        self._names += 1
        name = f"cluster{self._names}"
        definition = {
            "name": name,
            "grace_period": self._random.choice([0.5, 2, 5]),
            "routers": self._random.choice([1, 1, 2]),
        }
        begun = self._world.clock.now
        answer = await self._call(caller, "create_routercluster", definition)
        if answer is not None:
            oid = answer["oid"]
            self.clusters[oid] = name
            self._witness.told({("cluster", oid): True, ("run", oid): False, ("label", oid): None}, begun)

    async def _add_group(self, caller: Caller, cluster: str) -> None:
        if sum(home == cluster for home in self.groups.values()) >= GROUPS_MAX:
            return
        scale = self._random.randrange(1, SCALE_MAX)
        begun = self._world.clock.now
        answer = await self._call(caller, "add_routercluster_workergroup", cluster, {"scale": scale})
        if answer is not None:
            self.groups[answer["oid"]] = cluster
            self._witness.told({("scale", cluster, answer["oid"]): scale}, begun)

    async def _add_node(self, caller: Caller, cluster: str, machine: Machine) -> None:
        limits = {}
        if self._random.random() < 0.4:
            limits["hardlimit"] = self._random.randrange(5)
        if self._random.random() < 0.3:
            limits["softlimit"] = self._random.randrange(min(3, limits.get("hardlimit", 3)) + 1)
        writes = {("member", cluster, str(machine.oid)): (limits.get("softlimit"), limits.get("hardlimit"))}
        await self._call(caller, "add_routercluster_node", cluster, str(machine.oid), limits, writes=writes)

    async def _update(self, caller: Caller, cluster: str) -> None:
        label = f"label{self._random.getrandbits(32)}"
        change: dict[str, Any] = {"label": label}
        match self._random.randrange(3):
            case 0:
                change["config"] = config(self.clusters[cluster], self._random.randrange(5))
            case 1:
                change["routers"] = self._random.randrange(1, 3)
            case _:
                change["grace_period"] = self._random.choice([0.5, 2, 5])
        await self._call(caller, "update_routercluster", cluster, change, writes={("label", cluster): label})

    async def _delete(self, caller: Caller, cluster: str) -> None:
        answer = await self._call(caller, "delete_routercluster", cluster, writes={("cluster", cluster): False})
        if answer is not None:
            self.clusters.pop(cluster, None)
            self.groups = {group: home for group, home in self.groups.items() if home != cluster}

    async def _pair_again(self, caller: Caller, machine: Machine) -> None:
        """Take a machine out and pair it again, as after an exchange of its disk."""
        node = str(machine.oid)
        if await self._call(caller, "unpair_node", node, writes={("node", node): False}) is not None:
            await sleep(self._world.clock, self._random.random() * 3)
        while self._active:
            name = f"{machine.name}-{self._random.getrandbits(32)}"
            begun = self._world.clock.now
            answer = await self._call(caller, "pair_node", pubkey=machine.pubkey, authid=name)
            if answer is not None:
                self._witness.told({("node", answer["oid"]): True}, begun)
                return
            if machine.pubkey in self._witness.paired():
                return
            await sleep(self._world.clock, 1 + self._random.random())

    async def _look(self, caller: Caller, cluster: str) -> None:
        match self._random.randrange(5):
            case 0:
                await self._call(caller, "list_routerclusters")
            case 1:
                await self._call(caller, "stat_routercluster", cluster)
            case 2:
                await self._call(caller, "list_routercluster_workers", cluster)
            case 3:
                await self._call(caller, "list_events", after=0)
            case _:
                await self._call(caller, "get_routercluster", cluster)
