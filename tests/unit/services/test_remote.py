"""What is passed on to a node, and what becomes of the answer: whoever answers is not trusted."""

import pytest
from cbor2 import CBORTag

from controlplane.errors import InternalError, RemoteError
from controlplane.records.principals import Caller
from tests.conftest import ADMIN
from tests.fuzz.goods import FACTS

BOOT = "00000000-0000-4000-8000-00000000004d"
GET_STATUS = "crossbarfabriccenter.remote.node.get_status"


@pytest.fixture
def ask(plane):
    """Ask a node for its status, and have its agent answer."""
    node = plane.call("pair_node", "ab" * 32, "edge1", caller=ADMIN)["oid"]
    agent = Caller(session=100, authid=node, authrole="agent")
    plane.plane.uplinks.joined()
    plane.call("attach_agent", FACTS, {"boot": BOOT, "sequence": 0}, caller=agent)

    def make(answer):
        def say():
            _, _, question = plane.wire.sent[-1]
            plane.call("answer_question", question["oid"], answer, caller=agent)

        plane.clock.callLater(0.01, say)
        return plane.call(GET_STATUS, "edge1")

    return make


def test_the_answer_of_a_node_is_passed_on(ask):
    assert ask({"result": {"workers": 3}}) == {"workers": 3}


def test_an_error_of_a_node_keeps_its_name(ask):
    with pytest.raises(RemoteError) as told:
        ask({"error": "crossbar.error.not_running", "message": "no"})
    assert told.value.uri == "crossbar.error.not_running"


@pytest.mark.parametrize("name", ["a name with spaces", "", "a..b", "#", [1, "x"], {"a": 1}, "x" * 300, "a.b\n"])
def test_an_error_with_a_name_that_no_router_carries_is_an_error_without_it(ask, name):
    with pytest.raises(RemoteError) as told:
        ask({"error": name, "message": "no"})
    assert told.value.uri == RemoteError.uri


@pytest.mark.parametrize("result", [CBORTag(5, "x"), {"a": 2**70}, {(1, 2): 3}])
def test_an_answer_that_no_message_carries_is_the_nodes_fault(ask, result):
    with pytest.raises(RemoteError, match="cannot be passed on"):
        try:
            ask({"result": result})
        except InternalError as problem:
            raise AssertionError("the control plane takes it for a defect of its own") from problem
