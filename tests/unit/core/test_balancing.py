from dataclasses import replace
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.core.balancing import accepted, drain_of, is_drained, place_of, render, served
from controlplane.core.generic_clusters import plan_generic_cluster
from controlplane.core.policy_checks import policy_problems
from controlplane.records.balancing import (
    BalanceMember,
    BalanceRules,
    CallbackTarget,
    Drain,
    FileTarget,
    LoadBalancePolicy,
)
from controlplane.records.workers import Address, Want, WorkerStatus
from tests.strategies import NOW, group, node, situation, uid, worker

RUNNING = WorkerStatus.RUNNING
SECOND = 1_000_000_000
RULES = BalanceRules(policy_oid=uid(6, 1), drain=5.0, timeout=60.0)
HTTP = Address(type="http", url="http://10.0.0.1:8000/x")
GROUP = uid(3, 1)


def balanced(begin):
    """The situation of a cluster that has a balancer."""
    return replace(begin, cluster=msgspec.structs.replace(begin.cluster, balance=RULES))


def running(number: int, **fields):
    given = {"digest": "d", "seen_digest": "d", "addresses": (HTTP,), "revision": 1, **fields}
    return worker(number, GROUP, number, uid(2, 1), given.pop("status", RUNNING), **given)


def test_a_worker_serves_while_it_runs_as_it_shall():
    assert served(running(1)) == (HTTP,)
    assert served(running(1, status=WorkerStatus.UNREACHABLE)) == (HTTP,)
    for fields in (
        {"status": WorkerStatus.ERROR},
        {"status": WorkerStatus.STARTING},
        {"status": WorkerStatus.STOPPING, "want": Want.REMOVE},
        {"want": Want.STOP},
        {"seen_digest": "other"},
        {"digest": None, "seen_digest": None},
        {"drain": Drain(until=NOW)},
    ):
        assert served(running(1, **fields)) == ()


@pytest.mark.parametrize(
    ("urls", "port", "found"),
    [
        ([("http", "http://10.0.0.1:8000/x")], None, ("10.0.0.1", 8000)),
        ([("admin", "tcp://10.0.0.1:1"), ("http", "http://host:2")], "http", ("host", 2)),
        ([("http", "http://[::1]:3")], "http", ("::1", 3)),
        ([("http", "http://10.0.0.1")], None, None),
        ([("http", "http://10.0.0.1:99999")], None, None),
        ([("http", "unix:/run/x")], None, None),
        ([("http", "http://a b:1")], None, None),
        ([("admin", "tcp://10.0.0.1:1")], "http", None),
        ([("http", "http://a b:1"), ("http", "http://10.0.0.1:99999"), ("http", "http://x:2")], None, ("x", 2)),
        ([], None, None),
    ],
)
def test_the_address_that_is_meant_is_found(urls, port, found):
    place = place_of([Address(type=kind, url=url) for kind, url in urls], port)
    assert (None if place is None else (place.host, place.port)) == found
    assert place is None or place.url in [url for _, url in urls]


def member(**fields):
    given = {"name": "shop-1", "index": 1, "url": "tcp://10.0.0.1:80", "host": "10.0.0.1", "port": 80, "zone": None}
    return BalanceMember(worker_oid=UUID(int=5), node_name="n", region=None, **{**given, **fields})


def test_a_file_has_a_line_for_every_member():
    target = FileTarget(
        file="web.cfg", before="a\n", each="  server {name} {address} # {{index}} {index}\n", after="z\n"
    )
    assert render(target, [member(), member(name="two", host="::1", port=81, index=2)]) == (
        "a\n  server shop-1 10.0.0.1:80 # {index} 1\n  server two [::1]:81 # {index} 2\nz\n"
    )


def test_everything_that_is_known_of_a_member_can_be_written():
    target = FileTarget(file="web.cfg", each="{name} {oid} {index} {host} {port} {address} {zone}")
    one = member(host="::1", port=81, zone="north/a")
    assert render(target, [one]) == f"shop-1 {UUID(int=5)} 1 [::1] 81 [::1]:81 north_a"
    assert render(target, [member()]) == f"shop-1 {UUID(int=5)} 1 10.0.0.1 80 10.0.0.1:80 "


