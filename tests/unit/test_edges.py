"""Every declared procedure, called as badly as it gets: each call ends in a typed error and changes nothing."""

import json
import math
from typing import Any

import pytest

from controlplane.core.access import ALL_RIGHTS, GRANTABLE, RIGHTS, USER_ROLES, allowed
from controlplane.errors import ControlPlaneError, InternalError, InvalidArgument, NotAuthorized
from controlplane.master.plane import PROCEDURES
from controlplane.records.principals import Caller, Invitation, Principal
from controlplane.records.types import MANAGEMENT_REALM_OID, Oid
from controlplane.services.procedures import Find, Procedure
from controlplane.store.catalog import INVITATIONS, PRINCIPALS

ALL = sorted({procedure.uri: procedure for procedure in PROCEDURES.values()}.items())
PLAIN = [(uri, procedure) for uri, procedure in ALL if type(procedure) is Procedure]
ALIKE = {
    (type(procedure), procedure.needs, len(procedure.parameters)): (uri, procedure)
    for uri, procedure in ALL
    if type(procedure) is not Procedure
}
"""Of the procedures that a table makes, one of each kind: the others differ in nothing but their names."""

SECRET_READS = (
    *(
        "_config",
        "list_grants",
        "_profile",
        "_profiles",
        "_policy",
        "_policies",
        "_receiver",
        "_receivers",
        "preview_adoption",
    ),
    *("_logs", "_results"),
)
"""What looks at secrets only, and therefore is not for everybody who may look."""

DECLARED = PLAIN + list(ALIKE.values())
HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    2**200,
    1.5,
    math.nan,
    math.inf,
    "",
    "x",
    "a" * 100_000,
    "\x00",
    "\ud800",
    "0" * 64,
    "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e",
    b"bytes",
    [],
    [[[[]]]],
    {},
    {"oid": 5},
    {"": None},
    {1: 2},
    {"name": "good_name", "config": {"a": {"b": {}}}},
    {"name": ["x"], "scale": -1, "softlimit": "a", "hardlimit": 2**70},
]
DEEP: Any = []
for _ in range(5000):
    DEEP = [DEEP]
HOSTILE.append(DEEP)
HOSTILE.append({"name": "good_name", "config": {"realms": DEEP}})


def agent(plane) -> Caller:
    node = plane.call("pair_node", pubkey="ab" * 32, authid="edge")
    return Caller(session=9, authid=node["oid"], authrole="agent")


def caller_in(plane, role) -> Caller:
    """Somebody who has logged in with this role."""
    if role == "agent":
        return agent(plane)
    if role == "joining":
        expires = plane.now + 10**9
        record = Invitation(
            oid=Oid(int=7), kind="node", pubkey="77" * 32, realm="default", expires=expires, created=0, created_by="x"
        )
        plane.plane.store.write_now(lambda change: change.rows(INVITATIONS).put(record))
        return Caller(session=10, authid=str(record.oid), authrole="joining")
    if role == "node":
        plane.call("pair_node", pubkey="ba" * 32, authid="agentless")
        return Caller(session=13, authid="agentless", authrole="node")
    if role in USER_ROLES:
        number = 100 + USER_ROLES.index(role)
        name = f"the_{role}"
        record = Principal(oid=Oid(int=number), authid=name, pubkey=f"{number:064x}", role=role, created=0)
        plane.plane.store.write_now(lambda change: change.rows(PRINCIPALS).put(record))
        return Caller(session=11, authid=name, authrole=role)
    return Caller(session=12, authid="somebody", authrole=role)


def caller_for(plane, procedure) -> Caller:
    return caller_in(plane, {"agent": "agent", "join": "joining"}.get(procedure.needs, "owner"))


