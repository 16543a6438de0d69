"""Receivers: signals over real HTTP to the real master, with agents that are played."""

import json

import pytest
from twisted.internet.testing import StringTransport

from controlplane.errors import ActionConflict, InvalidArgument, InvalidConfiguration, NoSuchObject, NotAuthorized
from controlplane.master.webhooks import site_of
from controlplane.records.principals import Caller
from tests.integration.generic import create, ended, running
from tests.simulation.world import World

SIGNAL = {"name": "bell", "action": "CLUSTER_SCALE_OUT", "params": {"count": 2}}


@pytest.fixture
def world(world):
    create(world, desired=1, max_size=9)
    return world


def post(world: World, path: str, body: bytes = b"", method: str = "POST", length: int | None = None):
    """Send one request over the real HTTP protocol; returns the status and what was said."""
    channel = site_of(world.plane).buildProtocol(None)
    wire = StringTransport()
    channel.makeConnection(wire)
    size = len(body) if length is None else length
    channel.dataReceived(f"{method} {path} HTTP/1.0\r\nContent-Length: {size}\r\n\r\n".encode() + body)
    world.run(1)
    head, _, said = wire.value().partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(said) if said.startswith(b"{") else said


def made(world: World, **settings) -> str:
    return world.call("create_receiver", "shop", {**SIGNAL, **settings})["webhook_path"]


def test_a_signal_starts_the_action_in_the_name_of_the_receiver(world):
    path = made(world)
    status, said = post(world, path)
    assert status == 202
    action = ended(world, said["action"])
    assert (action["cause"], action["who"], action["status"], running(world)) == ("receiver", "bell", "SUCCEEDED", 3)


def test_a_signal_can_carry_parameters_and_other_bodies_say_nothing(world):
    path = made(world)
    ended(world, post(world, path, json.dumps({"params": {"count": 1}}).encode())[1]["action"])
    assert running(world) == 2
    ended(world, post(world, path, b'{"alarm": "cpu", "count": 7}')[1]["action"])
    ended(world, post(world, path, b"<alarm/>")[1]["action"])
    assert running(world) == 6


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b'{"params": {"count": "many"}}', 400, "wamp.error.invalid_argument"),
        (b'{"params": {"speed": 1}}', 400, "wamp.error.invalid_argument"),
        (b'{"params": [1]}', 400, "wamp.error.invalid_argument"),
        (b'{"params": {"cluster": "other", "count": 99}}', 400, "wamp.error.invalid_argument"),
    ],
)
def test_bad_parameters_are_refused_as_in_any_call(world, body, status, error):
    code, said = post(world, made(world), body)
    assert (code, said["error"]) == (status, error)
    assert running(world) == 1


def test_only_a_post_to_an_address_that_is_known_does_anything(world):
    path = made(world)
    assert post(world, path, method="GET")[0] == 405
    assert post(world, "/v1/webhooks/" + "0" * 64)[0] == 404
    assert post(world, "/v1/webhooks/")[0] == 404
    assert post(world, "/")[0] == 404
    assert post(world, path, length=10**9)[0] == 413
    assert post(world, path, b"x" * 70_000)[0] == 413
    assert running(world) == 1


def test_a_conflict_is_said_to_be_one(world):
    path = made(world)
    for machine in world.machines:
        machine.start_takes_s = 5
    assert post(world, path)[0] == 202
    assert post(world, path)[0] == 409


def test_an_address_is_void_when_it_was_rotated_disabled_or_deleted(world):
    path = made(world)
    other = world.call("rotate_receiver", "shop", "bell")["webhook_path"]
    assert post(world, path)[0] == 404
    world.call("update_receiver", "shop", "bell", {"enabled": False})
    assert post(world, other)[0] == 404
    world.call("update_receiver", "shop", "bell", {"enabled": True})
    ended(world, post(world, other)[1]["action"])
    world.call("delete_receiver", "shop", "bell")
    assert post(world, other)[0] == 404


