"""What agents say is checked before it reaches plans or consoles: fuzzing found each of these."""

import pytest
from twisted.internet.defer import ensureDeferred

from controlplane.errors import InvalidArgument
from controlplane.records.principals import Caller

BOOT = "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e"
FACTS = {
    "version": "1",
    "machine": "here",
    "address": "127.0.0.1",
    "sockets": "/run/x",
    "drivers": ["router"],
    "ports": [1, 2],
}


@pytest.fixture
def cluster(plane):
    """A cluster that runs on one node, whose agent is attached; its oid, the agent and its workers."""
    node = plane.call("pair_node", pubkey="ab" * 32, authid="edge")["oid"]
    agent = Caller(session=9, authid=node, authrole="agent")
    plane.call("attach_agent", FACTS, {"boot": BOOT, "sequence": 0}, caller=agent)
    oid = plane.call("create_routercluster", {"name": "shop"})["oid"]
    plane.call("add_routercluster_node", oid, node)
    plane.call("add_routercluster_workergroup", oid, {"name": "web", "scale": 1})
    plane.call("start_routercluster", oid)
    plane.settle()
    workers = plane.call("list_routercluster_workers", oid)
    said = [{"oid": worker, "status": "RUNNING"} for worker in workers]
    plane.call("report_workers", {"boot": BOOT, "sequence": 1, "workers": said}, caller=agent)
    return oid, agent, workers


@pytest.mark.parametrize(
    "facts",
    [
        {"sockets": "/" + "x" * 100},
        {"sockets": "/" + "\u20ac" * 40},
        {"sockets": "relative"},
        {"sockets": "/nul\x00"},
        {"address": "two words"},
        {"address": ""},
        {"machine": "x" * 300},
        {"drivers": ["x"] * 65},
        {"cores": 2**70},
        {"capacity": 2**64},
    ],
)
def test_facts_that_no_plan_can_be_made_with_are_refused(plane, facts):
    node = plane.call("pair_node", pubkey="ab" * 32, authid="edge")["oid"]
    agent = Caller(session=9, authid=node, authrole="agent")
    with pytest.raises(InvalidArgument) as caught:
        plane.call("attach_agent", {**FACTS, **facts}, {"boot": BOOT, "sequence": 0}, caller=agent)
    assert caught.value.problems[0].path.startswith(f"$.facts.{next(iter(facts))}")


@pytest.mark.parametrize(
    "said",
    [{"pid": 2**70}, {"restarts": -1}, {"reason": "x" * 5_000}, {"realms": ["r"] * 65}, {"started": 2**64}],
)
def test_reports_with_what_no_console_could_be_sent_are_refused(plane, cluster, said):
    _, agent, workers = cluster
    report = {"boot": BOOT, "sequence": 2, "workers": [{"oid": workers[0], "status": "RUNNING", **said}]}
    with pytest.raises(InvalidArgument):
        plane.call("report_workers", report, caller=agent)


def stat(plane, cluster, answer):
    oid, agent, _ = cluster
    outcome = []
    uri = "controlplane.routercluster.stat_routercluster"
    from tests.conftest import ADMIN

    ensureDeferred(plane.plane.invoke(ADMIN, uri, (oid,), {})).addBoth(outcome.append)
    topic, session, question = plane.wire.sent[-1]
    assert (topic, session) == ("controlplane.agent.on_question", agent.session)
    try:
        plane.call("answer_question", question["oid"], answer, caller=agent)
    except InvalidArgument:
        plane.clock.advance(3)
    return outcome[0]


BAD = [
    5,
    None,
    [],
    "x",
    {"realms": 5},
    {"realms": {"shop": 5}},
    {"realms": {"shop": {"sessions": "many"}}},
    {"realms": {"shop": {"sessions": 2**70}}},
    {"realms": {"shop": {"messages": {"sent": []}}}},
    {"pid": 2**70},
    {"a": "\ud800"},
    {"a": "x" * 100_000},
    {"a": {1, 2, object}},
]


@pytest.mark.parametrize("figures", BAD)
def test_an_agent_that_answers_nonsense_counts_as_silent_and_the_others_are_heard(plane, cluster, figures):
    _, _, workers = cluster
    good = {"realms": {"shop": {"sessions": 2, "messages": {}}}, "kind": "router"}
    found = stat(plane, cluster, {workers[0]: good, workers[1]: figures})
    if list(found["silent"]) == workers:
        return  # The whole answer could not be read.
    assert list(found["silent"]) == [workers[1]]
    assert found["workers"] == {workers[0]: good}
    assert found["realms"][0]["sessions"] == 2


def test_an_agent_speaks_for_no_workers_but_its_own(plane, cluster):
    other = "11111111-1111-4111-8111-111111111111"
    _, _, workers = cluster
    found = stat(plane, cluster, {other: {"realms": {}}, **{worker: {} for worker in workers}})
    assert set(found["workers"]) == set(workers)