def arguments(plane, procedure) -> dict[str, Any]:
    """Good arguments, so that one at a time can be bad."""
    cluster = plane.call("create_routercluster", {"name": "cluster_one"})
    node = plane.call("pair_node", pubkey="cd" * 32, authid="node_one")
    plane.call("add_routercluster_node", cluster["oid"], node["oid"])
    group = plane.call("add_routercluster_workergroup", cluster["oid"], {"name": "group_one"})
    good = {
        "routercluster_oid": cluster["oid"],
        "routercluster_name": "cluster_one",
        "routercluster": {"name": "cluster_two"},
        "node_oid": node["oid"],
        "node_name": "node_one",
        "workergroup_oid": group["oid"],
        "workergroup_name": "group_one",
        "workergroup": {"name": "group_two"},
        "worker_oid": "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e",
        "scale": 3,
        "changes": {"zone": "rack1"},
        "user_oid": plane.call("create_user", authid="user_one", role="viewer", pubkey="12" * 32)["oid"],
        "user_name": "user_one",
        "user": {"role": "operator"},
        "role": "viewer",
        "team_oid": plane.call("create_team", team_name="team_one")["oid"],
        "team_name": "team_two",
        "holder_oid": plane.call("get_user_by_name", "user_one")["oid"],
        "right": "operate",
        "invitation_oid": plane.call("invite_node", pubkey="34" * 32)["oid"],
        "pubkey": "ef" * 32,
        "authid": "node_two",
        "question_oid": "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e",
        "answer": {},
        "realm_name": "default",
        "mrealm": {"name": "another"},
        "mrealm_name": "default",
        "mrealm_oid": str(MANAGEMENT_REALM_OID),
        "node_authid": "node_one",
        "state": {},
        "imported": {
            "noun": "user",
            "oid": "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e",
            "authid": "user_two",
            "pubkey": "56" * 32,
            "role": "viewer",
        },
        "webcluster_oid": cluster["oid"],
        "webcluster_name": "cluster_one",
        "webservice_oid": "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e",
        "path": "/",
        "arealm_oid": "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e",
        "arealm_name": "cluster_one",
        "worker_id": "worker1",
        "arguments": [],
        "keywords": {},
        "report": {"boot": "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e", "sequence": 1},
        "facts": {
            "version": "1",
            "machine": "here",
            "address": "127.0.0.1",
            "sockets": "/run/x",
            "drivers": ["router"],
            "ports": [1, 2],
        },
    }
    if procedure.uri.split(".")[1] in ("cluster", "action", "profile", "policy", "receiver"):
        good.update(_of_generic_clusters(plane, procedure))
    good["type_name"] = "process-1.0"
    good["seq"] = 1
    good["worker"] = "3eccb1fd-251b-4eda-bee9-06b3d24b1c5e"
    good["adoption"] = {"type": "process", "node": "node_one", "identity": "1"}
    if procedure.uri.startswith("controlplane.worker.") and procedure.writes:
        good.update(_of_workers_alone(plane))
    good["operation"] = "restart"
    good["token"] = good["question_oid"]
    if procedure.uri.endswith("get_worker_logs"):
        good.update(_of_workers_alone(plane))
    if procedure.uri.endswith("send_message"):
        plane.call("create_receiver", "generic_one", {**good["definition"], "name": "post", "type": "message"})
        good.update(receiver="post", message_id="first")
    if procedure.uri.endswith("report_order"):
        good["report"] = {"oid": good["question_oid"], "status": "DONE"}
    if procedure.uri.endswith("collect_cluster_attributes"):
        good["path"] = "$.status"
    if procedure.uri.endswith("unpair_node_by_pubkey"):
        good["pubkey"] = node["pubkey"]
    if procedure.uri.endswith("update_routercluster"):
        good["routercluster"] = {"label": "new"}
    if procedure.uri.endswith("remove_grant"):
        plane.call("add_grant", cluster["oid"], good["holder_oid"], "manage")
    if procedure.uri.endswith("remove_team_member"):
        plane.call("add_team_member", good["team_oid"], good["user_oid"])
    return {p.name: good[p.name] for p in procedure.parameters if p.required}


def _of_workers_alone(plane) -> dict[str, Any]:
    spec = {"type": "process", "properties": {"command": ["sleep", "1"]}}
    plane.call("create_profile", {"name": "sleeper", "spec": spec})
    made = plane.call("create_worker", {"name": "clock", "profile": "sleeper"})
    return {"worker": made["target"], "definition": {"profile": "sleeper"}, "changes": {"name": "timer"}}


