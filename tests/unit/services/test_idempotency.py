"""The same call with the same key is made once, whatever happens to its answer."""

import json

import pytest

from controlplane.errors import (
    AlreadyExists,
    ControlPlaneError,
    IdempotencyConflict,
    InternalError,
    InvalidArgument,
    LimitReached,
    NoSuchObject,
    NotAuthorized,
)
from controlplane.master.plane import PROCEDURES
from controlplane.records.principals import Caller
from controlplane.records.types import NANOSECONDS
from controlplane.store.catalog import CLUSTERS, EVENTS, GROUPS, NODES, OUTCOMES
from tests.conftest import ADMIN, TestPlane
from tests.unit.test_edges import DECLARED, arguments, caller_for

OTHER = Caller(session=8, authid="other", authrole="admin")
WRITING = [(uri, procedure) for uri, procedure in DECLARED if procedure.writes]
DAY_NS = 86_400 * NANOSECONDS


def create(plane, name="shop", key="k", **kwargs):
    return plane.call("create_routercluster", {"name": name}, idempotency_key=key, **kwargs)


@pytest.mark.parametrize(("uri", "procedure"), WRITING)
def test_every_writing_procedure_returns_the_first_result_again_and_changes_nothing(plane, uri, procedure):
    caller = caller_for(plane, procedure)
    good = arguments(plane, procedure)
    first = outcome(plane, uri, caller, good)
    before, published = plane.dump(), len(plane.wire.published)
    plane.now += 1
    assert outcome(plane, uri, caller, good) == first
    assert plane.dump() == before
    assert len(plane.wire.published) == published


def outcome(plane, uri, caller, good):
    try:
        return json.dumps(plane.call(uri, caller=caller, idempotency_key="once", **good))
    except ControlPlaneError as problem:
        assert not isinstance(problem, InternalError)
        return type(problem), str(problem), problem.details()


def test_a_call_is_the_same_under_another_name_of_the_procedure_and_with_arguments_by_name(plane):
    first = create(plane)
    again = plane.call(
        "crossbarfabriccenter.mrealm.routercluster.create_routercluster",
        routercluster={"name": "shop"},
        idempotency_key="k",
    )
    assert again == first
    assert len(plane.stored(CLUSTERS)) == 1


def test_the_answer_is_the_first_one_even_when_the_object_has_changed_or_is_gone(plane):
    first = create(plane)
    plane.call("update_routercluster", first["oid"], {"label": "new"})
    assert create(plane) == first
    plane.call("delete_routercluster", first["oid"])
    assert create(plane) == first
    assert plane.stored(CLUSTERS) == []


def test_an_error_of_the_procedure_is_the_outcome_too(plane):
    cluster = create(plane, key="a")
    with pytest.raises(AlreadyExists) as first:
        create(plane, key="b")
    plane.call("delete_routercluster", cluster["oid"])
    with pytest.raises(AlreadyExists) as again:
        create(plane, key="b")
    assert (str(again.value), again.value.details()) == (str(first.value), first.value.details())
    assert plane.stored(CLUSTERS) == []


def test_what_kept_a_call_from_being_made_is_not_remembered(limited):
    plane = limited(clusters_max=1)
    first = create(plane, "first_one", key="a")
    with pytest.raises(LimitReached):
        create(plane, key="b")
    with pytest.raises(InvalidArgument):
        plane.call("create_routercluster", idempotency_key="b")
    with pytest.raises(NotAuthorized):
        create(plane, key="b", caller=Caller(session=1, authid="admin", authrole="agent"))
    with pytest.raises(NoSuchObject):
        plane.call("start_routercluster", "11111111-1111-4111-8111-111111111111", idempotency_key="b")
    plane.call("delete_routercluster", first["oid"])
    assert create(plane, key="b")["name"] == "shop"


def test_a_key_belongs_to_one_call(plane):
    create(plane)
    for call in (
        lambda: create(plane, "another"),
        lambda: plane.call("pair_node", pubkey="ab" * 32, authid="edge", idempotency_key="k"),
    ):
        with pytest.raises(IdempotencyConflict) as caught:
            call()
        assert caught.value.problems[0].path == "$.idempotency_key"
        assert caught.value.next_step
    assert len(plane.stored(CLUSTERS)) == 1
    assert plane.stored(NODES) == []


