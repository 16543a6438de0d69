import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.placement import (
    Candidate,
    Placement,
    Site,
    is_lost,
    leaving,
    obstacle_to_tunnels,
    occupies,
    over_limits,
)
from controlplane.records.balancing import Drain
from controlplane.records.workers import Want, WorkerStatus
from tests.strategies import NOW, members, node, uid, worker


def candidates(where):
    return {n.oid: Candidate(n, soft, hard) for n, soft, hard in where}


@given(members(), st.integers(0, 20))
def test_every_choice_is_the_best_by_the_rule(where, count):
    placement = Placement(candidates(where), "router")
    for _ in range(count):
        able = [c for c in placement.candidates.values() if c.refusal("router", None) is None]
        best = min(able, key=Candidate.rank, default=None)
        assert placement.place() == (best.node if best else None)


def test_the_order_is_softlimit_then_cluster_then_load_then_oid():
    where = [(node(1), 0, None), (node(2), None, None), (node(3), None, None), (node(4), None, None)]
    placement = Placement(candidates(where), "router")
    placement.candidates[uid(2, 2)].of_cluster = 1
    placement.candidates[uid(2, 3)].in_all = 1
    assert [placement.place().authid for _ in range(4)] == ["node4", "node3", "node2", "node4"]


def test_a_node_above_its_softlimit_is_taken_when_there_is_no_other():
    placement = Placement(candidates([(node(1), 1, None)]), "router")
    assert [placement.place().authid for _ in range(3)] == ["node1"] * 3


def test_every_refusal_is_told_with_its_node():
    where = [
        (node(1, online=False), None, None),
        (node(2), None, 0),
        (node(3, capacity=0), None, None),
        (node(4, drivers=("container",)), None, None),
        (node(5, machine="elsewhere"), None, None),
    ]
    placement = Placement(candidates(where), "router")
    placement.bind(Site("here", None))
    assert placement.place() is None
    assert placement.why_not() == (
        "no place: node1: offline; node2: hardlimit of 0 reached; node3: capacity of 0 reached; "
        "node4: has no driver 'router'; node5: is another machine than the cluster's other workers, "
        "and stunnel is not installed on node node5"
    )


def test_another_machine_takes_workers_when_both_have_stunnel_and_an_address():
    far = node(1, machine="elsewhere", stunnel="5.68")
    placement = Placement(candidates([(far, None, None)]), "router")
    placement.bind(Site("here", "stunnel is not installed on node node2"))
    assert placement.place() is None
    assert "stunnel is not installed on node node2" in placement.why_not()
    placement.bind(Site("here", None))
    assert placement.place() == far


def test_obstacles_to_tunnels_are_named():
    assert obstacle_to_tunnels(node(1, stunnel="5.68")) is None
    assert obstacle_to_tunnels(node(1)) == "stunnel is not installed on node node1"
    silent = node(1, stunnel="5.68")
    for address in ("127.0.0.1", "localhost", "::1"):
        lost = msgspec.structs.replace(silent, facts=msgspec.structs.replace(silent.facts, address=address))
        assert "--address" in obstacle_to_tunnels(lost)


def test_a_long_list_of_refusals_is_cut():
    placement = Placement(candidates([(node(n, online=False), None, None) for n in range(1, 21)]), "router")
    assert placement.why_not().endswith("and 12 more nodes")
    assert len(placement.why_not()) < 300


def test_without_nodes_the_next_step_is_told():
    assert Placement({}, "router").why_not() == "no place: the cluster has no nodes; add one"


def test_room_that_is_given_back_is_used_again():
    placement = Placement(candidates([(node(1), None, 1)]), "router")
    assert placement.place() is not None
    assert placement.place() is None
    placement.release(uid(2, 1))
    assert placement.place() is not None


def test_a_node_is_lost_exactly_when_the_grace_period_is_over():
    silent = node(1, online=False, since=NOW)
    assert not is_lost(silent, 10, NOW + 10_000_000_000 - 1)
    assert is_lost(silent, 10, NOW + 10_000_000_000)
    assert not is_lost(node(1), 0, NOW + 10**15)
    assert is_lost(None, 10, NOW)


@given(members(), st.lists(st.sampled_from(["place", "release", "take", "hold"]), max_size=40), st.randoms())
def test_whatever_happens_between_every_choice_is_the_best_by_the_rule(where, deeds, random):
    placement = Placement(candidates(where), "router")
    for deed in deeds:
        able = [c for c in placement.candidates.values() if c.refusal("router", None) is None]
        best = min(able, key=Candidate.rank, default=None)
        if deed == "place":
            assert placement.place() == (best.node if best else None)
            if best is None:
                assert placement.why_not() == Placement(placement.candidates, "router").why_not()
        elif placement.candidates:
            chosen = random.choice(sorted(placement.candidates))
            if deed == "release" and placement.candidates[chosen].of_cluster:
                placement.release(chosen)
            elif deed == "take":
                assert (placement.take(chosen) is None) is any(c.node.oid == chosen for c in able)
            elif deed == "hold":
                placement.hold(chosen)


# One by one, by example


def counted(placement):
    return {oid: (c.of_cluster, c.in_all) for oid, c in placement.candidates.items()}


def one_node(hardlimit=None, **fields):
    return Placement(candidates([(node(1, **fields), None, hardlimit)]), "router")


NODE = uid(2, 1)


def test_a_worker_counts_in_its_cluster_and_in_all():
    placement = one_node()
    placement.place()
    assert counted(placement) == {NODE: (1, 1)}
    assert placement.take(NODE) is None
    assert counted(placement) == {NODE: (2, 2)}
    assert placement.hold(NODE) is True
    assert counted(placement) == {NODE: (3, 3)}
    placement.release(NODE)
    assert counted(placement) == {NODE: (2, 2)}