def _of_generic_clusters(plane, procedure) -> dict[str, Any]:
    spec = {"type": "process", "properties": {"command": ["sleep", "1"]}}
    plane.call("create_profile", {"name": "sleeper", "spec": spec})
    plane.call("create_profile", {"name": "unused", "spec": spec})
    made = plane.call("create_cluster", {"name": "generic_one", "profile": "sleeper", "desired": 1})
    if not procedure.uri.endswith("cancel_action"):
        plane.call("cancel_action", "generic_one", made["action_oid"])
    of_cluster = procedure.uri.endswith("create_cluster")
    rule = {"type": "deletion", "properties": {"criteria": "OLDEST_FIRST"}}
    plane.call("create_policy", {"name": "aging", "spec": rule})
    if procedure.uri.endswith(("update_cluster_policy", "detach_policy", "get_cluster_policy")):
        plane.call("attach_policy", "generic_one", "aging")
    if procedure.uri.startswith("controlplane.policy."):
        spec = rule
    signal = {"name": "bell", "action": "CLUSTER_SCALE_OUT", "params": {"count": 2}}
    definition: dict[str, Any] = {"name": "generic_two", "spec": spec}
    if of_cluster:
        definition = {"name": "generic_two", "profile": "sleeper"}
    if procedure.uri.startswith("controlplane.receiver."):
        definition = signal
        if not procedure.uri.endswith("create_receiver"):
            plane.call("create_receiver", "generic_one", signal)
    return {
        "cluster": made["oid"],
        "action_oid": made["action_oid"],
        "profile": "unused",
        "policy": "aging",
        "enabled": False,
        "definition": definition,
        "receiver": "bell",
        "changes": {"name": "gong"} if "receiver" in procedure.uri else {"metadata": {"team": "red"}},
        "workers": [plane.call("list_cluster_workers", made["oid"])[0]["oid"]],
    }


def refused(plane, uri, caller, *args, **kwargs) -> ControlPlaneError:
    before = plane.dump()
    published = len(plane.wire.published)
    with pytest.raises(ControlPlaneError) as caught:
        plane.call(uri, *args, caller=caller, **kwargs)
    problem = caught.value
    assert not isinstance(problem, InternalError), problem
    assert problem.uri in ControlPlaneError.known
    assert 0 < len(str(problem)) <= 2000
    assert problem.next_step, problem
    json.dumps(problem.details()).encode()
    assert "Traceback" not in str(problem)
    assert plane.dump() == before
    assert len(plane.wire.published) == published
    return problem


@pytest.mark.parametrize(("uri", "procedure"), DECLARED)
def test_hostile_arguments_end_in_typed_errors_and_change_nothing(plane, uri, procedure):
    caller = caller_for(plane, procedure)
    good = arguments(plane, procedure)
    for parameter in procedure.parameters:
        for value in HOSTILE:
            before = plane.dump()
            try:
                plane.call(uri, caller=caller, **{**good, parameter.name: value})
            except ControlPlaneError as problem:
                assert not isinstance(problem, InternalError), (parameter.name, value, problem)
                assert problem.uri in ControlPlaneError.known
                assert problem.next_step, problem
                assert len(str(problem)) <= 2000
                json.dumps(problem.details()).encode()
                assert plane.dump() == before


@pytest.mark.parametrize(("uri", "procedure"), PLAIN)
def test_missing_and_extra_arguments_are_all_named(plane, uri, procedure):
    caller = caller_for(plane, procedure)
    good = arguments(plane, procedure)
    for name in good:
        rest = {key: value for key, value in good.items() if key != name}
        problem = refused(plane, uri, caller, **rest, nonsense=1)
        assert isinstance(problem, InvalidArgument)
        assert {p.path for p in problem.problems} == {f"$.{name}", "$.nonsense"}
    assert isinstance(refused(plane, uri, caller, **good, **{"\ud800x" * 50: 1}), InvalidArgument)
    too_many = [*good.values(), *[None] * 20]
    assert isinstance(refused(plane, uri, caller, *too_many), InvalidArgument)
    if good:
        first = next(iter(good))
        problem = refused(plane, uri, caller, good[first], **good)
        assert problem.problems[0] == (f"$.{first}", "was given twice")


@pytest.mark.parametrize(("uri", "procedure"), PLAIN)
def test_positional_and_keyword_arguments_mean_the_same(plane, uri, procedure):
    caller = caller_for(plane, procedure)
    good = arguments(plane, procedure)
    required = [p.name for p in procedure.parameters if p.required]
    assert procedure.bind([good[name] for name in required], {}) == procedure.bind([], good)
    assert caller


