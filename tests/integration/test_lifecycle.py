"""Workers that wait before they go: the real master and real agents, on a clock that only the test turns."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from controlplane.errors import InvalidConfiguration, NoSuchObject, NotOffered, RemoteError
from tests.integration.generic import create, ended, running, workers
from tests.simulation.network import decode, encode
from tests.simulation.world import World

TIMEOUT_S = 20


def hooked(world: World, desired: int = 3, hooks: dict | None = None, **properties) -> None:
    """A cluster that has workers wait before they go."""
    hooks = {"type": "event", "timeout": TIMEOUT_S} if hooks is None else hooks
    spec = {"type": "deletion", "version": "1.1", "properties": {"criteria": "OLDEST_FIRST", "hooks": hooks}}
    spec["properties"].update(properties)
    world.call("create_policy", {"name": "patience", "spec": spec})
    create(world, desired=desired)
    world.call("attach_policy", "shop", "patience")


def told(world: World) -> list[dict]:
    return [payload for topic, payload in world.events if topic.endswith("on_worker_leaving")]


def of_action(world: World, action: str) -> dict:
    return decode(encode(world.call("get_action", action)))


def how(action: dict) -> list[tuple]:
    """How it ended that an action waited for workers."""
    return [(each["worker_oid"], each["end"], each["told"], each["problem"]) for each in action["outputs"]["waited"]]


def test_a_worker_runs_on_until_somebody_says_that_it_may_go(world):
    hooked(world)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(TIMEOUT_S / 2)
    (said,) = told(world)
    found = of_action(world, action)
    assert (found["status"], found["phase"], found["ended"]) == ("RUNNING", "WAITING_LIFECYCLE_COMPLETION", None)
    (waiting,) = found["outputs"]["lifecycle"]
    assert (waiting["token"], waiting["worker_oid"]) == (said["lifecycle_action_token"], said["worker_oid"])
    assert (said["cluster_name"], said["worker_name"], said["waiting"]) == ("shop", "shop-0", True)
    assert running(world) == 3
    assert world.call("get_cluster", "shop")["desired"] == 2
    assert world.call("get_worker", said["worker_oid"])["leaving"]
    assert world.call("complete_lifecycle", "shop", waiting["token"])["worker_oid"] == said["worker_oid"]
    found = ended(world, action, 5)
    assert (found["status"], found["outputs"]["removed"]) == ("SUCCEEDED", [said["worker_oid"]])
    assert found["outputs"]["lifecycle"] == []
    assert how(found) == [(said["worker_oid"], "COMPLETED", None, None)]
    assert found["outputs"]["waited"][0]["token"] == waiting["token"]
    assert running(world) == 2


def test_nobody_is_waited_for_longer_than_was_said(world):
    hooked(world)
    action = world.call("scale_in_cluster", "shop", 2)["oid"]
    world.run(TIMEOUT_S - 1)
    assert running(world) == 3
    assert len(of_action(world, action)["outputs"]["lifecycle"]) == 2
    found = ended(world, action, 5)
    assert found["status"] == "SUCCEEDED"
    assert sorted(how(found)) == sorted((oid, "TIMED_OUT", None, None) for oid in found["outputs"]["removed"])
    assert running(world) == 1


def test_each_worker_waits_for_itself(world):
    hooked(world)
    action = world.call("scale_in_cluster", "shop", 2)["oid"]
    world.run(1)
    first, second = of_action(world, action)["outputs"]["lifecycle"]
    world.call("complete_lifecycle", "shop", second["token"])
    world.run(1)
    found = of_action(world, action)["outputs"]
    assert (found["lifecycle"], found["removed"], running(world)) == ([first], [second["worker_oid"]], 2)


def test_a_token_that_nobody_waits_for_does_nothing(world):
    hooked(world)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(1)
    token = of_action(world, action)["outputs"]["lifecycle"][0]["token"]
    assert world.call("complete_lifecycle", "shop", action)["worker_oid"] is None
    world.call("complete_lifecycle", "shop", token)
    ended(world, action)
    assert world.call("complete_lifecycle", "shop", token) == {"token": token, "worker_oid": None, "until": None}
    with pytest.raises(NoSuchObject):
        world.call("complete_lifecycle", "nobody", token)


@pytest.mark.parametrize("word", [True, False])
def test_it_serves_for_its_grace_period_after_that(world, word):
    hooked(world, grace_period=10)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(1 if word else TIMEOUT_S + 1)
    if word:
        world.call("complete_lifecycle", "shop", of_action(world, action)["outputs"]["lifecycle"][0]["token"])
    world.run(7)
    assert not of_action(world, action)["outputs"]["lifecycle"][0]["waiting"]
    assert running(world) == 3
    found = ended(world, action, 6)
    assert found["status"] == "SUCCEEDED"
    assert [end for _, end, *_ in how(found)] == ["COMPLETED" if word else "TIMED_OUT"]
    assert running(world) == 2


def test_a_grace_period_needs_no_hook(world):
    spec = {"type": "deletion", "version": "1.1", "properties": {"grace_period": 5}}
    world.call("create_policy", {"name": "slow", "spec": spec})
    create(world)
    world.call("attach_policy", "shop", "slow")
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(4)
    assert running(world) == 3
    assert [each["waiting"] for each in told(world)] == [False]
    assert [end for _, end, *_ in how(ended(world, action, 3))] == ["GRACE_ONLY"]


def test_those_that_are_named_wait_as_well_and_their_places_are_filled_meanwhile(world):
    hooked(world)
    first, second, _ = (worker["oid"] for worker in workers(world, "shop"))
    action = world.call("replace_cluster_workers", "shop", [first])["oid"]
    world.run(5)
    assert running(world) == 4
    assert world.call("get_cluster", "shop")["status"] == "RUNNING"
    assert ended(world, action, TIMEOUT_S)["outputs"]["removed"] == [first]
    action = world.call("remove_cluster_workers", "shop", [second])["oid"]
    world.run(5)
    assert running(world) == 3
    assert ended(world, action, TIMEOUT_S)["outputs"]["removed"] == [second]
    action = world.call("delete_worker", workers(world, "shop")[0]["oid"])["oid"]
    world.run(5)
    assert of_action(world, action)["phase"] == "WAITING_LIFECYCLE_COMPLETION"


def test_a_worker_that_does_not_run_goes_at_once(world):
    hooked(world)
    sick = workers(world, "shop")[0]
    machine = next(machine for machine in world.machines if str(machine.oid) == sick["node_oid"])
    machine.broken[sick["oid"]] = "its disk is full"
    machine.kill_worker(next(oid for oid in machine.units if str(oid) == sick["oid"]), "it died")
    world.run_until(lambda: any(worker["status"] == "ERROR" for worker in workers(world, "shop")), 30)
    action = ended(world, world.call("scale_in_cluster", "shop")["oid"], 3)
    assert (action["status"], action["outputs"]["removed"]) == ("SUCCEEDED", [sick["oid"]])
    assert told(world) == []


def test_a_worker_that_dies_while_it_waits_or_whose_node_is_lost_is_not_waited_for(world):
    hooked(world)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(1)
    leaving = of_action(world, action)["outputs"]["lifecycle"][0]["worker_oid"]
    node = world.call("get_worker", leaving)["node_oid"]
    next(machine for machine in world.machines if str(machine.oid) == node).power_cut()
    found = ended(world, action, TIMEOUT_S - 1)
    assert found["outputs"]["removed"] == [leaving]
    assert how(found) == [(leaving, "LOST", None, None)]


def test_deleting_the_cluster_waits_for_nobody(world):
    hooked(world)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(1)
    assert ended(world, world.call("delete_cluster", "shop")["oid"], 5)["status"] == "SUCCEEDED"
    found = of_action(world, action)
    assert (found["status"], [end for _, end, *_ in how(found)]) == ("CANCELLED", ["CUT_SHORT"])
    assert running(world) == 0


def test_an_action_that_ends_first_says_that_it_has_waited_in_vain(world):
    hooked(world)
    world.call("update_cluster", "shop", {"timeout": TIMEOUT_S / 4})
    first = workers(world, "shop")[0]["oid"]
    action = ended(world, world.call("remove_cluster_workers", "shop", [first])["oid"], TIMEOUT_S - 5)
    assert action["status"] == "FAILED"
    assert how(action) == [(first, "CUT_SHORT", None, None)]


@pytest.mark.parametrize("at", [0.0005, 0.01, 5])
def test_a_killed_master_goes_on_waiting(world, at):
    hooked(world)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(at)
    world.kill_master()
    world.run(5)
    world.start_master()
    world.run(1)
    found = of_action(world, action)
    assert (found["phase"], running(world)) == ("WAITING_LIFECYCLE_COMPLETION", 3)
    world.call("complete_lifecycle", "shop", found["outputs"]["lifecycle"][0]["token"])
    assert ended(world, action, 3)["status"] == "SUCCEEDED"
    assert running(world) == 2


def test_a_killed_master_counts_the_time_that_it_was_away(world):
    hooked(world)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(1)
    world.kill_master()
    world.run(TIMEOUT_S)
    world.start_master()
    assert ended(world, action, 3)["status"] == "SUCCEEDED"


class Played:
    """A web server, as the master sees it: it answers what the test says."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict]] = []
        self.answer = lambda: succeed(None)

    def obstacle(self, url: str) -> str | None:
        return None if url.startswith("http://good/") else "nobody has named it"

    def post(self, url: str, body: dict) -> Deferred:
        self.posts.append((url, dict(body)))
        return self.answer()


