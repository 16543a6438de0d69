"""What fuzzing found beside the procedures: logins, messages of any depth, and callers who do not wait."""

import json
from pathlib import Path

import cbor2
import pytest
from autobahn.wamp.message import Invocation
from twisted.internet.defer import ensureDeferred
from twisted.logger import globalLogPublisher

from controlplane.errors import ControlPlaneError, InvalidArgument, NoAnswer
from controlplane.transports import deep_serializer
from tests.conftest import ADMIN

CONFIG = json.loads((Path(__file__).parents[2] / "crossbar-config" / "master.json").read_text())
CREATE = "controlplane.routercluster.create_routercluster"


def test_a_message_that_is_nested_as_deep_as_a_router_forwards_is_read():
    """One that cannot be read ends the master's connection, and with it everybody's."""
    argument = 0
    for _ in range(2_500):
        argument = [argument]
    (message,) = deep_serializer().unserialize(cbor2.dumps([Invocation.MESSAGE_TYPE, 1, 2, {}, [argument]]), True)
    assert isinstance(message, Invocation)


BAD_LOGINS = [
    {"authextra": {"pubkey": "ab" * 32, "channel_binding": ["tls-unique"]}},
    {"authextra": {"pubkey": "ab" * 32, "channel_binding": {}}},
    {"authextra": {"pubkey": "ab" * 32}, "transport": 5},
    {"authextra": {"pubkey": "ab" * 32, "channel_binding": "tls-unique"}, "transport": {"channel_id": 5}},
    {"authextra": 5},
    {"authextra": {"pubkey": ["ab" * 32]}},
]


@pytest.mark.parametrize("details", BAD_LOGINS)
def test_a_login_that_is_none_ends_in_a_typed_error(plane, details):
    with pytest.raises(ControlPlaneError):
        plane.plane.authenticate("default", {"authmethod": "cryptosign", **details})


@pytest.mark.parametrize("name", [5, ["x"], "x" * 1_000, {}])
def test_a_login_under_a_name_that_is_none_is_refused(plane, name):
    details = {"authmethod": "cryptosign", "authextra": {"pubkey": "ab" * 32}}
    with pytest.raises(InvalidArgument):
        plane.plane.authenticate(name, details)
    with pytest.raises(InvalidArgument):
        plane.plane.authenticate("default", details, name)


def test_a_caller_who_gives_up_leaves_no_traceback_and_the_change_is_made(plane):
    logged, outcome = [], []

    def observe(event):
        if "log_failure" in event:
            logged.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        call = ensureDeferred(plane.plane.invoke(ADMIN, CREATE, ({"name": "shop"},), {}))
        call.addBoth(outcome.append)
        call.cancel()
        plane.settle()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert outcome[0].check(NoAnswer)
    assert logged == []
    assert plane.call("get_routercluster_by_name", "shop")["name"] == "shop"
    assert plane.plane.pipeline._admission._running == {}


def listener(name):
    return next(transport for transport in CONFIG["workers"][0]["transports"] if transport["id"] == name)


def test_what_anybody_can_send_is_small_enough_for_the_master_and_cannot_be_made_large():
    """MessagePack has numbers of 5 bytes that take 9 in CBOR; the router cannot answer for what it cannot forward."""
    public, master = listener("public"), listener("master")
    options = public["paths"]["ws"]["options"]
    assert options["max_message_size"] * 9 / 5 < master["options"]["max_message_size"] == 2**24
    assert "compression" not in json.dumps(CONFIG)
    assert public["paths"]["ws"]["serializers"] == ["cbor", "msgpack"]
    assert public["options"]["client_timeout"] <= 60
    assert public["max_connections"] <= 50_000