def test_a_receiver_has_no_more_rights_than_its_owner(world):
    user = world.call("create_user", authid="ann", role="viewer", pubkey="12" * 32)
    world.call("add_grant", world.call("get_cluster", "shop")["oid"], user["oid"], "manage")
    ann = Caller(session=9, authid="ann", authrole="viewer")
    answer = world.ask("create_receiver", "shop", SIGNAL, caller=ann)
    world.run_until(lambda: answer.called, 5)
    path = answer.result["webhook_path"]
    ended(world, post(world, path)[1]["action"])
    world.call("remove_grant", world.call("get_cluster", "shop")["oid"], user["oid"])
    assert post(world, path)[0] == 403
    world.call("disable_user", user["oid"])
    assert post(world, path)[0] == 404
    assert running(world) == 3


def test_the_token_is_told_once_and_written_nowhere(world):
    path = made(world)
    token = path.rpartition("/")[2]
    assert len(token) == 64
    shown = [world.call("get_receiver", "shop", "bell"), world.call("list_receivers", "shop"), world.events]
    shown.append(world.call("list_audit"))
    assert token not in str(shown)


def test_parameters_are_checked_when_the_receiver_is_made(world):
    for params in ({"speed": 1}, {"count": 0}, {"count": "x"}, {"cluster": "other"}):
        with pytest.raises(InvalidConfiguration, match="params"):
            made(world, params=params)


def test_all_that_is_wrong_with_a_receiver_is_said_at_once(world):
    bad = {"name": "no name", "params": {"count": "x", "speed": 1}}
    with pytest.raises(InvalidConfiguration) as caught:
        made(world, **bad)
    assert {each.path for each in caught.value.problems} == {"$.name", "$.params.count", "$.params.speed"}
    assert len(caught.value.problems) == 3
    made(world)
    with pytest.raises(InvalidConfiguration) as caught:
        world.call("update_receiver", "shop", "bell", {**SIGNAL, **bad})
    assert {each.path for each in caught.value.problems} == {"$.name", "$.params.count", "$.params.speed"}
    for odd in ({"name": "no name", "params": 7}, {"name": "no name", "action": "DANCE"}):
        with pytest.raises(InvalidConfiguration) as caught:
            made(world, **odd)
        assert len(caught.value.problems) == 2


def test_receivers_go_with_their_cluster(world):
    path = made(world)
    ended(world, world.call("delete_cluster", "shop")["oid"])
    assert post(world, path)[0] == 404
    create(world, desired=1)
    with pytest.raises(NoSuchObject):
        world.call("get_receiver", "shop", "bell")


def letterbox(world: World, **settings) -> str:
    """A receiver of messages; returns its token."""
    return world.call("create_receiver", "shop", {**SIGNAL, "type": "message", **settings})["token"]


def as_somebody(world: World, verb: str, *args, role: str = "viewer", **kwargs):
    """Call as a user who was granted nothing."""
    answer = world.ask(verb, *args, caller=Caller(session=9, authid=f"the_{role}", authrole=role), **kwargs)
    outcome = []
    answer.addBoth(outcome.append)
    world.run_until(lambda: bool(outcome), 20)
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]


@pytest.fixture
def people(world):
    for number, role in enumerate(("viewer", "operator"), 1):
        world.call("create_user", authid=f"the_{role}", role=role, pubkey=f"{number + 70:064x}")
    return world


def test_a_message_starts_the_action_and_counts_once(world):
    letterbox(world)
    action = world.call("send_message", "bell", "m1")
    again = world.call("send_message", "bell", "m1", {"count": 5})
    assert again["oid"] == action["oid"]
    found = ended(world, action["oid"])
    assert (found["cause"], found["who"], found["status"], running(world)) == ("receiver", "bell", "SUCCEEDED", 3)
    assert world.call("send_message", "bell", "m1")["status"] == "SUCCEEDED"
    assert running(world) == 3
    ended(world, world.call("send_message", "bell", "m2", {"count": 1})["oid"])
    assert running(world) == 4


