"""Taking over what Crossbar.io's master keeps: the database is made with Crossbar.io's own classes for it."""

import pytest

from controlplane.cli.imports import find_objects
from controlplane.errors import ControlPlaneError, NoSuchObject, StoreRefused
from controlplane.records.imports import noun_of
from controlplane.records.types import to_wire
from controlplane.store.foreign import read_foreign
from tests.upstream_store import CLUSTER, GROUP, KEY, NODE, USER, USER_KEY, make_master


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    directory = tmp_path_factory.mktemp("upstream")
    make_master(directory)
    return directory


def take_all(plane, found):
    return [plane.call("import_object", imported=to_wire(imported)) for _, imported in found.objects]


def test_what_is_there_is_found_and_what_cannot_be_taken_is_said(master):
    found = find_objects(read_foreign(master), "default")
    assert [(noun_of(imported), name) for name, imported in found.objects] == [
        ("user", "joe@example.com"),
        ("node", "edge1"),
        ("router cluster", "shop"),
        ("worker group", "shop/web"),
        ("membership", f"shop/{NODE}"),
    ]
    assert {(line.noun, line.name) for line in found.refused} == {
        ("node", "edge2"),
        ("user", "superuser"),
        ("web cluster", "pages"),
        ("application role", "reader"),
        ("management realm", "other"),
    }
    assert all(line.reason for line in found.refused)


def test_it_is_taken_over_under_the_same_oids_and_names(plane, master):
    taken = take_all(plane, find_objects(read_foreign(master), "default"))
    assert [each["created"] for each in taken] == [True] * 5
    cluster = plane.call("get_routercluster", str(CLUSTER))
    assert (cluster["name"], cluster["label"], cluster["tags"]) == ("shop", "The shop", ("a",))
    assert (cluster["status"], cluster["owner_oid"]) == ("STOPPED", str(USER))
    group = plane.call("get_routercluster_workergroup", str(CLUSTER), str(GROUP))
    assert (group["name"], group["scale"]) == ("web", 3)
    member = plane.call("get_routercluster_node", str(CLUSTER), str(NODE))
    assert (member["softlimit"], member["hardlimit"]) == (2, 4)
    node = plane.call("crossbarfabriccenter.mrealm.get_node", str(NODE))
    assert (node["authid"], node["pubkey"], node["cluster_ip"]) == ("edge1", KEY, "127.0.0.1")
    user = plane.call("get_user", str(USER))
    assert (user["authid"], user["role"], user["pubkey"]) == ("joe@example.com", "admin", USER_KEY)


def test_a_second_time_changes_nothing(plane, master):
    found = find_objects(read_foreign(master), "default")
    take_all(plane, found)
    before = plane.dump()
    assert [each["created"] for each in take_all(plane, found)] == [False] * 5
    assert plane.dump() == before


def test_what_is_in_the_way_is_said_and_the_rest_is_taken(plane, master):
    plane.call("create_routercluster", {"name": "shop"})
    refusals = []
    for name, imported in find_objects(read_foreign(master), "default").objects:
        try:
            plane.call("import_object", imported=to_wire(imported))
        except ControlPlaneError as problem:
            refusals.append((name, problem.uri))
    assert refusals == [
        ("shop", "crossbar.error.already_exists"),
        ("shop/web", "crossbar.error.no_such_object"),
        (f"shop/{NODE}", "crossbar.error.no_such_object"),
    ]
    assert plane.call("get_node_by_name", "edge1")["oid"] == str(NODE)


def test_the_database_is_not_changed_by_reading_it(master):
    files = sorted(master.rglob("data.mdb"))
    before = [file.read_bytes() for file in files]
    read_foreign(master)
    assert [file.read_bytes() for file in files] == before


def test_what_is_no_master_is_refused_in_words(master, tmp_path):
    with pytest.raises(StoreRefused, match="is no node directory"):
        read_foreign(tmp_path)
    (tmp_path / ".db-controller").mkdir()
    (tmp_path / ".db-controller" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreRefused, match="cannot be read"):
        read_foreign(tmp_path)
    with pytest.raises(NoSuchObject, match="default, other"):
        find_objects(read_foreign(master), "nowhere")
