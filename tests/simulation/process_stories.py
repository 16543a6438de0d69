"""What is done to a calm plane with a cluster of processes: stories of actions that chance tells too seldom.

A master that is killed while an action has nothing to wait for but time, a clock that is set back in the middle of one,
the sick one among the healthy, a policy that rests, a deletion in the way of something else.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from controlplane.errors import ActionCooldown
from controlplane.master.uplinks import SETTLE_S
from controlplane.records.types import NANOSECONDS
from tests.simulation.chaos import Chaos
from tests.simulation.epilogue import CONVERGED_WITHIN_S
from tests.simulation.witness import Witness
from tests.simulation.world import Broken, World

TIMEOUT_S = 12
LONG_STEADY_S = 3.0
SET_BACK_NS = 3_600 * NANOSECONDS
LOOK_S = 0.1


class ProcessStories:
    """The stories, in order; `require` raises when the plane has not converged."""

    def __init__(self, world: World, witness: Witness, chaos: Chaos, require: Callable[[str], None]) -> None:
        self._world = world
        self._mirror = witness.mirror
        self._chaos = chaos
        self._require = require
        self._farm = ""

    def play(self) -> None:
        """Tell them all."""
        self._make()
        self._fail_an_update()
        self._take_the_sick_first()
        self._cancel_a_growth()
        self._rest_after_a_scaling()
        self._world.call("update_cluster", self._farm, {"steady": LONG_STEADY_S})
        self._lose_a_line_in_an_update()
        self._kill_the_master_meanwhile()
        self._set_the_clock_back()
        self._delete_at_once()

    def _make(self) -> None:
        made = self._world.call(
            "create_cluster",
            {
                "name": "last_farm",
                "profile": "good0",
                "desired": 3,
                "max_size": 8,
                "timeout": TIMEOUT_S,
                "grace_period": 2,
                "steady": 0.3,
            },
        )
        self._farm = made["oid"]
        self._wait(made["action_oid"])
        self._require("after a cluster of processes was made")

    def _fail_an_update(self) -> None:
        """A profile that does not work is taken back."""
        world = self._world
        world.ailing = True
        action = world.call("update_cluster", self._farm, {"profile": "broken"})["action_oid"]
        ended = self._wait(action)
        world.ailing = False
        if ended["status"] != "FAILED":
            raise Broken(f"an update to a profile that does not work has {ended['status']}")
        world.run(CONVERGED_WITHIN_S)
        self._require("after an update was taken back")

    def _take_the_sick_first(self) -> None:
        """One that fails again and again goes, and no healthy one."""
        world = self._world
        running = [
            (worker["index"], machine, oid)
            for machine in world.machines
            for oid in machine.units
            if (worker := self._mirror.workers_of[self._farm].get(str(oid))) is not None
        ]
        if len(running) < 2:
            return
        _, machine, oid = min(running, key=lambda each: each[0])
        machine.broken[str(oid)] = "it fails whenever it is started"
        machine.kill_worker(oid)
        world.run(0.5)
        self._wait(world.call("scale_in_cluster", self._farm, 1)["oid"])
        machine.broken.pop(str(oid))
        world.run(CONVERGED_WITHIN_S)
        self._require("after a sick worker was taken out")

    def _cancel_a_growth(self) -> None:
        """Workers that are on their way when it is cancelled are taken back."""
        world, before = self._world, self._scale()
        for machine in world.machines:
            machine.start_takes_s = CONVERGED_WITHIN_S
        action = world.call("scale_out_cluster", self._farm, 2)["oid"]
        world.run(1.0)
        if self._mirror.actions[action]["ended"] is None:
            world.call("cancel_action", self._farm, action)
        self._wait(action)
        for machine in world.machines:
            machine.start_takes_s = None
        if self._scale() != before:
            raise Broken(f"a growth was taken back, and {self._scale()} workers are wanted; {before} were")
        world.run(CONVERGED_WITHIN_S)
        self._require("after a growth was cancelled")

    def _rest_after_a_scaling(self) -> None:
        """A policy rests after a scaling in either direction, and no longer than it says."""
        world = self._world
        world.call("attach_policy", self._farm, "more")
        self._wait(world.call("scale_out_cluster", self._farm)["oid"])
        self._require_rest("a growth")
        world.run(4.0)
        self._wait(world.call("scale_in_cluster", self._farm, 1)["oid"])
        self._require_rest("a shrinking")
        world.run(4.0)
        self._wait(world.call("scale_out_cluster", self._farm)["oid"])
        self._require("after a cluster grew and shrank")

    def _require_rest(self, after: str) -> None:
        try:
            self._world.call("scale_out_cluster", self._farm)
        except ActionCooldown:
            return
        raise Broken(f"a policy does not rest after {after}")

    def _lose_a_line_in_an_update(self) -> None:
        """Workers that cannot be reached may serve: they are changed over when they are back, one after the other."""
        world = self._world
        self._wait(world.call("resize_cluster", self._farm, "EXACT_CAPACITY", 4)["oid"])
        places = Counter(each["node_oid"] for each in self._mirror.workers_of[self._farm].values())
        machine = max(world.machines, key=lambda each: places[str(each.oid)])
        machine.disconnect()
        world.run(0.5)
        action = world.call("update_cluster", self._farm, {"profile": "good2", "grace_period": TIMEOUT_S})["action_oid"]
        world.run(1.0)
        machine.connect()
        self._wait(action)
        world.call("update_cluster", self._farm, {"grace_period": 2})
        world.run(CONVERGED_WITHIN_S)
        self._require("after a line was lost in an update")

    def _kill_the_master_meanwhile(self) -> None:
        """An action that waits for nothing but time goes on with the next master."""
        # Another name changes nothing of a worker, whichever master looks.
        self._world.call("update_cluster", self._farm, {"name": "very_last_farm"})
        action = self._grow_until_all_run()
        self._world.kill_master()
        self._world.run(1.0)
        self._chaos.start_master()
        self._wait(action)
        self._world.run(SETTLE_S + CONVERGED_WITHIN_S)
        self._require("after the master was killed in an action")

    def _set_the_clock_back(self) -> None:
        """The next master's clock is behind: nothing waits for the time to come that the former one knew."""
        action = self._grow_until_all_run()
        self._world.kill_master()
        self._world.wall_offset_ns -= SET_BACK_NS
        self._chaos.start_master()
        self._wait(action)
        self._world.run(SETTLE_S + CONVERGED_WITHIN_S)
        self._require("after the clock was set back in an action")

    def _delete_at_once(self) -> None:
        """A deletion goes before what is under way."""
        world = self._world
        update = world.call("update_cluster", self._farm, {"profile": "good1"})["action_oid"]
        deletion = world.call("delete_cluster", self._farm)["oid"]
        for action, status in ((update, "CANCELLED"), (deletion, "SUCCEEDED")):
            ended = self._wait(action)
            if ended["status"] != status:
                raise Broken(f"action {ended['name']} has {ended['status']}: {ended['reason']}")
        self._require("after a cluster was deleted that was being changed")

    def _grow_until_all_run(self) -> str:
        self._wait(self._world.call("resize_cluster", self._farm, "EXACT_CAPACITY", 2)["oid"])
        action: str = self._world.call("resize_cluster", self._farm, "EXACT_CAPACITY", 3)["oid"]
        self._world.run(1.0)
        return action

    def _scale(self) -> int:
        return sum(int(group["scale"]) for group in self._mirror.groups_in(self._farm))

    def _wait(self, action: str) -> Any:
        """Let time pass until an action has ended; it may take its timeout twice."""
        until = self._world.clock.now + 2 * TIMEOUT_S + CONVERGED_WITHIN_S
        while self._mirror.actions[action]["ended"] is None:
            if self._world.clock.now > until:
                raise Broken(f"action {self._mirror.actions[action]['name']} does not come to its end")
            self._world.run(LOOK_S)
        return self._mirror.actions[action]