def test_a_message_counts_once_also_when_the_master_is_killed(world):
    letterbox(world)
    world.ask("send_message", "bell", "m1")
    world.run(0.01)
    world.kill_master()
    world.start_master()
    ended(world, world.call("send_message", "bell", "m1")["oid"])
    assert running(world) == 3


def test_a_message_that_was_refused_did_not_count(world):
    letterbox(world)
    growing = world.call("scale_out_cluster", "shop")
    with pytest.raises(ActionConflict):
        world.call("send_message", "bell", "m1")
    ended(world, growing["oid"])
    ended(world, world.call("send_message", "bell", "m1")["oid"])
    assert running(world) == 4


def test_messages_are_taken_from_who_may_operate_the_cluster_or_knows_the_token(people):
    token = letterbox(people)
    for wrong in (None, "x" * 64, token + "x"):
        with pytest.raises(NoSuchObject, match="messages of yours"):
            as_somebody(people, "send_message", "bell", "m1", token=wrong)
    ended(people, as_somebody(people, "send_message", "bell", "m1", token=token)["oid"])
    assert running(people) == 3
    ended(people, as_somebody(people, "send_message", "bell", "m2", role="operator")["oid"])
    assert running(people) == 5
    oid = people.call("get_user_by_name", "the_viewer")["oid"]
    people.call("add_grant", people.call("get_cluster", "shop")["oid"], oid, "operate")
    ended(people, as_somebody(people, "send_message", "bell", "m3")["oid"])
    assert running(people) == 7


def test_a_token_is_void_when_it_was_rotated_and_a_receiver_when_it_rests(people):
    token = letterbox(people)
    other = people.call("rotate_receiver", "shop", "bell")["token"]
    with pytest.raises(NoSuchObject):
        as_somebody(people, "send_message", "bell", "m1", token=token)
    people.call("update_receiver", "shop", "bell", {"enabled": False})
    with pytest.raises(NoSuchObject):
        people.call("send_message", "bell", "m1")
    people.call("update_receiver", "shop", "bell", {"enabled": True})
    ended(people, as_somebody(people, "send_message", "bell", "m1", token=other)["oid"])
    people.call("delete_receiver", "shop", "bell")
    with pytest.raises(NoSuchObject):
        people.call("send_message", "bell", "m1")


def test_a_receiver_is_signalled_in_its_own_way_only(world):
    token = letterbox(world)
    assert post(world, "/v1/webhooks/" + token)[0] == 404
    made(world, name="other")
    with pytest.raises(NoSuchObject):
        world.call("send_message", "other", "m1")


def test_a_message_has_no_more_rights_than_the_owner_of_the_receiver(people):
    owner = people.call("get_user_by_name", "the_viewer")["oid"]
    cluster = people.call("get_cluster", "shop")["oid"]
    people.call("add_grant", cluster, owner, "manage")
    as_somebody(people, "create_receiver", "shop", {**SIGNAL, "type": "message"})
    people.call("remove_grant", cluster, owner)
    with pytest.raises(NotAuthorized):
        people.call("send_message", "bell", "m1")
    people.call("disable_user", owner)
    with pytest.raises(NoSuchObject):
        people.call("send_message", "bell", "m1")
    assert running(people) == 1


def test_parameters_of_messages_are_checked_as_in_any_call(world):
    letterbox(world)
    for wrong in ({"speed": 1}, {"count": 0}, {"cluster": "other", "count": 99}):
        with pytest.raises(InvalidArgument):
            world.call("send_message", "bell", "m1", wrong)
    assert running(world) == 1


def test_what_a_message_started_is_in_the_audit_of_its_sender(people):
    token = letterbox(people)
    as_somebody(people, "send_message", "bell", "m1", token=token)
    entry = people.call("list_audit")["entries"][-1]["entry"]
    assert (entry["action"], entry["authid"]) == ("controlplane.receiver.send_message", "the_viewer")
    assert "cluster" in str(entry["changes"])
    assert token not in str([people.call("list_audit"), people.events, people.call("list_receivers", "shop")])


