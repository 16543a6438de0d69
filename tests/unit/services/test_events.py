"""The event log: paged, searched, and each event with whom it is about and how much it matters."""

import pytest

from controlplane.errors import InvalidArgument, NoSuchObject
from controlplane.records.events import EVENT_TYPES, EventLevel
from controlplane.services import events as service

LIST = "controlplane.event.list_events"
GET = "controlplane.event.get_event"
SPEC = {"type": "process", "version": "1.0", "properties": {"command": ["sleep", "100"]}}


@pytest.fixture
def busy(plane):
    """Eight events: profile, cluster and action, three workers, a node, and a cluster that is on its way."""
    plane.call("create_profile", {"name": "sleeper", "spec": SPEC})
    plane.call("create_cluster", {"name": "shop", "profile": "sleeper", "desired": 3})
    plane.call("pair_node", pubkey="ab" * 32, authid="edge1")
    return plane


def seqs(page) -> list[int]:
    return [event["seq"] for event in page["events"]]


def walk(plane, limit, **arguments) -> list[int]:
    """All pages of a list, as a caller goes through them."""
    page = plane.call(LIST, limit=limit, **arguments)
    found = seqs(page)
    while page["next"] is not None:
        page = plane.call(LIST, limit=limit, **arguments, marker=page["next"])
        assert len(page["events"]) <= limit
        found += seqs(page)
    return found


def test_each_event_says_whom_it_is_about_and_how_much_it_matters(busy):
    shop = busy.call("get_cluster", "shop")
    found = {
        (e["topic"].rpartition(".on_")[2], e["object_type"], e["object_name"], e["level"], e["action"])
        for e in busy.call(LIST)["events"]
    }
    assert found == {
        ("profile_created", "profile", "sleeper", "INFO", None),
        ("cluster_created", "cluster", "shop", "INFO", None),
        ("action_started", "cluster", "shop", "INFO", "CLUSTER_CREATE"),
        ("worker_created", "worker", None, "DEBUG", None),
        ("node_paired", "node", "edge1", "INFO", None),
    }
    started = busy.call(LIST, filters={"action": "CLUSTER_CREATE"})["events"]
    assert [(e["object_oid"], e["status"]) for e in started] == [(shop["oid"], "RUNNING")]
    assert {e["cluster_oid"] for e in busy.call(LIST, filters={"object_type": "worker"})["events"]} == {shop["oid"]}


def test_filters_pick_by_what_events_are_about(busy):
    shop = busy.call("get_cluster", "shop")["oid"]
    assert len(busy.call(LIST, filters={"level": ["DEBUG", "ERROR"]})["events"]) == 3
    assert len(busy.call(LIST, filters={"cluster_oid": shop})["events"]) == 5
    assert len(busy.call(LIST, filters={"cluster_oid": shop, "level": "DEBUG"})["events"]) == 3
    assert len(busy.call(LIST, filters={"object_name": "edge1"})["events"]) == 1
    assert busy.call(LIST, filters={"object_name": "nobody"})["events"] == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("looked_at_max", [1, 2, 20_000])
def test_every_order_is_paged_without_a_gap_and_without_twins(busy, monkeypatch, limit, looked_at_max):
    monkeypatch.setattr(service, "LOOKED_AT_MAX", looked_at_max)
    all_of_them = seqs(busy.call(LIST, sort="level"))
    whole = sorted(all_of_them)
    assert len(whole) == 7
    assert walk(busy, limit) == walk(busy, limit, sort="time") == whole
    assert walk(busy, limit, sort="time:desc") == whole[::-1]
    assert walk(busy, limit, sort="level,seq:desc") == sorted(
        whole, key=lambda seq: (busy.call(GET, seq)["level"], -seq)
    )
    debug = {"filters": {"level": "DEBUG"}}
    chosen = [seq for seq in whole if busy.call(GET, seq)["level"] == "DEBUG"]
    assert walk(busy, limit, **debug) == chosen
    assert walk(busy, limit, sort="seq:desc", **debug) == chosen[::-1]
    assert walk(busy, limit, sort="seq:desc", after=whole[2]) == whole[:2:-1]


@pytest.mark.parametrize(
    ("sort", "backwards"),
    [
        ("seq:desc,level", True),
        ("time:desc, seq:desc", True),
        ("time,seq", False),
        ("time:asc", False),
        ("time:desc,seq", None),
        ("time:desc,level", None),
        ("level", None),
    ],
)
def test_orders_that_are_that_of_the_store_read_no_more_than_they_return(busy, sort, backwards):
    def read() -> int:
        calls = []
        original = service.event_view
        service.event_view = lambda event: calls.append(event) or original(event)
        try:
            found = seqs(busy.call(LIST, sort=sort, limit=2))
        finally:
            service.event_view = original
        if backwards is not None:
            assert found == sorted(found, reverse=backwards)
        return len(calls)

    assert read() == (7 if backwards is None else 2)


def test_what_is_no_order_no_field_and_no_page_is_refused(busy):
    for wrong in ({"sort": "size"}, {"sort": "time:up"}, {"sort": " "}, {"filters": {"oid": 1}}):
        with pytest.raises(InvalidArgument):
            busy.call(LIST, **wrong)
    with pytest.raises(InvalidArgument, match="marker"):
        busy.call(LIST, sort="level", marker=999)


def test_one_event_is_found_by_its_number(busy):
    last = busy.call(LIST)["last"]
    assert busy.call(GET, last)["topic"] == "controlplane.node.on_node_paired"
    with pytest.raises(NoSuchObject):
        busy.call(GET, last + 1)


def test_what_is_for_administrators_is_nobody_elses_by_number_either(busy):
    viewer = busy.user("eve", "viewer")
    first = seqs(busy.call(LIST, filters={"object_type": "profile"}))[0]
    assert busy.call(GET, first)["object_type"] == "profile"
    with pytest.raises(NoSuchObject):
        busy.call(GET, first, caller=viewer)
    assert "profile" not in {e["object_type"] for e in busy.call(LIST, sort="level", caller=viewer)["events"]}


def test_there_are_events_of_every_level():
    assert {kind.level for kind in EVENT_TYPES} == set(EventLevel)


def test_a_marker_that_no_event_has_yet_is_an_error(busy):
    last = busy.call(LIST)["last"]
    assert seqs(busy.call(LIST, marker=last)) == []
    for sort in (None, "seq:desc", "level"):
        with pytest.raises(InvalidArgument, match=f"marker is no event yet; the last one is {last}"):
            busy.call(LIST, marker=last + 1, sort=sort)
