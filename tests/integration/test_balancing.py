"""Load balancers in step with clusters: the real master and real agents, on a clock that only the test turns."""

from uuid import UUID

import msgspec
import pytest
from twisted.internet.defer import fail, succeed

from controlplane.core.policies import POLICY_TYPES
from controlplane.errors import InvalidConfiguration, NoSuchObject, NotOffered, RemoteError
from controlplane.master.balancers import BalancerFiles, read_commands
from tests.integration.generic import SPEC, attach, create, ended, workers
from tests.simulation.world import World

URL = "http://good/members"
DRAIN_S, TIMEOUT_S = 3.0, 20.0
CALLBACK = {"target": {"kind": "callback", "url": URL}, "drain": DRAIN_S, "timeout": TIMEOUT_S}


class Played:
    """A balancer that takes over what it is told, in order, while it is not away."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told: list[tuple[float, dict]] = []
        self.away = False

    def obstacle(self, url: str) -> str | None:
        return None if url.startswith("http://good/") else "nobody has named it"

    def post(self, _url: str, body: dict):
        if self.away:
            return fail(RemoteError("it is away"))
        assert not self.told or body["sequence"] > self.told[-1][1]["sequence"]
        self.told.append((self.world.clock.now, dict(body)))
        return succeed(None)

    @property
    def members(self) -> set[str]:
        """Who is sent clients now."""
        return {member["worker_oid"] for member in self.told[-1][1]["members"]} if self.told else set()


@pytest.fixture
def balancer(world):
    """A master that may tell somebody, also when it is started anew; nobody is sent to a worker that is gone."""
    made = Played(world)
    start = world.start_master

    def with_balancer():
        start()
        world.plane.outgoing = world.plane.balancers._poster = made
        world.plane.balancers.start()

    world.start_master = with_balancer
    world.kill_master()
    with_balancer()
    return made


def units(world: World) -> set[str]:
    return {str(oid) for machine in world.machines for oid in machine.units}


def watch(world: World, balancer: Played, seconds: float) -> float:
    """Let time pass in small steps in which nobody is sent to a worker that does not run."""
    for _ in range(int(seconds * 10)):
        world.run(0.1)
        assert balancer.members <= units(world)
    return world.clock.now


def balanced(world: World, desired: int = 3, rule: dict = CALLBACK, **settings) -> str:
    oid = create(world, desired=desired, **settings)
    attach(world, "front", "load_balance", rule)
    world.run(2)
    return oid


def test_who_runs_is_told_and_who_does_not_is_not(world, balancer):
    oid = balanced(world)
    assert balancer.members == {worker["oid"] for worker in workers(world, oid)}
    shown = world.call("get_cluster_balance", "shop")
    assert (shown["sequence"], shown["accepted"], shown["problem"]) == (shown["accepted"], shown["sequence"], None)
    members = balancer.told[-1][1]["members"]
    assert [member["name"] for member in members] == ["shop-0", "shop-1", "shop-2"]
    assert sorted(member["host"] for member in members) == ["node0", "node1", "node2"]
    assert all(member["host"] == member["node_name"] for member in members)
    ended(world, world.call("scale_out_cluster", "shop", 2)["oid"])
    world.run(1)
    assert balancer.members == {worker["oid"] for worker in workers(world, oid)}
    assert len(balancer.members) == 5


def test_a_worker_runs_on_until_the_balancer_has_taken_it_out_and_for_its_drain(world, balancer):
    oid = balanced(world)
    begun = world.clock.now
    action = world.call("scale_in_cluster", "shop", 2)["oid"]
    watch(world, balancer, 1)
    assert (len(balancer.members), len(units(world))) == (1, 3)
    world.run_until(lambda: len(units(world)) == 1, 10)
    assert DRAIN_S <= world.clock.now - begun < TIMEOUT_S
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert balancer.members == {worker["oid"] for worker in workers(world, oid)}


def test_a_balancer_that_is_away_is_told_later_and_holds_nothing_up_for_ever(world, balancer):
    balanced(world)
    balancer.away = True
    begun = world.clock.now
    action = world.call("scale_in_cluster", "shop", 1)["oid"]
    world.run(TIMEOUT_S - 1)
    assert len(units(world)) == 3
    assert "it is away" in world.call("get_cluster_balance", "shop")["problem"]
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert world.clock.now - begun >= TIMEOUT_S
    balancer.away = False
    world.run(60)
    assert len(balancer.members) == 2
    assert world.call("get_cluster_balance", "shop")["problem"] is None


def test_a_worker_that_is_given_another_profile_leaves_the_balancer_meanwhile(world, balancer):
    balanced(world, steady=0.5)
    world.call("create_profile", {"name": "other", "spec": {**SPEC, "properties": {"command": ["sleep", "7"]}}})
    for machine in world.machines:
        machine.start_takes_s = 0.5
    action = world.call("update_cluster", "shop", {"profile": "other"})["action_oid"]
    least = 3
    while world.call("get_action", action)["ended"] is None:
        watch(world, balancer, 0.1)
        least = min(least, len(balancer.members))
    assert world.call("get_action", action)["status"] == "SUCCEEDED"
    world.run(1)
    assert (least, len(balancer.members)) == (2, 3)


def test_a_worker_that_dies_is_taken_out_and_put_back(world, balancer):
    oid = balanced(world)
    for machine in world.machines:
        machine.start_takes_s = 2
    victim = workers(world, oid)[0]["oid"]
    next(machine for machine in world.machines if victim in map(str, machine.units)).kill_worker(UUID(victim))
    world.run(1)
    assert victim not in balancer.members
    world.run(30)
    assert victim in balancer.members


def test_workers_on_a_node_that_is_silent_stay_until_they_are_placed_elsewhere(world, balancer):
    balanced(world, grace_period=20)
    world.machines[0].disconnect()
    world.run(5)
    assert len(balancer.members) == 3
    world.run(30)
    assert "node0" not in {member["host"] for member in balancer.told[-1][1]["members"]}
    assert len(balancer.members) == 3


def test_a_master_that_was_killed_goes_on_telling_and_draining(world, balancer):
    balanced(world)
    balancer.away = True
    action = world.call("scale_in_cluster", "shop", 1)["oid"]
    world.run(1)
    world.kill_master()
    world.run(1)
    balancer.away = False
    world.start_master()
    begun = world.clock.now
    world.run(2)
    assert (len(balancer.members), len(units(world))) == (2, 3)
    assert ended(world, action)["status"] == "SUCCEEDED"
    assert world.clock.now - begun >= DRAIN_S


def test_the_balancer_of_a_cluster_that_is_deleted_is_told_that_nobody_is_left(world, balancer):
    balanced(world)
    ended(world, world.call("delete_cluster", "shop")["oid"])
    world.run(2)
    assert balancer.members == set()
    assert len(balancer.told[-1][1]["members"]) == 0


def test_who_detaches_the_policy_is_rid_of_it(world, balancer):
    balanced(world)
    world.call("detach_policy", "shop", "front")
    begun = world.clock.now
    ended(world, world.call("scale_in_cluster", "shop", 1)["oid"])
    assert world.clock.now - begun < DRAIN_S
    assert len(balancer.members) == 3
    with pytest.raises(NoSuchObject, match="load_balance"):
        world.call("get_cluster_balance", "shop")


FILE = {"target": {"kind": "file", "file": "web.cfg", "each": "server {name} {address}\n", "before": "#\n"}}


def test_a_file_is_kept_and_read(world, tmp_path):
    commands = read_commands(f"copy = cp web.cfg {tmp_path}/read.cfg; other=false")
    world.plane.files = world.plane.balancers._files = BalancerFiles(tmp_path, commands)
    create(world, desired=2)
    rule = {"target": {**FILE["target"], "reload": "copy"}, "drain": 0}
    attach(world, "front", "load_balance", rule)
    wait_for(world, lambda: (tmp_path / "read.cfg").exists())
    places = [worker["addresses"][0]["url"].removeprefix("ws://").strip("/") for worker in workers(world, "shop")]
    expected = "#\n" + "".join(f"server shop-{n} {place}\n" for n, place in enumerate(places))
    assert (tmp_path / "read.cfg").read_text() == expected
    assert (tmp_path / "web.cfg").stat().st_mode & 0o777 == 0o640


def test_a_command_that_fails_is_told_and_run_again(world, tmp_path):
    world.plane.files = world.plane.balancers._files = BalancerFiles(tmp_path, read_commands("check=cat missing"))
    create(world, desired=1)
    attach(world, "front", "load_balance", {"target": {**FILE["target"], "reload": "check"}})
    wait_for(world, lambda: world.call("get_cluster_balance", "shop")["problem"])
    assert "No such file" in world.call("get_cluster_balance", "shop")["problem"]
    (tmp_path / "missing").write_text("")
    wait_for(world, lambda: world.call("get_cluster_balance", "shop")["accepted"])


def wait_for(world: World, reached) -> None:
    """Let real time pass for what runs in threads, and the world's beside it."""
    from time import sleep

    from twisted.internet import reactor

    for _ in range(1000):
        world.run(0.05)
        reactor.iterate(0)
        if reached():
            return
        sleep(0.01)
    raise AssertionError("it does not come to that")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"kind": "callback", "url": "http://bad/"}, "nobody has named it"),
        (FILE["target"], "balancer_dir"),
    ],
)
def test_what_the_operator_has_not_named_is_refused(world, balancer, target, why):
    create(world)
    with pytest.raises(NotOffered, match=why):
        attach(world, "front", "load_balance", {"target": target})


