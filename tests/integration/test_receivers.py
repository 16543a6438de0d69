"""Receivers: signals over real HTTP to the real master, with agents that are played."""

import json

import pytest
from twisted.internet.testing import StringTransport

from controlplane.errors import InvalidConfiguration, NoSuchObject
from controlplane.master.webhooks import site_of
from controlplane.records.principals import Caller
from tests.integration.test_generic_clusters import SPEC, create, ended, running
from tests.simulation.world import World

SIGNAL = {"name": "bell", "action": "CLUSTER_SCALE_OUT", "params": {"count": 2}}


@pytest.fixture
def world():
    made = World(seed=1, nodes=3)
    made.call("create_profile", {"name": "sleeper", "spec": SPEC})
    create(made, desired=1, max_size=9)
    return made


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


def test_receivers_go_with_their_cluster(world):
    path = made(world)
    ended(world, world.call("delete_cluster", "shop")["oid"])
    assert post(world, path)[0] == 404
    create(world, desired=1)
    with pytest.raises(NoSuchObject):
        world.call("get_receiver", "shop", "bell")
