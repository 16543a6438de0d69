"""The audit: what is written of changes that were done and of those that were refused, and that nobody alters it."""

import hashlib
import json

import msgspec
import pytest

from controlplane.core.audit_chain import Verifier
from controlplane.core.masking import MASK, masked
from controlplane.errors import ControlPlaneError, NotAuthorized, UnknownKey
from controlplane.records.audit import AuditEntry, ExportedLink
from controlplane.records.principals import Caller
from controlplane.services.journal import ALL_BURST, CALLER_BURST, CALLER_PAUSE_S
from controlplane.store.catalog import AUDIT, EVENTS
from tests.conftest import ADMIN

SECRET = "sesame"
CONFIG = {
    "realms": [{"name": "office", "roles": [{"name": "staff", "permissions": []}]}],
    "transport": {
        "type": "websocket",
        "auth": {"ticket": {"type": "static", "principals": {"joe": {"ticket": SECRET, "role": "staff"}}}},
    },
}

TRANSPORT = {"transport": CONFIG["transport"]}


def entries(plane, **filters):
    plane.settle()
    return [found["entry"] for found in plane.call("list_audit", limit=1000, **filters)["entries"]]


def links(plane):
    found = plane.call("export_audit")["links"]
    return [msgspec.convert(link, ExportedLink) for link in found]


def test_a_change_is_written_with_who_and_what_before_and_after(plane):
    cluster = plane.call("create_routercluster", {"name": "shop", "label": "old"})
    plane.call("update_routercluster", cluster["oid"], {"label": "new"})
    plane.call("start_routercluster", cluster["oid"])
    plane.call("stop_routercluster", cluster["oid"])
    plane.call("delete_routercluster", cluster["oid"])
    found = entries(plane, object_oid=cluster["oid"])
    assert [entry["action"].rpartition(".")[2] for entry in found] == [
        f"{verb}_routercluster" for verb in ("create", "update", "start", "stop", "delete")
    ]
    assert {(e["outcome"], e["authid"], e["authrole"], e["session"]) for e in found} == {("done", "admin", "admin", 7)}
    create, update, start, _, delete = (
        next(change for change in entry["changes"] if change["type"] == "cluster") for entry in found
    )
    assert (create["before"], create["after"]["name"], create["name"]) == (None, "shop", "shop")
    assert (update["before"]["label"], update["after"]["label"]) == ("old", "new")
    assert set(update["after"]) == {"label"}
    assert start["after"]["run"] is True
    assert (delete["after"], delete["before"]["label"]) == (None, "new")


def test_where_a_caller_comes_from_is_written(plane):
    details = {"session": 7, "authid": "admin", "authrole": "admin", "transport": {"peer": "tcp4:10.1.2.3:4444"}}
    plane.plane.sessions.joined(details)
    plane.call("create_team", team_name="ops")
    assert entries(plane)[-1]["peer"] == "tcp4:10.1.2.3:4444"


def test_secrets_are_never_written(plane):
    cluster = plane.call("create_routercluster", {"name": "office", "config": CONFIG})
    viewer = plane.user("ann", "viewer")
    with pytest.raises(NotAuthorized):
        plane.call("create_routercluster", {"name": "mine", "config": CONFIG}, caller=viewer)
    plane.call("delete_routercluster", cluster["oid"])
    written = b"".join(link.body for link in plane.stored(AUDIT))
    assert b'"staff"' in written
    assert SECRET.encode() not in written
    assert MASK.encode() in written


def test_what_a_secret_is():
    given = {
        "password": "x",
        "Ticket": {"joe": {"ticket": "x", "role": "staff"}},
        "url": "amqp://user:x@host/y",
        "seeds": ["x"],
        "name": "kept",
        "token": None,
        "pin_ticket": 1234,
        "huge": 2**200,
    }
    assert masked(given) == {
        "password": MASK,
        "Ticket": {"joe": {"ticket": MASK, "role": "staff"}},
        "url": f"amqp://{MASK}@host/y",
        "seeds": MASK,
        "name": "kept",
        "token": None,
        "pin_ticket": MASK,
        "huge": "an integer of 201 bits",
    }
    deep = {}
    for _ in range(2000):
        deep = {"a": deep}
    json.dumps(masked(deep))


def test_what_is_refused_is_written_and_changes_nothing_else(plane):
    viewer = plane.user("ann", "viewer")
    with pytest.raises(NotAuthorized):
        plane.call("create_user", authid="eve", role="owner", caller=viewer)
    with pytest.raises(ControlPlaneError):
        plane.call("create_routercluster", {"name": "NO"})
    with pytest.raises(UnknownKey):
        proof = {"authmethod": "cryptosign", "authextra": {"pubkey": "ee" * 32}}
        details = {**proof, "transport": {"peer": "tcp4:1.2.3.4:5"}}
        plane.plane.authenticate("default", details)
    found = entries(plane, outcome="refused")
    assert [(e["action"].rpartition(".")[2], e["authid"], e["error"]) for e in found] == [
        ("create_user", "ann", "wamp.error.not_authorized"),
        ("create_routercluster", "admin", "wamp.error.invalid_configuration"),
        ("login", "", "controlplane.error.unknown_key"),
    ]
    assert found[0]["arguments"] == {"authid": "eve", "role": "owner"}
    assert (found[2]["peer"], found[2]["arguments"]["pubkey"]) == ("1.2.3.4", "ee" * 32)
    assert plane.stored(EVENTS) == []


