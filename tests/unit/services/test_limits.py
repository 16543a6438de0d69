"""Every limit: what is within it works, what is beyond it is refused with its name, and nothing is changed."""

import re
from pathlib import Path

import msgspec
import pytest
from twisted.internet.defer import ensureDeferred

from controlplane import contract
from controlplane.config import load_settings
from controlplane.errors import InvalidArgument, InvalidConfiguration, LimitReached, PayloadTooLarge, TooManyCalls
from controlplane.master.plane import PROCEDURES
from controlplane.records.limits import Limits
from controlplane.records.principals import Caller
from controlplane.store.catalog import CLUSTERS, GROUPS, MEMBERSHIPS, NODES
from tests.conftest import ADMIN

DOCUMENT = Path(__file__).parents[3] / "docs" / "limits.rst"


def full(plane, name, kind, call):
    before = plane.dump()
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.subject["name"] == name
    assert name in caught.value.next_step
    assert plane.dump() == before
    return caught.value


def pair(plane, number):
    return plane.call("pair_node", pubkey=f"{number:064x}", authid=f"node{number}")["oid"]


def cluster_of(plane, name="shop"):
    return plane.call("create_routercluster", {"name": name})["oid"]


def test_nodes(limited):
    plane = limited(nodes_max=2)
    first, _ = pair(plane, 1), pair(plane, 2)
    full(plane, "nodes_max", LimitReached, lambda: pair(plane, 3))
    plane.call("unpair_node", first)
    pair(plane, 3)


def test_clusters(limited):
    plane = limited(clusters_max=2)
    first, _ = cluster_of(plane, "one_"), cluster_of(plane, "two_")
    full(plane, "clusters_max", LimitReached, lambda: cluster_of(plane, "three"))
    plane.call("delete_routercluster", first)
    cluster_of(plane, "three")


def test_groups_of_one_cluster(limited):
    plane = limited(groups_max=2)
    one, two = cluster_of(plane, "one_"), cluster_of(plane, "two_")

    def add(cluster, name):
        return plane.call("add_routercluster_workergroup", cluster, {"name": name})["oid"]

    first, _, _ = add(one, "web1"), add(one, "web2"), add(two, "web1")
    error = full(plane, "groups_max", LimitReached, lambda: add(one, "web3"))
    assert error.subject["of"]["oid"] == one
    plane.call("remove_routercluster_workergroup", one, first)
    add(one, "web3")


def test_memberships_of_one_cluster(limited):
    plane = limited(memberships_max=2)
    cluster, nodes = cluster_of(plane), [pair(plane, number) for number in range(3)]
    for node in nodes[:2]:
        plane.call("add_routercluster_node", cluster, node)
    full(plane, "memberships_max", LimitReached, lambda: plane.call("add_routercluster_node", cluster, nodes[2]))
    plane.call("add_routercluster_node", cluster, nodes[0], {"hardlimit": 1})
    plane.call("unpair_node", nodes[0])
    plane.call("add_routercluster_node", cluster, nodes[2])


def test_workers_of_one_cluster(limited):
    plane = limited(workers_max=10)
    cluster = cluster_of(plane)
    group = plane.call("add_routercluster_workergroup", cluster, {"name": "web", "scale": 4})["oid"]
    scale = "scale_routercluster_workergroup"
    full(plane, "workers_max", LimitReached, lambda: plane.call(scale, cluster, group, 10))
    plane.call(scale, cluster, group, 9)
    add = "add_routercluster_workergroup"
    full(plane, "workers_max", LimitReached, lambda: plane.call(add, cluster, {"scale": 1}))
    full(plane, "workers_max", LimitReached, lambda: plane.call("update_routercluster", cluster, {"routers": 2}))
    plane.call(scale, cluster, group, 1)
    plane.call("update_routercluster", cluster, {"routers": 9})


