"""What is done to the network and to the processes, one scenario after the other on the same installation.

Each begins and ends converged. At its end every line is good again; what it did to processes it has undone itself.
"""

import signal
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from twisted.internet import reactor

from controlplane.clock import sleep
from controlplane.errors import ControlPlaneError
from controlplane.master.uplinks import SETTLE_S
from tests.netns.guests import Crowd, RealNode
from tests.netns.lines import CUT, GOOD, Conditions
from tests.netns.world import CONSOLE, KEEP_GRACE_S, MOVE_GRACE_S, PLANE, World

SHORT_S = 3.0
"""Shorter than anybody notices."""

NOTICED_S = 8.0
"""Two ping periods: after that everybody knows of a line on which nothing comes."""

LONG_S = 14.0
"""Longer than pings take to notice, and than the grace period of `move`."""

Act = Callable[[World], Awaitable[None]]


class Scenario(NamedTuple):
    """One scenario; `suite` ones run with all other tests, `restarts` names clusters whose workers it restarts."""

    name: str
    title: str
    act: Act
    suite: bool
    restarts: frozenset[str]


SCENARIOS: dict[str, Scenario] = {}


def scenario(*, suite: bool = False, restarts: tuple[str, ...] = ()) -> Callable[[Act], Act]:
    def declare(act: Act) -> Act:
        name = act.__name__
        title = (act.__doc__ or "").splitlines()[0]
        SCENARIOS[name] = Scenario(name, title, act, suite, frozenset(restarts))
        return act

    return declare


# Cuts


@scenario(suite=True)
async def cut_short(world: World) -> None:
    """One agent cut off for 3 s, in which it is to do something; nobody notices."""
    world.network.cut("node1")
    await world.probe()
    await sleep(reactor, SHORT_S)


@scenario()
async def cut_as_long_as_a_ping(world: World) -> None:
    """One agent cut off for 7 s, about as long as it takes to notice."""
    world.network.cut("node1")
    await sleep(reactor, 7.0)


@scenario(suite=True)
async def cut_past_grace(world: World) -> None:
    """One agent cut off until its workers run elsewhere; on its return none runs twice."""
    world.network.cut("node1")
    await world.offline("node1")
    before = world.placed()
    await sleep(reactor, MOVE_GRACE_S + 2.0)
    moving = await world.workers_of("move")
    there = {oid for oid, places in before.items() if "node1" in places and oid in moving}
    twice = {oid for oid, places in world.placed().items() if len(places) > 1}
    assert twice == there, "exactly the workers of `move` on the silent node run elsewhere after the grace period"


@scenario()
async def cut_for_half_a_minute(world: World) -> None:
    """One agent cut off for 30 s: its pauses between attempts have grown."""
    world.network.cut("node2")
    await sleep(reactor, 30.0)


@scenario()
async def cut_all(world: World) -> None:
    """All agents cut off at once: nothing can be placed anywhere."""
    world.network.cut(*world.edges)
    await sleep(reactor, LONG_S)


@scenario()
async def cut_plane(world: World) -> None:
    """The machine of router and master cut off from all others."""
    world.network.cut(PLANE)
    await sleep(reactor, LONG_S)


@scenario()
async def cut_in_turn(world: World) -> None:
    """One agent is cut off as another one returns: workers go to and fro."""
    for edge in world.edges:
        world.network.heal()
        world.network.cut(edge)
        await world.offline(edge)
        await sleep(reactor, MOVE_GRACE_S + 1.0)


@scenario()
async def cut_console(world: World) -> None:
    """A client cut off in the middle: its call ends with an error, and it can join again."""
    await world.call("list_routerclusters", client=CONSOLE)
    world.network.cut(CONSOLE)
    try:
        await world.call("list_routerclusters", client=CONSOLE)
    except ControlPlaneError as problem:
        assert problem.next_step
    else:
        raise AssertionError("a call was answered over a line that is cut")
    world.network.heal()
    await world.call("list_routerclusters", client=CONSOLE)


@scenario(suite=True)
async def flapping_fast(world: World) -> None:
    """A line that comes and goes twice a second, with a change each time that it is away."""
    for _ in range(12):
        world.network.cut("node1", "node2")
        await world.probe()
        await sleep(reactor, 0.3)
        world.network.heal()
        await sleep(reactor, 0.2)