def test_a_node_that_cannot_take_a_worker_says_why_and_counts_nothing():
    placement = one_node(hardlimit=0)
    assert placement.take(NODE) == "hardlimit of 0 reached"
    assert counted(placement) == {NODE: (0, 0)}


def test_a_worker_that_stays_is_counted_whatever_the_limits():
    placement = one_node(hardlimit=0, online=False)
    assert placement.hold(NODE) is True
    assert counted(placement) == {NODE: (1, 1)}


def test_a_worker_on_no_member_is_held_by_nobody():
    placement = one_node()
    assert placement.hold(uid(2, 99)) is False
    assert placement.hold(None) is False
    placement.release(uid(2, 99))
    assert counted(placement) == {NODE: (0, 0)}


def test_a_place_is_bound_to_the_machine_as_long_as_the_site_says():
    placement = one_node(machine="elsewhere")
    placement.bind(Site("here", None))
    assert "another machine" in placement.take(NODE)
    assert placement.place() is None
    placement.bind(Site("elsewhere", "anything"))
    assert placement.take(NODE) is None
    assert placement.place() is not None
    placement.bind(Site("here", None))
    assert placement.place() is None
    placement.bind(None)
    assert placement.place() is not None


def test_binding_to_the_same_site_again_changes_nothing():
    placement = one_node(hardlimit=1)
    placement.bind(Site("here", None))
    assert placement.place() is not None
    why_not = placement.why_not()
    placement.bind(Site("here", None))
    assert placement.why_not() is why_not


def test_a_node_that_filled_up_by_itself_is_passed_over():
    placement = Placement(candidates([(node(1), None, 2), (node(2), None, None)]), "router")
    assert placement.place().authid == "node1"
    placement.hold(uid(2, 1))
    assert [placement.place().authid for _ in range(3)] == ["node2"] * 3


@pytest.mark.parametrize("change", ["take", "hold", "release", "place"])
def test_why_there_is_no_place_is_told_anew_when_something_changed(change):
    where = [(node(1), None, 2), (node(2, online=False), None, None)]
    placement = Placement(candidates(where), "router")
    placement.place()
    assert placement.why_not() == "no place: node1: has room; node2: offline"
    if change == "release":
        placement.take(NODE)
        assert placement.why_not() == "no place: node1: hardlimit of 2 reached; node2: offline"
        placement.release(NODE)
        assert placement.why_not() == "no place: node1: has room; node2: offline"
    else:
        assert (placement.place() if change == "place" else getattr(placement, change)(NODE)) != "no"
        assert placement.why_not() == "no place: node1: hardlimit of 2 reached; node2: offline"


def test_eight_refusals_are_shown_and_how_many_more_there_are():
    def why_not(count):
        where = [(node(n, online=False), None, None) for n in range(1, count + 1)]
        return Placement(candidates(where), "router").why_not()

    assert why_not(8) == "no place: " + "; ".join(f"node{n}: offline" for n in range(1, 9))
    assert why_not(9) == why_not(8) + "; and 1 more nodes"
    assert why_not(10).startswith("no place: node1: offline; node10: offline; node2: offline; ")
    assert why_not(10).endswith("node7: offline; and 2 more nodes")


def test_who_occupies_a_node():
    for status in WorkerStatus:
        expected = status is not WorkerStatus.STOPPED
        for want in Want:
            assert occupies(worker(1, None, 0, NODE, status, want=want)) is expected
            assert occupies(worker(1, None, 0, None, status, want=want)) is False


def test_a_node_is_over_its_limit_with_one_worker_more_than_that():
    crowded = [Candidate(node(n), None, hard, of_cluster=2) for n, hard in enumerate((None, 1, 2, 3), 1)]
    assert over_limits(crowded) == [crowded[1]]
    assert over_limits([]) == []


def test_workers_that_must_not_listen_beyond_loopback_are_kept_from_other_addresses():
    far = node(1)
    near = msgspec.structs.replace(far, facts=msgspec.structs.replace(far.facts, address="127.0.0.1"))
    assert Candidate(far, None, None).refusal("router", None) is None
    assert Candidate(near, None, None, exposed=True).refusal("router", None) is None
    assert Candidate(far, None, None, exposed=True).refusal("router", None) == (
        "listens on 10.0.0.1, beyond loopback, where the cluster's configuration is not admitted"
    )


@pytest.mark.parametrize("status", WorkerStatus)
def test_one_of_which_something_runs_leaves_in_order_and_any_other_at_once(status):
    drain = Drain(until=NOW)
    for place in (uid(2, 1), None):
        runs = place is not None and status not in (WorkerStatus.PENDING, WorkerStatus.STOPPED)
        expected = {
            "want": Want.REMOVE,
            "status": WorkerStatus.STOPPING if runs else WorkerStatus.STOPPED,
            "reason": None,
            "farewell": None,
            "drain": None,
        }
        assert leaving(worker(1, None, 0, place, status), Want.REMOVE) == expected
        assert leaving(worker(1, None, 0, place, status), Want.REMOVE, drain) == {**expected, "drain": drain}


def test_a_node_has_room_up_to_the_nearer_of_its_limits():
    def room(hardlimit, capacity, facts=True):
        place = node(1, capacity=capacity)
        candidate = Candidate(place if facts else msgspec.structs.replace(place, facts=None), None, hardlimit)
        candidate.of_cluster, candidate.in_all = 1, 3
        return candidate.room()

    assert room(5, 6) == 3
    assert room(3, 6) == 2
    assert room(5, None) == 4
    assert room(None, 6) == 3
    assert room(None, None) == float("inf")
    assert room(5, 6, facts=False) == 4
