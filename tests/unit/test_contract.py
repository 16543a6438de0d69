import copy

import pytest

from controlplane import contract
from controlplane.errors import ControlPlaneError


@pytest.fixture(scope="module")
def documents():
    return contract.documents()


def test_nothing_breaks_when_nothing_changes(documents):
    assert contract.breaking_changes(documents, documents) == []
    assert contract.breaking_changes({}, documents) == []


def procedure(documents, verb):
    return next(p for p in documents["procedures.json"]["procedures"] if p["uri"].endswith("." + verb))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["procedures.json"]["procedures"].pop(0), "is gone"),
        (lambda d: procedure(d, "start_routercluster")["aliases"].pop(), "is no longer called"),
        (lambda d: procedure(d, "start_routercluster")["arguments"].pop(), "has no argument"),
        (
            lambda d: procedure(d, "start_routercluster")["arguments"].append({"name": "force", "required": True}),
            "needs an argument force",
        ),
        (lambda d: procedure(d, "add_routercluster_node")["arguments"].reverse(), "in another order"),
        (lambda d: procedure(d, "list_nodes").update(result={"type": "object"}), "returns something else"),
        (lambda d: d["events.json"]["events"].pop(0), "event controlplane.routercluster.on_routercluster_created"),
        (lambda d: d["errors.json"]["errors"].pop(0), "error"),
        (lambda d: d["records.json"]["records"]["WorkerView"]["properties"].pop("pid"), "has no field pid"),
        (
            lambda d: d["records.json"]["records"]["WorkerView"]["properties"].update(pid={"type": "string"}),
            "field pid of record WorkerView has another type",
        ),
        (lambda d: d["records.json"]["records"].pop("WorkerView"), "record WorkerView is gone"),
    ],
)
def test_what_callers_would_miss_is_told(documents, change, told):
    after = copy.deepcopy(documents)
    change(after)
    assert any(told in line for line in contract.breaking_changes(documents, after))


def test_what_is_added_breaks_nothing(documents):
    after = copy.deepcopy(documents)
    procedure(after, "start_routercluster")["arguments"].append({"name": "force", "required": False})
    procedure(after, "start_routercluster")["aliases"].append("another.name")
    after["records.json"]["records"]["WorkerView"]["properties"]["more"] = {"type": "string"}
    assert contract.breaking_changes(documents, after) == []


def test_a_breaking_change_is_not_written_without_a_new_major_version(documents, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contract, "FOLDER", tmp_path)
    assert contract.main([]) == 0
    assert contract.main(["--check"]) == 0
    less = copy.deepcopy(documents)
    less["procedures.json"]["procedures"].pop(0)
    monkeypatch.setattr(contract, "documents", lambda: less)
    assert contract.main(["--check"]) == 1
    assert contract.main([]) == 1
    assert "this breaks callers" in capsys.readouterr().err
    monkeypatch.setattr(contract, "CONTRACT_VERSION", "2.0")
    assert contract.main([]) == 0


def test_every_error_is_published(documents):
    assert {error["uri"] for error in documents["errors.json"]["errors"]} == set(ControlPlaneError.known)