def test_bytes_of_an_argument(limited):
    plane = limited(argument_bytes_max=2_000)
    with pytest.raises(InvalidArgument, match="argument_bytes_max"):
        plane.call("get_routercluster_by_name", "ü" * 1_000)
    with pytest.raises(InvalidArgument, match="argument_bytes_max"):
        plane.call("create_routercluster", {"name": "shop", "tags": ["x" * 60] * 40})
    plane.call("create_routercluster", {"name": "shop", "tags": ["x" * 60] * 20})


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_depth_of_an_argument(limited):
    plane = limited(argument_depth_max=8)
    with pytest.raises(InvalidArgument, match="argument_depth_max"):
        plane.call("create_routercluster", nested(10))
    with pytest.raises(InvalidConfiguration):
        plane.call("create_routercluster", nested(9))


def test_bytes_of_a_reply(limited):
    plane = limited(reply_bytes_max=10_240)
    for number in range(300):
        cluster_of(plane, f"cluster_{number:03d}")
    with pytest.raises(PayloadTooLarge, match="reply_bytes_max") as caught:
        plane.call("list_routerclusters")
    assert "limit and marker" in caught.value.next_step
    assert len(plane.call("list_routerclusters", limit=200)) == 200


def test_calls_of_a_session_that_are_not_answered_yet(limited):
    plane = limited(calls_running_max=3)
    uri = next(u for u in PROCEDURES if u.endswith(".create_routercluster"))
    answers = []
    for number in range(5):
        work = plane.plane.invoke(ADMIN, uri, ({"name": f"cluster_{number}"},), {})
        ensureDeferred(work).addBoth(answers.append)
    assert [answer.value.subject["name"] for answer in answers] == ["calls_running_max"] * 2
    assert all(isinstance(answer.value, TooManyCalls) for answer in answers)
    other = Caller(session=8, authid="admin", authrole="admin")
    plane.call("create_routercluster", {"name": "another"}, caller=other)
    plane.settle()
    assert len(plane.stored(CLUSTERS)) == 4
    plane.call("create_routercluster", {"name": "after"})


@pytest.mark.parametrize(("role", "right"), [("admin", "list_nodes"), ("agent", "answer_question")])
def test_calls_per_second_of_a_principal(limited, role, right):
    plane = limited(**{f"{role}_calls_per_second": 10}, calls_burst_s=2)
    caller = Caller(session=1, authid="x", authrole=role)

    def call():
        try:
            plane.call(right, caller=caller)
        except TooManyCalls:
            raise
        except Exception:
            return

    plane.clock.advance = lambda _: None
    for _ in range(20):
        call()
    full(plane, f"{role}_calls_per_second", TooManyCalls, call)
    type(plane.clock).advance(plane.clock, 0.1)
    call()
    full(plane, f"{role}_calls_per_second", TooManyCalls, call)
    caller = Caller(session=1, authid="y", authrole=role)
    call()


def test_a_long_pause_admits_no_more_than_the_burst(limited):
    plane = limited(admin_calls_per_second=5, calls_burst_s=1)
    plane.clock.advance(1_000_000)
    plane.clock.advance = lambda _: None
    for _ in range(5):
        plane.call("list_nodes")
    with pytest.raises(TooManyCalls):
        plane.call("list_nodes")


def test_other_principals_have_a_rate_of_their_own():
    from controlplane.services.admission import Admission

    gate = Admission(lambda: 0.0, Limits(other_calls_per_second=1, calls_burst_s=2))
    viewer = Caller(session=1, authid="v", authrole="viewer")
    gate.enter(viewer)
    gate.enter(viewer)
    with pytest.raises(TooManyCalls, match="more than 1 calls per second"):
        gate.enter(viewer)


def test_principals_that_stay_away_are_forgotten():
    from controlplane.services import admission

    now = [0.0]
    gate = admission.Admission(lambda: now[0], Limits(other_calls_per_second=1))
    for number in range(admission.PRINCIPALS_REMEMBERED_MAX * 3):
        now[0] += 0.01
        caller = Caller(session=number, authid=str(number), authrole="viewer")
        gate.enter(caller)
        gate.leave(caller)
    assert len(gate._buckets) <= admission.PRINCIPALS_REMEMBERED_MAX
    assert gate._running == {}


