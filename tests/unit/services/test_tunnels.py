"""Who may be at which end of which tunnel, and the certificates that prove it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography import x509

from controlplane import certificates
from controlplane.certificates import CLIENT, SERVER
from controlplane.errors import InvalidArgument, NodesNotConnected, NotAuthorized
from controlplane.records.principals import Caller
from controlplane.records.types import NANOSECONDS
from controlplane.services.agents import assignment_epoch
from controlplane.services.tunnels import LIFETIME
from controlplane.store.catalog import AUTHORITIES, CERTIFICATES, TUNNEL_PORTS, WORKERS

DAY = 86_400 * NANOSECONDS


class Machine:
    """A node on a machine of its own, whose agent says what a test wants."""

    def __init__(self, plane, number: int, stunnel: str | None = "5.68") -> None:
        self.plane = plane
        self.number = number
        self.oid = plane.call("pair_node", f"{number:064x}", f"node{number}")["oid"]
        self.caller = Caller(session=100 + number, authid=self.oid, authrole="agent")
        self.facts = {
            "version": "1",
            "machine": f"machine{number}",
            "address": f"10.0.0.{number}",
            "sockets": f"/run/{number}",
            "drivers": ["router"],
            "ports": [1, 2],
            "stunnel": stunnel,
        }
        self.new_key()
        report = {"boot": str(UUID(int=number)), "sequence": 1}
        plane.call("attach_agent", facts=self.facts, report=report, caller=self.caller)

    def new_key(self) -> None:
        self.key = certificates.make_key()
        self.request = certificates.make_request(self.key, "node").decode()

    def sync(self, *ports, request: bool = False):
        state = {"ports": [{"router_oid": r, "front_oid": f, "port": p} for r, f, p in ports]}
        if request:
            state["request"] = self.request
        return self.plane.call("sync_tunnels", state, caller=self.caller)

    def hinted(self) -> int:
        """How often the agent was told to ask."""
        return sum(
            topic.endswith("on_tunnels") and session == self.caller.session
            for topic, session, _ in self.plane.wire.sent
        )


@pytest.fixture
def wide(plane):
    """A cluster with frontends on two machines: (plane, back, front, router's oid, cluster's oid)."""
    plane.plane.uplinks.joined()
    machines = [Machine(plane, number) for number in (1, 2)]
    cluster = plane.call(
        "create_routercluster", {"name": "wide", "config": {"allow_anonymous": True, "allow_plain_tcp": True}}
    )["oid"]
    for machine in machines:
        plane.call("add_routercluster_node", cluster, machine.oid)
    plane.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 2})
    plane.call("start_routercluster", cluster)
    plane.settle()
    router = next(worker for worker in plane.stored(WORKERS) if worker.workergroup_oid is None)
    back = next(machine for machine in machines if machine.oid == str(router.node_oid))
    front = next(machine for machine in machines if machine is not back)
    return plane, back, front, str(router.oid), cluster


def connected(wide):
    plane, back, front, router, _cluster = wide
    back.sync(request=True)
    back.sync((router, front.oid, 4711))
    (tunnel,) = front.sync(request=True)["tunnels"]
    return plane, back, front, tunnel


def test_nodes_are_told_of_their_own_ends_and_ask_for_certificates_first(wide):
    _plane, back, front, router, cluster = wide
    assert back.sync() == {"tunnels": (), "request_wanted": True, "renewal_wanted": False}
    (tunnel,) = back.sync(request=True)["tunnels"]
    assert (tunnel["side"], tunnel["peer_oid"], tunnel["cluster_oid"]) == ("back", front.oid, cluster)
    digits = router.replace("-", "")[:12]
    (line,) = tunnel["lines"]
    assert line == {
        "router_oid": router,
        "socket": f"/run/{back.number}/{digits}.sock",
        "host": f"10.0.0.{back.number}",
        "port": None,
    }
    (tunnel,) = front.sync(request=True)["tunnels"]
    assert (tunnel["side"], tunnel["peer_oid"]) == ("front", back.oid)
    assert tunnel["lines"][0]["socket"] == f"/run/{front.number}/{digits}.tunnel"
    assert tunnel["lines"][0]["port"] is None


def test_the_front_learns_where_the_back_listens_as_soon_as_it_says_so(wide):
    _plane, back, front, router, _cluster = wide
    before = front.hinted()
    back.sync((router, front.oid, 4711), request=True)
    assert front.hinted() == before + 1
    (tunnel,) = front.sync(request=True)["tunnels"]
    assert (tunnel["lines"][0]["host"], tunnel["lines"][0]["port"]) == (f"10.0.0.{back.number}", 4711)
    back.sync((router, front.oid, 4711))
    assert front.hinted() == before + 1  # That was no news.


def test_a_front_that_waits_has_the_back_look(wide):
    _plane, back, front, router, _cluster = wide
    before = back.hinted()
    front.sync()
    assert back.hinted() == before + 1
    back.sync((router, front.oid, 4711))
    front.sync()
    assert back.hinted() == before + 1


def test_a_certificate_is_for_one_cluster_one_node_and_one_side(wide):
    plane, back, front, tunnel = connected(wide)
    (authority,) = plane.stored(AUTHORITIES)
    held = {each.side: each for each in plane.stored(CERTIFICATES)}
    for machine, side, usage in ((front, "front", CLIENT), (back, "back", SERVER)):
        found = x509.load_pem_x509_certificate(held[side].certificate.encode())
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate.encode()))
        assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
        cluster = tunnel["cluster_oid"].replace("-", "")
        assert certificates.describe(held[side].certificate.encode()).names == (
            f"{side}.{machine.oid.replace('-', '')}.{cluster}.internal",
        )
        assert certificates.fingerprint(found.public_key()) == certificates.key_fingerprint(machine.key)
    assert tunnel["peer_name"] == held["back"].name


def test_no_private_key_is_sent_or_stored_but_that_of_the_authority(wide):
    plane, back, front, _tunnel = connected(wide)
    said = str(back.sync()) + str(front.sync()) + str(plane.stored(CERTIFICATES)) + str(plane.wire.sent)
    assert "PRIVATE KEY" not in said


def test_ports_of_others_cannot_be_claimed(wide):
    plane, back, front, router, _cluster = wide
    front.sync((router, front.oid, 1), (router, back.oid, 2), request=True)
    assert plane.stored(TUNNEL_PORTS) == []
    stranger = Machine(plane, 9)
    assert stranger.sync((router, front.oid, 3), request=True)["tunnels"] == ()
    assert plane.stored(TUNNEL_PORTS) == []
    back.sync((router, front.oid, 4), (router, stranger.oid, 5))
    assert [(str(p.front_oid), p.port) for p in plane.stored(TUNNEL_PORTS)] == [(front.oid, 4)]


def test_a_user_is_no_agent(plane):
    with pytest.raises(NotAuthorized):
        plane.call("sync_tunnels", {})


@pytest.mark.parametrize("request_", ["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_a_request_that_is_none_is_refused(wide, request_):
    _plane, back, *_ = wide
    back.request = request_
    with pytest.raises(InvalidArgument):
        back.sync(request=True)


def test_certificates_are_renewed_with_another_key_before_they_end(wide):
    plane, back, front, tunnel = connected(wide)
    assert not front.sync()["renewal_wanted"]
    plane.now += int(LIFETIME.total_seconds() * 0.7) * NANOSECONDS
    assert front.sync()["renewal_wanted"]
    before, hints = {each.side: each for each in plane.stored(CERTIFICATES)}, back.hinted()
    front.new_key()
    plan = front.sync(request=True)
    assert not plan["renewal_wanted"]
    after = {each.side: each for each in plane.stored(CERTIFICATES)}
    assert after["back"] == before["back"]
    assert after["front"].ends > before["front"].ends
    assert back.hinted() == hints + 1  # It is to refuse the former one.
    assert plan["tunnels"][0]["certificate"] == after["front"].certificate != tunnel["certificate"]
    assert revoked(plane) == {int(before["front"].serial, 16)}
    assert x509.load_pem_x509_crl(plan["tunnels"][0]["revocations"].encode()) is not None


def test_an_operator_has_all_renewed_at_once(wide):
    plane, back, front, tunnel = connected(wide)
    plane.now += 1
    hints = back.hinted(), front.hinted()
    assert plane.call("renew_routercluster_certificates", tunnel["cluster_oid"]) == 2
    assert (back.hinted(), front.hinted()) == (hints[0] + 1, hints[1] + 1)
    former = {int(each.serial, 16) for each in plane.stored(CERTIFICATES)}
    for machine in (back, front):
        assert machine.sync()["renewal_wanted"]
        machine.new_key()
        assert not machine.sync(request=True)["renewal_wanted"]
    assert revoked(plane) == former


@pytest.mark.parametrize("how", ["removed", "unpaired"])
def test_a_node_that_is_taken_out_loses_its_certificates_and_the_others_are_told(wide, how):
    plane, back, front, tunnel = connected(wide)
    (lost,) = [each for each in plane.stored(CERTIFICATES) if str(each.node_oid) == front.oid]
    before = back.hinted()
    if how == "removed":
        plane.call("remove_routercluster_node", tunnel["cluster_oid"], front.oid)
    else:
        plane.call("unpair_node", front.oid)
    assert revoked(plane) == {int(lost.serial, 16)}
    assert back.hinted() > before
    assert back.sync()["tunnels"] == ()
    assert plane.stored(TUNNEL_PORTS) == []
    if how == "removed":
        assert front.sync(request=True)["tunnels"] == ()


def test_a_cluster_that_is_deleted_leaves_nothing(wide):
    plane, back, front, tunnel = connected(wide)
    cluster = tunnel["cluster_oid"]
    plane.call("stop_routercluster", cluster)
    for machine in (back, front):
        report = {"boot": str(UUID(int=machine.number)), "sequence": 2, "full": True}
        epoch = assignment_epoch(plane.plane.store.epoch, UUID(machine.oid))
        report |= {"epoch": str(epoch), "version": 1_000}
        plane.call("report_workers", report, caller=machine.caller)
    plane.settle()
    plane.call("delete_routercluster", cluster)
    assert [plane.stored(table) for table in (AUTHORITIES, CERTIFICATES, TUNNEL_PORTS)] == [[], [], []]
    assert front.sync()["tunnels"] == ()


def test_revocations_outlive_a_master_that_is_away_and_are_made_anew_in_time(wide):
    plane, _back, front, tunnel = connected(wide)
    first = x509.load_pem_x509_crl(tunnel["revocations"].encode())
    assert first.next_update_utc > datetime.fromtimestamp(plane.now / NANOSECONDS, UTC) + LIFETIME
    plane.now += 31 * DAY
    (later,) = front.sync()["tunnels"]
    renewed = x509.load_pem_x509_crl(later["revocations"].encode())
    assert renewed.next_update_utc > first.next_update_utc
    plane.now += 1 * DAY
    assert front.sync()["tunnels"][0]["revocations"] == later["revocations"]  # Nothing to take over every time.


def test_what_has_ended_is_no_longer_listed(wide):
    plane, _back, front, _tunnel = connected(wide)
    front.new_key()
    front.sync(request=True)
    assert len(revoked(plane)) == 1
    plane.now += int((LIFETIME + timedelta(days=1)).total_seconds()) * NANOSECONDS
    front.new_key()
    front.sync(request=True)
    assert revoked(plane) == set()


@pytest.mark.parametrize(("stunnel", "address"), [(None, "10.0.0.3"), ("5.68", "127.0.0.1")])
def test_a_machine_that_cannot_be_connected_is_refused_with_the_reason(wide, stunnel, address):
    plane, _back, _front, _router, cluster = wide
    third = Machine(plane, 3, stunnel)
    third.facts["address"] = address
    report = {"boot": str(UUID(int=3)), "sequence": 2}
    plane.call("attach_agent", facts=third.facts, report=report, caller=third.caller)
    with pytest.raises(NodesNotConnected, match=r"stunnel is not installed on node node3|no --address") as caught:
        plane.call("add_routercluster_node", cluster, third.oid)
    assert caught.value.next_step
    assert plane.call("get_node", third.oid)["stunnel"] == stunnel


def test_every_other_machine_counts_and_not_only_the_first_member(plane):
    """Two nodes of one machine need no tunnels between them; a node of another machine needs them to both."""
    members = [Machine(plane, number, stunnel) for number, stunnel in ((1, "5.68"), (2, None))]
    members[1].facts["machine"] = "machine1"
    report = {"boot": str(UUID(int=2)), "sequence": 2}
    plane.call("attach_agent", facts=members[1].facts, report=report, caller=members[1].caller)
    cluster = plane.call(
        "create_routercluster", {"name": "wide", "config": {"allow_anonymous": True, "allow_plain_tcp": True}}
    )["oid"]
    for machine in members:
        plane.call("add_routercluster_node", cluster, machine.oid)
    with pytest.raises(NodesNotConnected, match="stunnel is not installed on node node2"):
        plane.call("add_routercluster_node", cluster, Machine(plane, 3).oid)


def revoked(plane) -> set[int]:
    (authority,) = plane.stored(AUTHORITIES)
    found = x509.load_pem_x509_crl(authority.revocations.encode())
    assert found.is_signature_valid(x509.load_pem_x509_certificate(authority.certificate.encode()).public_key())
    assert {f"{each.serial_number:x}" for each in found} == set(authority.revoked)
    return {each.serial_number for each in found}