@given(st.text(), st.text())
def test_no_name_breaks_out_of_its_place(name, zone):
    target = FileTarget(file="web.cfg", each="<{name}|{zone}>")
    assert len(render(target, [member(name=name, zone=zone)])) == len(f"<{name}|{zone}>")
    assert set(render(target, [member(name=name, zone=zone)])) <= set(
        "<|>_.-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    )


def test_what_a_drain_waits_for():
    cluster = balanced(situation([group(1, 1)], [])).cluster
    begun = drain_of(cluster, running(1), NOW)
    assert begun == Drain(until=NOW + 60 * SECOND)
    assert drain_of(cluster, running(1, drain=begun), NOW + 5) == begun
    assert accepted(5.0, NOW) == Drain(until=NOW + 5 * SECOND, accepted=True)
    assert not is_drained(cluster, begun, begun.until - 1)
    assert is_drained(cluster, begun, begun.until)
    for one in (running(1, status=WorkerStatus.ERROR), worker(1, None, 0, uid(2, 1), RUNNING)):
        assert drain_of(cluster, one, NOW) is None
    stopped = msgspec.structs.replace(cluster, run=False)
    assert drain_of(stopped, running(1), NOW) is None
    assert is_drained(stopped, begun, NOW)
    assert drain_of(situation([], []).cluster, running(1), NOW) is None


def planned(begin, workers=None):
    """What becomes of the workers of a plan, by index."""
    begin = begin if workers is None else replace(begin, workers=tuple(workers))
    plan = plan_generic_cluster(begin)
    after = {one.oid: one for one in begin.workers} | {new.oid: new for _, new in plan.changed}
    for gone in plan.removed:
        del after[gone.oid]
    return plan, sorted(after.values(), key=lambda one: one.index)


def generic(workers, scale, now=NOW, digest="d"):
    places = [(node(1), None, None)]
    return balanced(situation([group(1, scale)], places, workers, now=now, digest=lambda *_: digest))


def test_a_surplus_worker_drains_before_its_agent_is_told():
    plan, after = planned(generic([running(0), running(1)], 1))
    gone = after[1]
    assert (gone.want, gone.status, gone.drain) == (Want.REMOVE, WorkerStatus.STOPPING, Drain(until=NOW + 60 * SECOND))
    assert plan.look_again_after == 60
    told = msgspec.structs.replace(gone, drain=accepted(5.0, NOW))
    plan, _ = planned(generic([running(0), told], 1, now=NOW + SECOND))
    assert (plan.changed, plan.look_again_after) == ([], 4)
    plan, after = planned(generic([running(0), told], 1, now=NOW + 5 * SECOND))
    assert (after[1].drain, after[1].status) == (None, WorkerStatus.STOPPING)


def test_a_worker_drains_before_it_is_changed_and_the_others_wait_for_it():
    plan, after = planned(generic([running(0), running(1)], 2, digest="e"))
    assert [each.drain is not None for each in after] == [True, False]
    assert [each.digest for each in after] == ["d", "d"]
    assert not plan.rolled
    assert plan.look_again_after == 60
    # The one that drains is waited for also when another one could be asked first.
    draining = running(1, drain=Drain(until=NOW + 9 * SECOND))
    plan, later = planned(generic([running(0), draining, running(2)], 3, digest="e"))
    assert (plan.changed, plan.look_again_after) == ([], 9)
    assert [each.drain is not None for each in later] == [False, True, False]
    told = msgspec.structs.replace(after[0], drain=accepted(5.0, NOW))
    begin = generic([told, after[1]], 2, digest="e", now=NOW + 5 * SECOND)
    _, after = planned(begin)
    assert [(each.digest, each.drain) for each in after] == [("e", None), ("d", None)]


def test_one_that_stops_and_waits_for_nothing_is_left_to_its_agent():
    plan, _ = planned(generic([running(0), running(1, want=Want.REMOVE, status=WorkerStatus.STOPPING)], 1))
    assert (plan.changed, plan.removed, plan.look_again_after) == ([], [], None)


def test_a_drain_is_called_off_when_nothing_is_to_be_changed_any_more():
    draining = running(0, drain=Drain(until=NOW + SECOND))
    _, after = planned(generic([draining], 1))
    assert after[0].drain is None


def test_a_policy_needs_one_target():
    file = LoadBalancePolicy(target=FileTarget(file="web.cfg", each="x"))
    assert list(policy_problems(file)) == []
    assert list(policy_problems(LoadBalancePolicy(target=CallbackTarget(url="http://x/")))) == []
    bad = LoadBalancePolicy(target=FileTarget(file="web.cfg", each="{nome}"))
    assert [problem.path for problem in policy_problems(bad)] == ["$.target.each"]