@scenario()
async def flapping_slowly(world: World) -> None:
    """A line that is away long enough to be noticed, again and again."""
    for _ in range(3):
        world.network.cut("node3")
        await sleep(reactor, 9.0)
        world.network.heal()
        await sleep(reactor, 1.5)


# One direction


@scenario()
async def deaf_agent(world: World) -> None:
    """What the agent sends arrives, and it hears nothing."""
    world.network.spoil("node1", incoming=CUT)
    await sleep(reactor, LONG_S)


@scenario()
async def mute_agent(world: World) -> None:
    """The agent hears everything, and nothing of what it sends arrives."""
    world.network.spoil("node1", outgoing=CUT)
    await sleep(reactor, LONG_S)


@scenario()
async def deaf_then_mute(world: World) -> None:
    """The direction that is cut changes every second."""
    for number in range(12):
        deaf, mute = (CUT, GOOD) if number % 2 == 0 else (GOOD, CUT)
        world.network.spoil("node1", "node2", incoming=deaf, outgoing=mute)
        await sleep(reactor, 1.0)


@scenario()
async def loss_towards_the_plane(world: World) -> None:
    """A third of what agents send is lost."""
    world.network.spoil(*world.edges, outgoing=Conditions(loss=0.33))
    await _change(world)


# Bad lines, with changes made meanwhile


async def _change(world: World, seconds: float = 8.0) -> None:
    """Scale to and fro while the lines are bad: changes are taken, whatever becomes of them on the way."""
    scale = world.clusters["move"].scale
    for number in range(4):
        await world.scale("move", scale + 1 + number % 2)
        await sleep(reactor, seconds / 4)
    await world.scale("move", scale)


@scenario()
async def loss_10(world: World) -> None:
    """A tenth of all packets lost."""
    world.network.spoil_both(*world.edges, loss=0.1)
    await _change(world)


@scenario(suite=True)
async def loss_30(world: World) -> None:
    """Almost a third of all packets lost."""
    world.network.spoil_both(*world.edges, loss=0.3)
    await _change(world)


@scenario()
async def loss_50(world: World) -> None:
    """Half of all packets lost: sessions come and go."""
    world.network.spoil_both(*world.edges, loss=0.5)
    await _change(world, 16.0)


@scenario()
async def delay_200_ms(world: World) -> None:
    """0.2 s on the way, more or less."""
    world.network.spoil_both(*world.edges, delay=0.2, jitter=0.1)
    await _change(world)


@scenario()
async def delay_1_s(world: World) -> None:
    """A second on the way, more or less."""
    world.network.spoil_both(*world.edges, delay=1.0, jitter=0.5)
    await _change(world)


@scenario()
async def delay_2_s(world: World) -> None:
    """Two seconds on the way, more or less: as long as an answer may take."""
    world.network.spoil_both(*world.edges, delay=2.0, jitter=0.5)
    await _change(world, 16.0)


@scenario()
async def reordering(world: World) -> None:
    """Half of the packets overtake the others."""
    world.network.spoil_both(*world.edges, delay=0.1, overtake=0.5)
    await _change(world)


@scenario()
async def duplication(world: World) -> None:
    """Half of the packets arrive twice, some of them much later."""
    world.network.spoil_both(*world.edges, delay=0.1, jitter=0.1, duplicate=0.5)
    await _change(world)


@scenario()
async def corruption(world: World) -> None:
    """A fifth of the packets with one bit changed."""
    world.network.spoil_both(*world.edges, corrupt=0.2)
    await _change(world)


@scenario()
async def everything_at_once(world: World) -> None:
    """Loss, delay, overtaking, duplicates and wrong bits."""
    world.network.spoil_both(*world.edges, loss=0.1, delay=0.2, jitter=0.2, overtake=0.1, duplicate=0.1, corrupt=0.05)
    await _change(world)


@scenario()
async def narrow(world: World) -> None:
    """64 kbit/s in each direction."""
    world.network.spoil_both(*world.edges, bits_per_second=64_000)
    await _change(world)


@scenario()
async def size_limit(world: World) -> None:
    """Packets of more than 300 bytes vanish without a word."""
    world.network.spoil_both("node1", "node2", size_max=300)
    await _change(world, LONG_S)


@scenario()
async def resets(world: World) -> None:
    """Every third packet ends its connection."""
    world.network.spoil_both(*world.edges, reset=0.3)
    await _change(world)


