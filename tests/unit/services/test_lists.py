"""Pages of lists: in every order whole, without a gap and without twins, and no more is read than has to be."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InvalidArgument
from controlplane.services import lists
from controlplane.store.tables import Table

SPEC = {"type": "process", "properties": {"command": ["sleep", "9"]}}
NAMES = ["dry", "bay", "ask", "cow", "fig", "elm", "gum"]
CLUSTERS_OF, ACTIONS_OF = "controlplane.cluster.list_clusters", "controlplane.action.list_actions"


@pytest.fixture
def many(plane):
    plane.call("create_profile", {"name": "sleeper", "spec": SPEC})
    for name in NAMES:
        plane.now += 1_000
        plane.call("controlplane.cluster.create_cluster", {"name": name, "profile": "sleeper"})
    return plane


def pages(plane, uri, limit, **given):
    found, marker = [], None
    while True:
        page = plane.call(uri, limit=limit, marker=marker, **given)
        found += page
        if len(page) < limit:
            return found
        marker = page[-1]["oid"]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
@pytest.mark.parametrize("uri", [CLUSTERS_OF, ACTIONS_OF])
def test_pages_of_an_order_that_a_table_has_are_those_of_any_order(many, uri, limit):
    for sort, key, reverse in (
        (None, "oid" if uri == CLUSTERS_OF else "created", False),
        ("oid", "oid", False),
        ("oid:desc", "oid", True),
        ("name", "name", False),
        ("name:desc", "name", True),
        ("created", "created", False),
        ("created:desc", "created", True),
        ("created:asc", "created", False),
        ("status,name", "name", False),
    ):
        found = pages(many, uri, limit, sort=sort)
        values = [each[key] for each in found]
        assert values == sorted(values, reverse=reverse)
        assert len({each["oid"] for each in found}) == len(found) == len(NAMES)


def test_filters_hold_in_every_order(many):
    chosen = {"filters": {"name": ["cow", "dry", "bay"]}}
    for sort in (None, "oid:desc", "name", "name:desc", "created"):
        assert {each["name"] for each in pages(many, CLUSTERS_OF, 1, sort=sort, **chosen)} == {"cow", "dry", "bay"}
    ask = many.call("controlplane.cluster.get_cluster", "ask")["oid"]
    for sort in (None, "created:desc", "status"):
        about = pages(many, ACTIONS_OF, 1, sort=sort, filters={"cluster_oid": ask})
        assert [each["cluster_name"] for each in about] == ["ask"]
    for nothing in ("nonsense", 7, None):
        assert list(many.call(ACTIONS_OF, filters={"cluster_oid": nothing})) == []


@pytest.mark.parametrize("sort", [None, "oid:desc", "name", "name:desc", "created"])
def test_a_marker_that_is_not_in_the_list_is_refused_in_every_order(many, sort):
    ask = many.call("controlplane.cluster.get_cluster", "ask")["oid"]
    for marker, filters in (("nonsense", None), ("0" * 32, None), (ask, {"name": "cow"})):
        with pytest.raises(InvalidArgument, match="marker"):
            many.call(CLUSTERS_OF, sort=sort, marker=marker, filters=filters)


@pytest.mark.parametrize("sort", [None, "oid:desc", "name", "name:desc"])
def test_no_more_is_read_than_a_page_needs(many, monkeypatch, sort):
    read = []
    original = Table.decode
    monkeypatch.setattr(Table, "decode", lambda table, data: read.append(table.noun) or original(table, data))
    middle = many.call(CLUSTERS_OF, sort=sort, limit=4)[-1]["oid"]
    read.clear()
    assert len(many.call(CLUSTERS_OF, sort=sort, limit=2, marker=middle)) == 2
    assert read.count("cluster") <= 4


class Row(NamedTuple):
    number: int
    size: int | None
    colour: str | None


FIELDS = {"size": lambda row: row.size, "colour": lambda row: row.colour}
ROWS = st.lists(
    st.tuples(st.none() | st.integers(0, 5), st.none() | st.sampled_from(["blue", "grey", "red"])), max_size=60
)
DIRECTIONS = st.sampled_from(["", ":asc", ":desc"])


@given(ROWS, st.permutations(["size", "colour"]), DIRECTIONS, DIRECTIONS, st.integers(1, 20), st.integers(1, 2))
def test_a_page_is_the_beginning_of_the_whole_list_in_any_order(values, names, first, second, limit, count):
    rows = [Row(number, *value) for number, value in enumerate(values)]
    keys = list(zip(names, (first, second), strict=True))[:count]
    whole = list(rows)
    for name, direction in reversed(keys):
        whole.sort(
            key=lambda row, name=name: (
                (getattr(row, name) is not None, getattr(row, name) or 0)
                if name == "size"
                else getattr(row, name) or ""
            ),
            reverse=direction == ":desc",
        )
    sort = ",".join(name + direction for name, direction in keys)
    asked = {"filters": None, "sort": sort, "fields": FIELDS, "oid": lambda row: str(row.number)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "HELD_MIN", 0)
        assert lists.select(rows, limit=None, marker=None, **asked) == whole
        assert lists.select(iter(rows), limit=limit, marker=None, **asked) == whole[:limit]
        for place, row in enumerate(whole[:3]):
            page = lists.select(iter(rows), limit=limit, marker=str(row.number), **asked)
            assert page == whole[place + 1 :][:limit]


def test_a_page_of_a_long_list_holds_few_of_it_at_a_time():
    alive = set()

    class Big:
        def __init__(self, number):
            self.number = number
            alive.add(number)
            assert len(alive) <= lists.HELD_MIN + lists.HELD_PER_ASKED * 10 + 2

        def __del__(self):
            alive.discard(self.number)

    found = lists.select(
        (Big(number * 7919 % 20_011) for number in range(20_011)),
        filters=None,
        sort="number:desc",
        limit=10,
        marker=None,
        fields={"number": lambda each: each.number},
        oid=lambda each: str(each.number),
    )
    assert [each.number for each in found] == list(range(20_010, 20_000, -1))


@pytest.mark.parametrize(("sort", "named"), [("nothing", "'nothing'"), ("name,,oid", "''"), ("name,x:desc", "'x'")])
def test_a_field_to_sort_by_that_there_is_not_is_named_at_its_argument(many, sort, named):
    with pytest.raises(InvalidArgument, match=f"sort names {named}, which is none of") as caught:
        many.call(CLUSTERS_OF, sort=sort)
    assert [problem.path for problem in caught.value.problems] == ["$.sort"]


@pytest.mark.parametrize(
    ("uri", "filters", "message"),
    [
        (CLUSTERS_OF, {"status": "SLEEPING"}, "'SLEEPING' is none of STOPPED, STARTING, RUNNING"),
        (CLUSTERS_OF, {"status": ["RUNNING", "running"]}, "'running' is none of STOPPED"),
        (CLUSTERS_OF, {"type": "container"}, "'container' is none of router, generic"),
        (CLUSTERS_OF, {"type": None}, "NoneType is none of router, generic"),
        (CLUSTERS_OF, {"status": {"not": "RUNNING"}}, "dict is none of STOPPED"),
        (ACTIONS_OF, {"status": "DONE"}, "'DONE' is none of WAITING, RUNNING, SUCCEEDED, FAILED, CANCELLED"),
        (ACTIONS_OF, {"action": "CLUSTER_EXPLODE"}, "'CLUSTER_EXPLODE' is none of CLUSTER_CREATE"),
        ("list_workers", {"status": "UP"}, "'UP' is none of PENDING"),
        ("list_workers", {"standby": "true"}, "'true' is neither true nor false"),
        ("list_workers", {"alone": "no"}, "'no' is neither true nor false"),
        ("list_profiles", {"type": "process"}, "'process' is none of "),
        ("list_policies", {"type": "scaling"}, "'scaling' is none of "),
        ("list_all_receivers", {"type": "mail"}, "'mail' is none of webhook, message"),
        ("list_all_receivers", {"action": "JUMP"}, "'JUMP' is none of CLUSTER_SCALE_OUT"),
        ("list_all_receivers", {"enabled": "yes"}, "'yes' is neither true nor false"),
        ("list_services", {"kind": "router"}, "'router' is none of master, agent"),
        ("list_services", {"state": "online"}, "'online' is none of up, down"),
        ("list_events", {"level": "LOUD"}, "'LOUD' is none of DEBUG, INFO"),
    ],
)
def test_a_value_that_a_field_never_has_is_refused_with_those_that_it_can_have(many, uri, filters, message):
    with pytest.raises(InvalidArgument) as refused:
        many.call(uri, filters=filters)
    (problem,) = refused.value.problems
    assert problem.path == f"$.filters.{next(iter(filters))}"
    assert problem.message.startswith(message)
    assert refused.value.next_step


@pytest.mark.parametrize(
    ("uri", "filters", "message"),
    [
        ("list_cluster_workers", {"status": "UP"}, "'UP' is none of PENDING"),
        ("list_cluster_workers", {"standby": 2}, "int is neither true nor false"),
        ("list_receivers", {"type": "mail"}, "'mail' is none of webhook, message"),
        ("list_cluster_policies", {"policy_type": "scaling"}, "'scaling' is none of "),
        ("list_cluster_policies", {"enabled": "yes"}, "'yes' is neither true nor false"),
    ],
)
def test_what_belongs_to_a_cluster_is_asked_for_with_values_that_there_are(many, uri, filters, message):
    with pytest.raises(InvalidArgument) as refused:
        many.call(uri, "ask", filters=filters)
    assert refused.value.problems[0].message.startswith(message)


def test_every_filter_that_is_wrong_is_named_and_values_that_there_are_find_nothing_or_something(many):
    with pytest.raises(InvalidArgument) as refused:
        many.call(CLUSTERS_OF, filters={"status": "SLEEPING", "colour": "red", "type": 7}, sort="shape")
    assert [problem.path for problem in refused.value.problems] == [
        "$.filters.colour",
        "$.sort",
        "$.filters.status",
        "$.filters.type",
    ]
    assert many.call(CLUSTERS_OF, filters={"status": ["DELETING", "ERROR"]}) == []
    assert many.call(CLUSTERS_OF, filters={"status": []}) == []
    assert len(many.call(CLUSTERS_OF, filters={"type": "generic"})) == len(NAMES)
    assert len(many.call("list_profiles", filters={"type": "process-1.0"})) == 1
    assert many.call("list_workers", filters={"standby": True, "alone": False}) == []