def test_keys_of_two_principals_have_nothing_to_do_with_each_other(plane):
    plane.user("other", "admin")
    create(plane)
    with pytest.raises(AlreadyExists):
        create(plane, caller=OTHER)
    assert create(plane, "mine", key="m", caller=OTHER)["name"] == "mine"


def test_a_session_that_was_joined_anew_has_the_keys_of_its_principal(plane):
    first = create(plane)
    assert create(plane, caller=Caller(session=99, authid="admin", authrole="admin")) == first


@pytest.mark.parametrize("key", ["", "x" * 256, 5, b"k", ["k"], {"a": 1}, "\ud800", 2**200, True])
def test_a_key_that_is_no_short_text_is_refused(plane, key):
    before = plane.dump()
    with pytest.raises(InvalidArgument) as caught:
        create(plane, key=key)
    assert caught.value.problems[0].path == "$.idempotency_key"
    assert plane.dump() == before


def test_no_key_is_no_key_and_a_call_without_one_leaves_nothing_behind(plane):
    create(plane, key=None)
    with pytest.raises(AlreadyExists):
        create(plane, key=None)
    assert plane.stored(OUTCOMES) == []


def test_a_procedure_that_changes_nothing_takes_no_key(plane):
    with pytest.raises(InvalidArgument, match="idempotency_key"):
        plane.call("list_routerclusters", idempotency_key="k")


def test_a_key_can_be_used_anew_after_a_day_and_is_forgotten_then(plane):
    cluster = create(plane)
    plane.now += DAY_NS
    assert create(plane) == cluster
    plane.now += 1
    with pytest.raises(AlreadyExists):
        create(plane)
    plane.now += DAY_NS + 1
    create(plane, "another", key="z")
    assert len(plane.stored(OUTCOMES)) == 1


def test_the_keys_of_a_principal_are_bounded_and_those_of_others_stay(limited):
    plane = limited(idempotency_keys_max=3)
    plane.user("other", "admin")
    theirs = create(plane, "theirs", key="k", caller=OTHER)
    for number in range(10):
        plane.now += 1
        create(plane, f"cluster_{number}", key=str(number))
    assert len(plane.stored(OUTCOMES)) == 4
    assert create(plane, "cluster_7", key="7")["name"] == "cluster_7"
    with pytest.raises(AlreadyExists):
        create(plane, "cluster_6", key="6")
    assert create(plane, "theirs", key="k", caller=OTHER) == theirs


def test_a_repeated_call_in_the_same_commit_is_made_once(plane):
    from twisted.internet.defer import ensureDeferred

    uri = next(u for u in PROCEDURES if u.endswith(".create_routercluster"))
    answers = []
    for _ in range(5):
        work = plane.plane.invoke(ADMIN, uri, ({"name": "shop"},), {"idempotency_key": "k"})
        ensureDeferred(work).addBoth(answers.append)
    plane.settle()
    assert len(answers) == 5
    assert all(answer == answers[0] for answer in answers)
    assert len(plane.stored(CLUSTERS)) == 1
    assert plane.topics() == ["routercluster_created"]


def test_outcomes_survive_the_end_of_the_process(tmp_path):
    plane = TestPlane(tmp_path / "store")
    first = create(plane)
    plane.close()
    again = TestPlane(tmp_path / "store")
    assert create(again) == first
    again.close()


def test_events_of_a_refused_call_are_not_stored_and_those_of_a_made_one_are(plane):
    cluster = create(plane)
    plane.call("add_routercluster_workergroup", cluster["oid"], {"name": "web"}, idempotency_key="g")
    before = len(plane.stored(EVENTS))
    with pytest.raises(AlreadyExists):
        plane.call("add_routercluster_workergroup", cluster["oid"], {"name": "web"}, idempotency_key="h")
    assert len(plane.stored(EVENTS)) == before == 2
    assert len(plane.stored(GROUPS)) == 1
    assert plane.topics() == ["routercluster_created", "routercluster_workergroup_added"]