@scenario(suite=True)
async def one_reset(world: World) -> None:
    """Every connection is ended once, at the next packet."""
    world.network.spoil_both(*world.edges, reset=1.0)
    await world.probe()
    await sleep(reactor, 4.5)


# Changes while an agent is away


@scenario(restarts=("extra",))
async def scale_up_while_away(world: World) -> None:
    """More workers are wanted while an agent is away; it gets none of them until it is back."""
    await world.create("extra", 3, KEEP_GRACE_S)
    await world.converged()
    world.network.cut("node1")
    await world.offline("node1")
    await world.scale("extra", 9)
    await sleep(reactor, 1.0)
    world.network.heal()
    await world.converged()
    await _remove_extra(world)


@scenario(suite=True, restarts=("extra",))
async def scale_down_while_away(world: World) -> None:
    """Workers of an agent that is away are taken out; it stops them when it is back."""
    await world.create("extra", 9, KEEP_GRACE_S)
    await world.converged()
    world.network.cut("node1", "node2")
    await world.offline("node1", "node2")
    await world.scale("extra", 1)
    await sleep(reactor, 1.0)
    world.network.heal()
    await world.converged()
    await _remove_extra(world)


@scenario(restarts=("extra",))
async def stop_while_away(world: World) -> None:
    """A cluster is stopped while an agent is away."""
    await world.create("extra", 6, KEEP_GRACE_S)
    await world.converged()
    world.network.cut("node2")
    await world.offline("node2")
    await world.stop_cluster("extra")
    await sleep(reactor, 1.0)
    world.network.heal()
    await world.converged()
    await world.delete("extra")


@scenario(restarts=("extra",))
async def delete_while_away(world: World) -> None:
    """A cluster is stopped and deleted while an agent is away; nothing of it survives the agent's return."""
    await world.create("extra", 6, MOVE_GRACE_S)
    await world.converged()
    world.network.cut("node3")
    await world.offline("node3")
    await world.stop_cluster("extra")
    await world.delete("extra")


@scenario(restarts=("extra",))
async def start_while_away(world: World) -> None:
    """A cluster is created and started while two of three agents are away."""
    world.network.cut("node1", "node3")
    await world.offline("node1", "node3")
    await world.create("extra", 3, KEEP_GRACE_S)
    await sleep(reactor, 1.0)
    world.network.heal()
    await world.converged()
    await _remove_extra(world)


@scenario()
async def configuration_while_away(world: World) -> None:
    """A cluster's configuration changes while an agent is away."""
    await world.create("extra", 6, KEEP_GRACE_S)
    await world.converged()
    world.network.cut("node1")
    await world.offline("node1")
    extra = await world.workers_of("extra")
    before = world.placed()
    config = {"realms": [{"name": "other", "roles": [{"name": "anonymous", "permissions": []}]}]}
    await world.call("update_routercluster", world.clusters["extra"].oid, {"config": config})
    await sleep(reactor, 1.0)
    world.network.heal()

    async def renewed() -> bool:
        now = world.placed()
        return all(oid in now and now[oid] != before[oid] for oid in extra)

    await world.until(renewed, "every worker runs with the new configuration")
    await world.converged()
    await _remove_extra(world)


@scenario(restarts=("keep", "move", "probe"))
async def unpair_while_away(world: World) -> None:
    """A node is taken out while its agent is away; its workers do not survive the agent's return."""
    world.network.cut("node3")
    await world.offline("node3")
    await world.call("controlplane.node.unpair_node", world.nodes.pop("node3"))
    await sleep(reactor, 1.0)
    world.network.heal()
    await world.converged()
    await world.pair("node3")
    for cluster in world.clusters.values():
        await world.call("add_routercluster_node", cluster.oid, world.nodes["node3"])


async def _remove_extra(world: World) -> None:
    await world.stop_cluster("extra")
    await world.delete("extra")


# Processes


@scenario(restarts=())
async def router_killed(world: World) -> None:
    """The router is killed and comes back: everybody connects at once."""
    await world.kill("router")
    await sleep(reactor, 1.0)
    world.spawn("router")
    await world.reachable()


@scenario()
async def router_away_for_long(world: World) -> None:
    """The router is away for 20 s: the pauses between attempts have grown, the master's too."""
    await world.kill("router")
    await sleep(reactor, 20.0)
    world.spawn("router")
    await world.reachable()


