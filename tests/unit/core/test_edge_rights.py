import pytest

from controlplane.core.edge_rights import AUTHORIZE, EDGE_ROLE, edge_authid, edge_may
from controlplane.core.paired_names import name_of_node
from controlplane.records.nodes import Node
from controlplane.records.types import Oid

OID = Oid(int=1 << 64, version=4)


def node(authid):
    return Node(oid=OID, authid=authid, pubkey="ab" * 32, created=0, changed=0, since=0)


@pytest.mark.parametrize(
    ("uri", "action", "match", "allowed"),
    [
        ("crossbarfabriccenter.node.edge1.get_status", "register", "exact", True),
        ("crossbarfabriccenter.node.edge1.worker.w1.shutdown", "register", "exact", True),
        ("crossbarfabriccenter.node.edge1.", "register", "prefix", False),
        ("crossbarfabriccenter.node..get_status", "register", "wildcard", False),
        ("crossbarfabriccenter.node.edge10.get_status", "register", "exact", False),
        ("crossbarfabriccenter.node.edge", "register", "exact", False),
        ("crossbarfabriccenter.mrealm.get_status", "register", "exact", False),
        ("crossbarfabriccenter.node.edge1.on_ready", "publish", "exact", True),
        ("crossbarfabriccenter.node.on_heartbeat", "publish", "exact", True),
        ("crossbarfabriccenter.node.on_worker_heartbeat", "publish", "exact", True),
        ("crossbarfabriccenter.node.edge2.on_ready", "publish", "exact", False),
        ("controlplane.agent.on_tick", "publish", "exact", False),
        ("crossbarfabriccenter.mrealm.get_status", "call", "exact", True),
        ("crossbarfabriccenter.mrealm.get_nodes", "call", "exact", False),
        ("crossbarfabriccenter.node.edge1.get_status", "call", "exact", False),
        ("crossbarfabriccenter.node.edge1.on_ready", "subscribe", "exact", False),
    ],
)
def test_a_node_offers_its_own_procedures_and_no_others(uri, action, match, allowed):
    assert edge_may("edge1", uri, action, match) is allowed


def test_what_the_router_is_configured_to_call_a_node_and_to_ask():
    """Both stand in `crossbar-config/master.json` of installations that are there already."""
    assert (EDGE_ROLE, AUTHORIZE) == ("node", "controlplane.master.authorize")


def test_a_node_goes_by_its_name_unless_that_could_be_anothers():
    assert edge_authid(node("edge-1")) == "edge-1"
    assert edge_authid(node("edge.1")) == str(OID)
    assert edge_authid(node(str(Oid(int=5)))) == str(OID)


def test_a_node_that_names_itself_badly_is_named_by_its_key():
    assert name_of_node("edge-1", "ab" * 32) == "edge-1"
    assert name_of_node("", "ab" * 32) == "node-abababab"
    assert name_of_node("no name!", "ab" * 32) == "node-abababab"