def test_a_command_that_there_is_not_and_the_file_of_another_cluster_are_refused(world, tmp_path):
    world.plane.files = world.plane.balancers._files = BalancerFiles(tmp_path, {})
    create(world)
    with pytest.raises(NotOffered, match="balancer_reload"):
        attach(world, "front", "load_balance", {"target": {**FILE["target"], "reload": "sh"}})
    attach(world, "own", "load_balance", FILE)
    world.call("create_cluster", {"name": "other", "profile": "sleeper"})
    with pytest.raises(NotOffered, match="cluster shop"):
        world.call("attach_policy", "other", "own")


@pytest.mark.parametrize("file", ["../x", "a/b", "/etc/x", ".hidden", "a.b.c", "A", ""])
def test_a_file_has_a_plain_name(world, file):
    spec = {"type": "load_balance", "properties": {"target": {**FILE["target"], "file": file}}}
    with pytest.raises(InvalidConfiguration):
        world.call("validate_policy", {"name": "bad", "spec": spec})
    assert "load_balance-1.0" in POLICY_TYPES


@pytest.mark.parametrize("text", ["x", "=y", "x=", "a=b c; d", "a='b"])
def test_commands_have_a_name_and_words(text):
    with pytest.raises(ValueError, match=r"NAME=COMMAND|quotation"):
        read_commands(text)


def test_a_port_that_no_worker_has_is_told(world, balancer):
    create(world, desired=2)
    attach(world, "lost", "load_balance", {**CALLBACK, "port": "nothing"})
    shown = world.call("get_cluster_balance", "shop")
    assert not shown["members"]
    assert shown["problem"].startswith("2 of 2 workers that run do not have a port nothing; they have ")
    world.call("detach_policy", "shop", "lost")
    attach(world, "front", "load_balance", CALLBACK)
    assert world.call("get_cluster_balance", "shop")["problem"] is None


def test_a_command_that_fails_and_says_nothing_and_a_directory_that_is_none_are_told_in_words(world, tmp_path):
    files = BalancerFiles(tmp_path, read_commands("bad=false"))
    with pytest.raises(RemoteError, match="command bad ended with 1 and said nothing"):
        files._reload("bad")
    (tmp_path / "file").write_text("")
    lost = BalancerFiles(tmp_path / "file", {})
    target = POLICY_TYPES["load_balance-1.0"].properties
    rule = msgspec.convert(FILE, target)
    with pytest.raises(RemoteError, match=r"web\.cfg cannot be taken over: Not a directory \(see"):
        lost._put(rule.target, "text")