@scenario()
async def router_hangs(world: World) -> None:
    """The router hangs for longer than pings may take."""
    world.signal("router", signal.SIGSTOP)
    await sleep(reactor, LONG_S)
    world.signal("router", signal.SIGCONT)


@scenario()
async def master_hangs(world: World) -> None:
    """The master hangs while an agent is cut off, which it learns of afterwards."""
    world.signal("master", signal.SIGSTOP)
    world.network.cut("node2")
    await sleep(reactor, LONG_S)
    world.network.heal()
    world.signal("master", signal.SIGCONT)


@scenario()
async def master_killed_during_a_cut(world: World) -> None:
    """The master is killed and comes back while an agent is cut off."""
    world.network.cut("node1")
    await sleep(reactor, 2.0)
    await world.kill("master")
    await sleep(reactor, 8.0)
    world.spawn("master")
    await sleep(reactor, 3.0)


@scenario()
async def router_killed_during_a_cut(world: World) -> None:
    """The router is killed and comes back while all agents are cut off: to them it was always away."""
    world.network.cut(*world.edges)
    await sleep(reactor, 2.0)
    await world.kill("router")
    world.spawn("router")
    await world.reachable()
    await sleep(reactor, 5.0)


@scenario()
async def agent_killed_during_a_cut(world: World) -> None:
    """An agent is killed while it is cut off; the next one adopts what runs, without a master."""
    world.network.cut("node1")
    await world.kill("node1")
    await sleep(reactor, 1.0)
    world.spawn("node1")
    await sleep(reactor, LONG_S)


@scenario()
async def agent_hangs(world: World) -> None:
    """An agent hangs for longer than pings may take."""
    world.signal("node3", signal.SIGSTOP)
    await sleep(reactor, LONG_S)
    world.signal("node3", signal.SIGCONT)


@scenario(restarts=("keep",))
async def workers_killed_during_a_cut(world: World) -> None:
    """Workers of an agent that is cut off are killed; it starts them again on its own."""
    keep = await world.workers_of("keep")
    world.network.cut("node1")
    killed = {oid: places["node1"] for oid, places in world.placed().items() if oid in keep and "node1" in places}
    assert killed
    for pid in killed.values():
        world.kill_worker(pid)

    async def again() -> bool:
        now = world.placed()
        return all(now.get(oid, {}).get("node1", pid) != pid for oid, pid in killed.items())

    await world.until(again, "the workers run again without a master")
    await world.offline("node1")


# Addresses


@scenario()
async def addresses_swapped(world: World) -> None:
    """Two machines get each other's addresses while they are connected."""
    first, second = (world.network.machines[name] for name in ("node1", "node2"))
    former, latter = first.address, second.address
    first.move("10.77.0.200")
    second.move(former)
    first.move(latter)
    await sleep(reactor, NOTICED_S)


@scenario()
async def address_changed(world: World) -> None:
    """A machine gets another address, as with a new lease."""
    machine = world.network.machines["node3"]
    machine.move(f"10.77.0.{int(machine.address.rpartition('.')[2]) + 40}")
    await sleep(reactor, NOTICED_S)


# Many, and real ones


@scenario()
async def crowd_returns(world: World) -> None:
    """Sixty agents at once find the router again, which was killed."""
    async with Crowd(world, 60):
        await world.kill("router")
        await sleep(reactor, 3.0)
        world.spawn("router")
        await world.reachable()
        await sleep(reactor, SETTLE_S + 1.0)
        late = set(world.nodes) - set(await world.names("online"))
        world.remarks.append(
            f"{len(world.nodes) - len(late)} of {len(world.nodes)} agents were back within {SETTLE_S} s"
        )
        await world.online()


@scenario()
async def real_routers_serve_on(world: World) -> None:
    """Clients of a real router cluster call each other while its node and the master are cut off from each other."""
    async with RealNode(world) as node:
        callee, caller = await node.clients()
        await callee.register("app.echo", lambda value: value)
        world.network.cut(PLANE)
        end = reactor.seconds() + LONG_S
        calls = 0
        while reactor.seconds() < end:
            assert await caller.call("app.echo", calls) == calls
            calls += 1
            await sleep(reactor, 0.1)
        world.remarks.append(f"{calls} calls were answered during the cut, and every one")
        world.network.heal()
        await world.online()
        assert await caller.call("app.echo", "after") == "after", "the sessions outlived the cut"
        callee.leave()
        caller.leave()