@pytest.mark.parametrize(("uri", "procedure"), PLAIN)
def test_unknown_objects_are_said_to_be_unknown(plane, uri, procedure):
    caller = caller_for(plane, procedure)
    good = arguments(plane, procedure)
    for name in good:
        if name in ("cluster", "profile", "policy", "receiver", "worker"):
            problem = refused(plane, uri, caller, **{**good, name: "11111111-1111-4111-8111-111111111111"})
            assert problem.uri == "crossbar.error.no_such_object"
        if name.endswith("_oid") and name not in ("question_oid",):
            problem = refused(plane, uri, caller, **{**good, name: "11111111-1111-4111-8111-111111111111"})
            assert problem.uri == "crossbar.error.no_such_object"
            assert problem.subject is not None
            problem = refused(plane, uri, caller, **{**good, name: "no-oid"})
            reader = next(each.reader for each in procedure.parameters if each.name == name)
            if isinstance(reader, Find):
                assert (problem.uri, problem.subject["oid"]) == ("crossbar.error.no_such_object", "no-oid")
            else:
                assert problem.uri == "wamp.error.invalid_argument"
                assert problem.problems[0].path == f"$.{name}"


@pytest.mark.parametrize(("uri", "procedure"), DECLARED)
def test_nobody_may_call_without_the_right(plane, uri, procedure):
    good = arguments(plane, procedure)
    for role in ("", "anonymous", "ADMIN", "nobody", *RIGHTS):
        if allowed(role, procedure.needs):
            continue
        caller = caller_in(plane, role)
        assert isinstance(refused(plane, uri, caller, **good), NotAuthorized)
        if role in USER_ROLES and procedure.cluster_argument and procedure.needs in GRANTABLE:
            # Whoever may be granted the right is told what is wrong with arguments, and nothing of what there is.
            unknown = {procedure.cluster_argument: "11111111-1111-4111-8111-111111111111"}
            assert isinstance(refused(plane, uri, caller, **{**good, **unknown}), NotAuthorized)
        else:
            assert isinstance(refused(plane, uri, caller, 1, 2, 3), NotAuthorized)


@pytest.mark.parametrize(("uri", "procedure"), DECLARED)
def test_who_is_not_in_the_store_may_call_nothing(plane, uri, procedure):
    good = arguments(plane, procedure)
    for role in RIGHTS:
        for authid in ("somebody", "11111111-1111-4111-8111-111111111111"):
            caller = Caller(session=1, authid=authid, authrole=role)
            assert isinstance(refused(plane, uri, caller, **good), NotAuthorized)


@pytest.mark.parametrize(("uri", "procedure"), ALL)
def test_every_procedure_is_documented_and_declares_a_right(uri, procedure):
    assert procedure.text.endswith(".")
    assert procedure.needs in ALL_RIGHTS
    if not uri.startswith("crossbarfabriccenter."):
        assert procedure.writes or procedure.needs != "manage" or procedure.uri.endswith(SECRET_READS)


@pytest.mark.parametrize(("uri", "procedure"), DECLARED)
def test_only_errors_that_are_declared_are_raised(plane, uri, procedure):
    """Beside those that every procedure can raise."""
    caller = caller_for(plane, procedure)
    good = arguments(plane, procedure)
    allowed_kinds = (*procedure.raises, InvalidArgument, NotAuthorized)
    for parameter in procedure.parameters:
        for value in HOSTILE:
            try:
                plane.call(uri, caller=caller, **{**good, parameter.name: value})
            except ControlPlaneError as problem:
                assert isinstance(problem, allowed_kinds), (uri, type(problem))


def test_the_seed_document_is_covered():
    verbs = """add_routercluster_node add_routercluster_workergroup create_routercluster delete_routercluster
        get_routercluster get_routercluster_by_name get_routercluster_node get_routercluster_workergroup
        get_routercluster_workergroup_by_name list_routercluster_nodes list_routercluster_workergroups
        list_routerclusters remove_routercluster_node remove_routercluster_workergroup start_routercluster
        stat_routercluster stat_routercluster_workergroup stop_routercluster scale_routercluster_workergroup
        list_routercluster_workers get_routercluster_worker""".split()
    for prefix in (
        "crossbarfabriccenter.mrealm.routercluster.",
        "crossbarfabriccenter.mrealm.cluster.",
        "crossbarfabriccenter.routercluster.",
    ):
        assert {prefix + verb for verb in verbs} <= PROCEDURES.keys()


def test_oids_are_uuids():
    assert Oid("3eccb1fd-251b-4eda-bee9-06b3d24b1c5e")