def test_whoever_is_refused_again_and_again_fills_no_disk(plane):
    viewer = plane.user("ann", "viewer")

    def be_refused(times, caller=viewer):
        for _ in range(times):
            with pytest.raises(NotAuthorized):
                plane.call("create_team", team_name="ops", caller=caller)

    be_refused(CALLER_BURST + 30)
    assert len(entries(plane)) == CALLER_BURST
    plane.clock.advance(CALLER_PAUSE_S)
    be_refused(1)
    assert len(entries(plane)) == CALLER_BURST + 1
    assert entries(plane)[-1]["left_out"] == 30
    # Many callers together do not either.
    for number in range(ALL_BURST):
        be_refused(2, Caller(session=number, authid=f"x{number}", authrole="viewer"))
    assert len(entries(plane)) <= ALL_BURST + 60


def test_a_change_that_is_undone_leaves_a_refusal_only(plane):
    plane.call("create_team", team_name="ops")
    with pytest.raises(ControlPlaneError):
        plane.call("create_team", team_name="ops")
    assert [entry["outcome"] for entry in entries(plane)] == ["done", "refused"]


def test_a_repeated_call_is_one_change(plane):
    for _ in range(3):
        plane.call("create_team", team_name="ops", idempotency_key="once")
    assert [entry["outcome"] for entry in entries(plane)] == ["done"]


def test_entries_are_found_by_who_what_which_and_when(plane):
    plane.user("ann", "admin")
    ann = Caller(session=9, authid="ann", authrole="admin")
    plane.call("create_team", team_name="first")
    plane.now += 10
    team = plane.call("create_team", team_name="second", caller=ann)
    plane.now += 10
    with pytest.raises(ControlPlaneError):
        plane.call("create_team", team_name="second")
    seqs = lambda **filters: [entry["seq"] for entry in entries(plane, **filters)]  # noqa: E731
    assert seqs() == [1, 2, 3]
    assert seqs(authid="ann") == seqs(object_oid=team["oid"]) == [2]
    assert seqs(outcome="refused") == seqs(since=plane.now) == [3]
    assert seqs(until=plane.now) == [1, 2]
    assert seqs(action_prefix="controlplane.user.") == []
    pages, after = [], 0
    while after is not None:
        page = plane.call("list_audit", after=after, limit=1)
        pages.append([record["seq"] for record in page["entries"]])
        after = page["next"]
    assert pages == [[1], [2], [3]]


def test_the_chain_is_whole_and_every_alteration_is_found(plane):
    for number in range(6):
        plane.call("create_team", team_name=f"team_{number}")
    chain = links(plane)
    whole = Verifier()
    assert whole.verify(chain)
    assert (whole.first, whole.last, whole.digest) == (1, 6, chain[-1].digest)
    # With nothing but SHA-256.
    digest = bytes(32)
    for link in chain:
        digest = hashlib.sha256(digest + link.body.encode()).digest()
    assert digest.hex() == chain[-1].digest

    def altered(place, **fields):
        return [*chain[:place], msgspec.structs.replace(chain[place], **fields), *chain[place + 1 :]]

    body = chain[2].body.replace("team_2", "team_X")
    forged = hashlib.sha256(bytes.fromhex(chain[2].previous) + body.encode()).hexdigest()
    for wrong in (
        altered(2, body=body),
        altered(2, body=body, digest=forged),
        altered(0, previous="11" * 32),
        [*chain[:2], *chain[3:]],
        [*chain[:2], chain[3], chain[2], *chain[4:]],
        [*chain[:3], chain[2], *chain[3:]],
    ):
        assert not Verifier().verify(wrong)


def test_what_is_forgotten_leaves_a_chain_that_can_be_verified(limited):
    plane = limited(audit_entries_max=3)
    for number in range(8):
        plane.call("create_team", team_name=f"team_{number}")
    chain = links(plane)
    assert [link.seq for link in chain] == [6, 7, 8]
    assert Verifier().verify(chain)
    assert plane.call("list_audit")["oldest"] == 6


def test_a_very_long_change_is_written_by_its_digest(plane):
    permissions = [{"uri": f"app.{n}", "match": "exact", "allow": {"call": True}} for n in range(900)]
    realms = [{"name": "big", "roles": [{"name": "staff", "permissions": permissions}]}]
    plane.call("create_routercluster", {"name": "big", "config": {"realms": realms, **TRANSPORT}})
    entry = msgspec.json.decode(plane.stored(AUDIT)[-1].body, type=AuditEntry)
    assert len(plane.stored(AUDIT)[-1].body) < 5000
    assert any("sha256" in (change.after or {}) for change in entry.changes)


def test_nobody_but_administrators_reads_it(plane):
    for role in ("operator", "viewer"):
        caller = plane.user("ann", role)
        for verb in ("list_audit", "export_audit"):
            with pytest.raises(NotAuthorized):
                plane.call(verb, caller=caller)
    assert plane.call("list_audit", caller=ADMIN)["last"] >= 0