@pytest.fixture
def server(world):
    """A master that has somebody to call, also when it is started anew."""
    made = Played()
    start = world.start_master

    def with_server():
        start()
        world.plane.outgoing = world.plane.hooks._poster = made
        world.plane.pipeline._surroundings = world.plane.pipeline._surroundings._replace(obstacle=made.obstacle)

    world.start_master = with_server
    world.kill_master()
    with_server()
    return made


WEBHOOK = {"type": "webhook", "timeout": TIMEOUT_S, "params": {"url": "http://good/bye"}}


def test_a_webhook_is_called_once_it_answers_and_again_until_then(world, server):
    server.answer = lambda: fail(RemoteError("it is away"))
    hooked(world, hooks=WEBHOOK)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(5)
    assert len(server.posts) > 2
    waiting = of_action(world, action)["outputs"]["lifecycle"][0]
    assert (waiting["told"], waiting["problem"]) == (False, "it is away")
    server.answer = lambda: succeed(None)
    world.run(10)
    called = len(server.posts)
    waiting = of_action(world, action)["outputs"]["lifecycle"][0]
    assert (waiting["told"], waiting["problem"]) == (True, None)
    url, body = server.posts[-1]
    assert url == "http://good/bye"
    assert body == {name: value for name, value in told(world)[0].items() if name not in ("seq", "time")}
    found = ended(world, action, TIMEOUT_S)
    assert (found["status"], how(found)) == ("SUCCEEDED", [(waiting["worker_oid"], "TIMED_OUT", True, None)])
    world.run(60)
    assert len(server.posts) == called