def test_a_million_unknown_names_cost_no_more_than_a_few(plane):
    many = {f"cluster_{number}": 0 for number in range(200_000)}
    with pytest.raises(InvalidArgument) as caught:
        plane.call("create_routercluster", {"name": "shop"}, **many)
    assert len(caught.value.problems) == 11
    assert "199990 more" in caught.value.problems[-1].message
    with pytest.raises(InvalidConfiguration) as caught:
        plane.call("create_routercluster", {"name": "shop", **many})
    assert len(caught.value.problems) == 11


def test_counts_are_true_after_refusals_and_restarts(limited):
    plane = limited()
    cluster = cluster_of(plane)
    node = pair(plane, 1)
    plane.call("add_routercluster_node", cluster, node)
    plane.call("add_routercluster_workergroup", cluster, {"name": "web"})
    for call in (lambda: cluster_of(plane), lambda: pair(plane, 1)):
        with pytest.raises(Exception, match="another"):
            call()
    plane.call("update_routercluster", cluster, {"label": "x"})
    oid = plane.stored(CLUSTERS)[0].oid
    with plane.plane.store.read() as view:
        counts = [view.rows(CLUSTERS).count(), view.rows(NODES).count()]
        counts += [view.rows(GROUPS).count(oid), view.rows(MEMBERSHIPS).count(oid)]
    assert counts == [1, 1, 1, 1]
    plane.call("delete_routercluster", cluster)
    with plane.plane.store.read() as view:
        counts = [view.rows(CLUSTERS).count(), view.rows(GROUPS).count(oid), view.rows(MEMBERSHIPS).count(oid)]
    assert counts == [0, 0, 0]


def test_limits_are_settings(tmp_path, monkeypatch):
    file = tmp_path / "settings.toml"
    file.write_text("[limits]\nclusters_max = 5\nnodes_max = 6\ngroups_max = 7\n")
    monkeypatch.setenv("CONTROLPLANE_LIMITS_NODES_MAX", "60")
    found = load_settings(Limits, "limits", str(file), {"groups_max": "70"})
    assert (found.clusters_max, found.nodes_max, found.groups_max) == (5, 60, 70)
    for name, value in (("nonsense", "1"), ("clusters_max", "0"), ("clusters_max", "many"), ("argument_depth_max", 1)):
        with pytest.raises(InvalidConfiguration) as caught:
            load_settings(Limits, "limits", None, {name: value})
        assert caught.value.problems[0].path == f"[limits] {name}"


def rows(heading):
    """The rows of the table under a heading of the document, as lists of cells."""
    text = DOCUMENT.read_text().partition(f"{heading}\n{'-' * len(heading)}\n")[2]
    _, rule, body = re.split(r"^(=[= ]+)\n.*\n=[= ]+\n", text, maxsplit=1, flags=re.MULTILINE)
    body = body.partition("\n=")[0]
    starts = [match.start() for match in re.finditer(r"=+", rule)]
    ends = [*starts[1:], None]
    return [
        [line[a:b].strip().strip("`") for a, b in zip(starts, ends, strict=True)]
        for line in body.splitlines()
        if line.startswith("``")
    ]


def test_the_document_lists_every_setting_with_its_default():
    fields = {field.name: field.default for field in msgspec.structs.fields(Limits)}
    assert [(row[0], int(row[1].replace(",", ""))) for row in rows("Settings")] == list(fields.items())


def test_the_document_lists_what_the_contract_promises():
    records = contract.documents()["records.json"]["records"]
    listed = rows("What is fixed")
    assert len(listed) >= 12
    for place, constraint, value, *_ in listed:
        record, field = place.split(".")
        schema = records[record]["properties"][field]
        assert found(schema, constraint) == (int(value.replace(",", "")) if value[0].isdigit() else value), place


def found(schema, constraint):
    """Look for a constraint in a schema and its alternatives."""
    if constraint in schema:
        return schema[constraint]
    for part in (*schema.get("anyOf", ()), schema.get("items") or {}):
        value = found(part, constraint)
        if value is not None:
            return value
    return None