def test_no_more_messages_are_remembered_than_so_many(world, monkeypatch):
    monkeypatch.setattr("controlplane.services.messages.MESSAGES_KEPT_MAX", 2)
    letterbox(world, params={"count": 1})
    first = [ended(world, world.call("send_message", "bell", f"m{number}")["oid"]) for number in range(3)]
    assert world.call("send_message", "bell", "m1")["oid"] == first[1]["oid"]
    assert world.call("send_message", "bell", "m0")["oid"] != first[0]["oid"]


RING = {"name": "ring", "action": "CLUSTER_OPERATION", "params": {"operation": "restart", "parallel": 1}}


def test_a_signal_has_workers_do_what_the_receiver_says(world):
    path = made(world, **RING)
    status, said = post(world, path)
    assert status == 202
    action = ended(world, said["action"])
    assert (action["action"], action["cause"], action["who"], action["status"], action["done"]) == (
        "CLUSTER_OPERATION",
        "receiver",
        "ring",
        "SUCCEEDED",
        1,
    )
    assert [sum(len(done) for done in machine.operated.values()) for machine in world.machines].count(1) == 1
    # A sender may say which workers, and how many at a time.
    ended(world, post(world, path, b'{"params": {"parallel": 2, "filters": {"name": "shop-0"}}}')[1]["action"])
    assert post(world, path, b'{"params": {"filters": {"name": "nobody"}}}')[0] == 400


@pytest.mark.parametrize("given", [{"operation": "signal"}, {"parameters": {"signal": "SIGKILL"}}])
def test_nobody_who_knows_a_receiver_has_its_workers_do_something_else(world, given):
    path = made(world, **RING)
    status, said = post(world, path, json.dumps({"params": given}).encode())
    assert (status, said["error"]) == (400, "wamp.error.invalid_argument")
    assert next(iter(given)) in said["message"]
    assert not any(machine.operated for machine in world.machines)


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({}, "$.params.operation"),
        ({"operation": "dance"}, "$.params.operation"),
        ({"operation": "signal"}, "$.params.parameters.signal"),
        ({"operation": "signal", "parameters": {"signal": "LOUD"}}, "$.params.parameters.signal"),
        ({"operation": "restart", "count": 1}, "$.params.count"),
    ],
)
def test_an_operation_that_could_never_be_performed_is_refused_when_its_receiver_is_made(world, params, path):
    with pytest.raises(InvalidConfiguration) as refused:
        made(world, **{**RING, "params": params})
    assert [problem.path for problem in refused.value.problems] == [path]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"params": {"count": "many"}}', "$.params.count"),
        (b'{"params": {"count": 90}}', "$.params.count"),
        (b'{"params": {"speed": 1}}', "$.params.speed"),
        (b'{"params": {"cluster": "another"}}', "$.params.cluster"),
        (b'{"params": 7}', "$.params"),
    ],
)
def test_whoever_sends_a_signal_is_told_where_in_it_something_is_wrong(world, body, path):
    status, said = post(world, made(world), body)
    assert (status, said["path"], said["problems"][0]["path"]) == (400, path, path)
    assert "scale_out_cluster" not in said["next_step"], "it cannot call that"


@pytest.mark.parametrize(("params", "path"), [({"count": "many"}, "$.params.count"), ({"speed": 1}, "$.params.speed")])
def test_whoever_sends_a_message_is_told_where_in_it_something_is_wrong(world, params, path):
    world.call("create_receiver", "shop", {"name": "post", "type": "message", "action": "CLUSTER_SCALE_OUT"})
    with pytest.raises(InvalidArgument) as refused:
        world.call("send_message", "post", "first", params)
    assert [problem.path for problem in refused.value.problems] == [path]
    assert "params" in refused.value.next_step


@pytest.mark.parametrize("sent", [{"body": b"x" * 70_000}, {"length": 10**9}])
def test_whoever_sends_too_much_is_told_how_much_there_may_be(world, sent):
    status, said = post(world, made(world), **sent)
    assert (status, said["error"]) == (413, "wamp.error.payload_size_exceeded")
    assert "longer than 65536 bytes" in said["message"]
    assert said["next_step"]