def test_an_action_that_is_over_says_what_was_wrong_with_a_webhook_and_a_killed_master_keeps_it(world, server):
    server.answer = lambda: fail(RemoteError("http://good/bye answered with 500"))
    hooked(world, hooks=WEBHOOK)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(5)
    leaving = of_action(world, action)["outputs"]["lifecycle"][0]["worker_oid"]
    world.kill_master()
    server.answer = Deferred
    world.run(TIMEOUT_S)
    world.start_master()
    found = ended(world, action, 5)
    assert how(found) == [(leaving, "TIMED_OUT", False, "answered with 500")]
    world.kill_master()
    world.start_master()
    assert of_action(world, action) == found


def test_a_webhook_that_does_not_answer_at_all_is_said_not_to_have(world, server):
    server.answer = Deferred
    hooked(world, hooks=WEBHOOK)
    action = world.call("scale_in_cluster", "shop", 2)["oid"]
    world.run(1)
    first, _ = (each["token"] for each in of_action(world, action)["outputs"]["lifecycle"])
    world.call("complete_lifecycle", "shop", first)
    found = how(ended(world, action, TIMEOUT_S + 5))
    assert [each[1:] for each in found] == [
        ("COMPLETED", False, "no answer had come by then"),
        ("TIMED_OUT", False, "no answer had come by then"),
    ]


def test_a_killed_master_calls_again_what_was_not_answered(world, server):
    server.answer = Deferred
    hooked(world, hooks=WEBHOOK)
    action = world.call("scale_in_cluster", "shop")["oid"]
    world.run(1)
    assert len(server.posts) == 1
    world.kill_master()
    server.answer = lambda: succeed(None)
    world.start_master()
    world.run(1)
    assert len(server.posts) == 2
    assert of_action(world, action)["outputs"]["lifecycle"][0]["told"]
    world.kill_master()
    world.start_master()
    world.run(1)
    assert len(server.posts) == 2


def test_an_address_that_the_operator_has_not_named_is_refused(world, server):
    with pytest.raises(NotOffered, match="nobody has named it"):
        hooked(world, hooks={**WEBHOOK, "params": {"url": "http://bad/bye"}})
    assert world.call("list_cluster_policies", "shop") == []


def test_a_master_that_may_call_nobody_says_so(world):
    with pytest.raises(NotOffered, match="calls nobody"):
        hooked(world, hooks=WEBHOOK)


@pytest.mark.parametrize(
    "hooks",
    [
        {"type": "webhook"},
        {"type": "webhook", "params": {}},
        {"type": "webhook", "params": {"url": "ftp://good/"}},
        {"type": "zaqar"},
        {"timeout": 5},
        {"type": "event", "timeout": 0},
        {"type": "event", "params": {"url": "http://good/"}},
    ],
)
def test_hooks_that_cannot_be_are_refused_with_the_policy(world, hooks):
    with pytest.raises(InvalidConfiguration, match="hooks"):
        hooked(world, hooks=hooks)


def test_workers_that_are_not_to_be_destroyed_run_on_in_no_cluster(world):
    hooked(world, destroy_after_deletion=False)
    first = workers(world, "shop")[0]
    action = ended(world, world.call("scale_in_cluster", "shop")["oid"], 3)
    assert (action["status"], action["outputs"]["removed"]) == ("SUCCEEDED", [first["oid"]])
    alone = world.call("get_worker", first["oid"])
    assert (alone["alone"], alone["status"], alone["pid"]) == (True, "RUNNING", first["pid"])
    assert (running(world), len(workers(world, "shop")), told(world)) == (3, 2, [])
    second = workers(world, "shop")[0]["oid"]
    ended(world, world.call("remove_cluster_workers", "shop", [second])["oid"], 3)
    assert world.call("get_worker", second)["alone"]
    last = workers(world, "shop")[0]["oid"]
    action = world.call("delete_worker", last)["oid"]
    world.run(1)
    assert of_action(world, action)["phase"] == "WAITING_LIFECYCLE_COMPLETION"
    assert ended(world, action, TIMEOUT_S)["status"] == "SUCCEEDED"
    with pytest.raises(NoSuchObject):
        world.call("get_worker", last)
