"""Who may do what, over a real router: the whole table, joining, keys that change, keys that are void, and attacks."""

import itertools
import json
import os
import subprocess
import sys

import pytest
import pytest_twisted
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.message import Goodbye
from autobahn.wamp.types import PublishOptions, RegisterOptions, SubscribeOptions
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from controlplane.clock import limit
from controlplane.core.access import ACTIONS, RIGHTS, USER_ROLES, Decision, decide
from controlplane.core.edge_rights import EDGE_PREFIX, EDGE_ROLE, HEARTBEAT_TOPIC, WORKER_HEARTBEAT_TOPIC, edge_may
from controlplane.errors import (
    ControlPlaneError,
    NodeUnpaired,
    NotAttached,
    NotAuthorized,
    NotOffered,
    TooManyLogins,
    UnknownKey,
)
from controlplane.keys import KEY_FILE, make_key, public_key, read_key
from controlplane.master.plane import PROCEDURES
from controlplane.records.events import EVENT_TYPES
from controlplane.records.protocol import ASSIGNMENT_TOPIC, QUESTION_TOPIC, TICK_TOPIC
from controlplane.services.identity import needs_of
from controlplane.tokens import read_token
from controlplane.transports import Login
from controlplane.wamp import join_once
from tests.e2e.installation import Installation, end_what_is_left

NUMBERS = itertools.count()
AT_ONCE = 200
FOREIGN = ("com.example.thing", "controlplane.nonsense", "controlplane.master.authenticate", "wamp.session.list")
OF_EDGE_NODES = (
    HEARTBEAT_TOPIC,
    WORKER_HEARTBEAT_TOPIC,
    f"{EDGE_PREFIX}matrix-node.get_status",
    f"{EDGE_PREFIX}matrix-node.worker.w1.shutdown",
    f"{EDGE_PREFIX}matrix-node.on_ready",
    f"{EDGE_PREFIX}matrix-node2.get_status",
    f"{EDGE_PREFIX}matrix.get_status",
    f"{EDGE_PREFIX}matrix-node",
)
ensureDeferred = pytest_twisted.ensureDeferred
INVALID = "wamp.error.invalid_argument"
DENIED = "wamp.error.not_authorized"


async def command(installation, *arguments):
    """Run a command as the administrator; return what it printed."""
    environment = {**os.environ, "CONTROLPLANE_CONNECTION": str(installation.connection)}
    done = await deferToThread(
        subprocess.run,
        [sys.executable, "-m", "controlplane", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_connection(installation):
    installation.connection = installation.directory / "owner.json"
    login = installation.login()
    saved = {"url": login.url, "realm": login.realm, "authid": "admin", "privkey_file": "admin.key"}
    installation.connection.write_text(json.dumps(saved))


@pytest_twisted.async_yield_fixture(scope="module")
async def plane(tmp_path_factory):
    """Router and master, and agents that join with tokens."""
    made = Installation(tmp_path_factory.mktemp("rights"), nodes=0)
    made.agents = {}
    try:
        await made.start()
        write_connection(made)
        yield made
    finally:
        for agent in made.agents.values():
            agent.terminate()
        for agent in made.agents.values():
            agent.wait(30)
        made.stop()
        end_what_is_left(made.directory)


async def start_agent(plane, name, *arguments):
    first = 21000 + 100 * next(NUMBERS)
    ports = ["--first-port", str(first), "--last-port", str(first + 99)]
    state = ["--state-dir", str(plane.directory / name)]
    with open(plane.directory / f"{name}.log", "ab") as log:
        plane.agents[name] = subprocess.Popen(
            [sys.executable, "-m", "controlplane", "agent", *state, *ports, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


async def online(plane, name):
    async def reached():
        return name in await plane.call("controlplane.node.list_nodes", return_names=True, filter_by_status="online")

    await plane.until(reached, what=f"{name} online")
    return await plane.call("controlplane.node.get_node_by_name", name)


async def join_agent(plane, name):
    token = await command(plane, "node", "invite", name, "-q")
    await start_agent(plane, name, "--join", token)
    return await online(plane, name), token


async def join(plane, key, **asked):
    return await join_once(reactor, Login(url=plane.login().url, realm="default", **asked), key)


async def refused(work):
    with pytest.raises(ControlPlaneError) as caught:
        await work
    return caught.value


async def new_user(plane, name, role):
    """A user with a key of its own, joined."""
    key = make_key(plane.directory / f"{name}.key")
    user = await plane.call("controlplane.user.create_user", authid=name, role=role, pubkey=public_key(key))
    return user, key, await join(plane, key)


# The table


def all_names():
    topics = [name for kind in EVENT_TYPES for name in (kind.topic, *kind.aliases)]
    return sorted({*PROCEDURES, *topics, ASSIGNMENT_TOPIC, QUESTION_TOPIC, TICK_TOPIC, *FOREIGN, *OF_EDGE_NODES})


async def session_in(plane, role):
    """Somebody who has logged in with this role."""
    key = make_key(plane.directory / f"matrix-{role}.key")
    pubkey = public_key(key)
    if role in USER_ROLES:
        owner = await join(plane, read_key(plane.children.state.admin_key))
        await owner.call("controlplane.user.create_user", 10.0, authid=f"matrix-{role}", role=role, pubkey=pubkey)
        owner.leave()
    elif role in ("agent", EDGE_ROLE):
        await plane.call("controlplane.node.pair_node", pubkey=pubkey, authid=f"matrix-{role}")
        return await join(plane, key, authrole=role)
    else:
        assert role == "joining"
        await plane.call("controlplane.invitation.invite_node", pubkey=pubkey)
    return await join(plane, key)


async def outcome(start):
    """The URI of the error that something ended with, or None."""
    try:
        await limit(reactor, start(), 20.0, "the router")
    except ApplicationError as problem:
        return problem.error
    return None


def attempt(wamp, name, action):
    if action == "call":
        return lambda: wamp.call(name, no_such_argument=1)
    if action == "register":
        return lambda: wamp.register(lambda: None, name, RegisterOptions(force_reregister=True))
    if action == "publish":
        return lambda: wamp.publish(name, options=PublishOptions(acknowledge=True))
    return lambda: wamp.subscribe(lambda *_: None, name)


def agrees(decision, action, found):
    if decision is Decision.DENIED:
        # Below a name that a role may call there is sometimes nothing, and nobody but the master can change that.
        nothing_there = action == "call" and found == "wamp.error.no_such_procedure"
        return found == DENIED or nothing_there or found == "wamp.error.invalid_uri"
    # Whoever gets as far as this gets as far as the procedure: to what it says of its arguments, or of itself.
    return found in (INVALID, NotOffered.uri) if action == "call" else found is None


def decided(role, name, action, needs):
    """What is to come of an action: of a node without an agent, what the master says when the router asks it."""
    if role != EDGE_ROLE:
        return decide(role, name, action, needs)
    return Decision.ALLOWED if edge_may("matrix-node", name, action, "exact") else Decision.DENIED


@pytest.mark.parametrize("role", RIGHTS)
@ensureDeferred
async def test_the_router_and_the_pipeline_say_what_the_table_says(plane, role):
    session = await session_in(plane, role)
    needs = needs_of(PROCEDURES)
    wrong, seen = [], set()
    pairs = [(name, action) for name in all_names() for action in ACTIONS]
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        found = await gatherResults([Deferred.fromCoroutine(outcome(attempt(session._inner, *pair))) for pair in some])
        for (name, action), uri in zip(some, found, strict=True):
            decision = decided(role, name, action, needs)
            seen.add((action, decision))
            if not agrees(decision, action, uri):
                wrong.append((name, action, decision.name, uri))
    assert not wrong
    assert {(action, Decision.DENIED) for action in ACTIONS} <= seen
    assert ("call", Decision.ALLOWED) in seen
    session.leave()


@pytest.mark.parametrize(
    ("role", "topic", "match", "admitted"),
    [
        ("viewer", "controlplane.", "prefix", True),
        ("viewer", "controlplane.agent.", "prefix", False),
        ("viewer", "control", "prefix", False),
        ("viewer", "", "prefix", False),
        ("viewer", "wamp.", "prefix", False),
        ("viewer", ".agent.on_assignment", "wildcard", False),
        ("agent", "controlplane.", "prefix", False),
        ("agent", "controlplane.agent.", "prefix", False),
        ("agent", "controlplane..on_assignment", "wildcard", False),
        ("agent", "controlplane.agent.", "wildcard", False),
        ("joining", "controlplane.", "prefix", False),
    ],
)
@ensureDeferred
async def test_patterns_reach_no_further_than_names(plane, role, topic, match, admitted):
    key = read_key(plane.directory / f"matrix-{role}.key")
    session = await join(plane, key)
    found = await outcome(lambda: session._inner.subscribe(lambda *_: None, topic, SubscribeOptions(match=match)))
    assert (found is None) is admitted, found
    session.leave()


# Users


def make_stubborn(session):
    """Have a session ignore that it is asked to leave."""
    asked, hear = [], session._inner.onMessage
    session._inner.onMessage = lambda message: asked.append(1) if isinstance(message, Goodbye) else hear(message)
    return asked


@ensureDeferred
async def test_a_client_that_ignores_being_told_to_go_can_do_nothing_any_more(plane):
    user, key, session = await new_user(plane, "mallory", "admin")
    asked, heard = make_stubborn(session), []
    await session.subscribe("controlplane.", lambda topic, *_: heard.append(topic), prefix=True)
    cluster = (await session.call("controlplane.routercluster.create_routercluster", 10.0, {"name": "before"}))["oid"]
    await session.call("controlplane.routercluster.list_routerclusters", 10.0)
    assert "controlplane.routercluster.on_routercluster_created" in heard

    await plane.call("controlplane.user.remove_user", user["oid"])
    heard.clear()
    for uri, *arguments in (
        ("controlplane.routercluster.list_routerclusters",),
        ("controlplane.routercluster.delete_routercluster", cluster),
        ("controlplane.user.create_user", "eve", "admin"),
    ):
        assert isinstance(await refused(session.call(uri, 10.0, *arguments)), NotAuthorized)
    await plane.call("delete_routercluster", cluster)
    # It may still ask for events, and gets none: the answer to its call would come after them.
    await session.subscribe("controlplane.routercluster.on_routercluster_created", lambda *_: heard.append("new"))
    await plane.call("delete_routercluster", (await plane.call("create_routercluster", {"name": "after"}))["oid"])
    await refused(session.call("controlplane.routercluster.list_routerclusters", 10.0))
    assert heard == []
    for action in ("register", "publish"):
        assert await outcome(attempt(session._inner, "controlplane.agent.on_tick", action)) == DENIED
    # It was told, and it is still there.
    assert asked
    state = plane.children.state
    login = Login(url=f"unix:{state.master_socket}", realm="default", authid="master")
    master = await join_once(reactor, login, read_key(state.master_key))
    assert session.id in await master.call("wamp.session.list")
    # Not even a restart of the master makes it forget, nor another user of the same name.
    other = make_key(plane.directory / "other.key")
    await plane.call("controlplane.user.create_user", authid="mallory", role="admin", pubkey=public_key(other))
    plane.kill("master")
    plane.respawn("master")
    plane.admin.leave()
    await plane.connect()

    async def known():
        return isinstance(await refused(session.call("controlplane.user.get_own_user", 10.0)), NotAuthorized)

    await plane.until(known)
    assert (await join(plane, other)).id
    assert isinstance(await refused(join(plane, key)), UnknownKey)
    master.leave()


@ensureDeferred
async def test_people_register_keys_of_their_own_and_change_them(plane):
    token = await command(plane, "user", "invite", "ann", "--role", "operator", "-q")
    mine = plane.directory / "ann" / "connection.json"
    await command(plane, "user", "register", token, "--connection", str(mine))
    key_file = mine.with_name("connection.key")
    assert [path.stat().st_mode & 0o777 for path in (mine, key_file)] == [0o600, 0o600]
    before = read_key(key_file)
    who = await command(plane, "call", "get_own_user", "--connection", str(mine), "--field", "role")
    assert who == "operator"
    with pytest.raises(AssertionError, match="the role 'operator' may not call"):
        await command(plane, "call", "list_users", "--connection", str(mine))
    await command(plane, "user", "rotate-key", "--connection", str(mine))
    assert public_key(read_key(key_file)) != public_key(before)
    assert await command(plane, "call", "get_own_user", "--connection", str(mine), "--field", "authid") == "ann"
    assert isinstance(await refused(join(plane, before)), UnknownKey)
    assert "ann" in await command(plane, "user", "list")
    with pytest.raises(AssertionError, match="the token is void"):
        await command(plane, "user", "register", token, "--connection", str(plane.directory / "thief.json"))
    assert not (plane.directory / "thief.key").exists()


@ensureDeferred
async def test_a_token_whose_answer_was_lost_is_good_for_whom_it_was_traded_for(plane):
    for kind in ("node", "user"):
        token = await command(plane, kind, "invite", f"lost-{kind}", "-q")
        key = make_key(plane.directory / f"lost-{kind}.key")
        joining = await join(plane, read_token(token).key(), authrole="joining")
        verb = "join_node" if kind == "node" else "register_key"
        await joining.call(f"controlplane.join.{verb}", 10.0, pubkey=public_key(key))
        joining.leave()
        if kind == "node":
            directory = plane.directory / "lost"
            directory.mkdir()
            (plane.directory / "lost-node.key").rename(directory / KEY_FILE)
            await start_agent(plane, "lost", "--join", token)
            assert (await online(plane, "lost-node"))["pubkey"] == public_key(key)
        else:
            mine = str(plane.directory / "lost-user.json")
            await command(plane, "user", "register", token, "--connection", mine)
            assert (
                await command(plane, "call", "get_own_user", "--connection", mine, "--field", "authid") == "lost-user"
            )


@ensureDeferred
async def test_a_master_that_is_away_when_a_machine_joins_is_waited_for(plane):
    token = await command(plane, "node", "invite", "patient", "-q")
    plane.kill("master")
    await start_agent(plane, "patient", "--join", token)
    log = plane.directory / "patient.log"

    async def tried():
        return "not joined yet, trying again" in log.read_text()

    await plane.until(tried, what="an attempt")
    plane.respawn("master")
    plane.admin.leave()
    await plane.connect()
    await online(plane, "patient")


class Forged:
    """Somebody who knows a public key, and not the key."""

    def __init__(self, victim, own):
        self._victim, self._own = victim, own

    def public_key(self):
        return public_key(self._victim)

    def sign_challenge(self, challenge):
        return self._own.sign_challenge(challenge)


@ensureDeferred
async def test_ten_wrong_logins_do_not_help_the_eleventh(plane):
    _, key, session = await new_user(plane, "victim", "viewer")
    forged = Forged(key, make_key(plane.directory / "forger.key"))
    for _ in range(10):
        assert isinstance(await refused(join(plane, forged)), NotAuthorized)
    assert isinstance(await refused(join(plane, forged)), TooManyLogins)
    # Who is there already is not held up.
    assert (await session.call("controlplane.user.get_own_user", 10.0))["sessions"] == 1


# Nodes


@ensureDeferred
async def test_a_machine_joins_once_changes_its_key_and_is_taken_out(plane):
    node, token = await join_agent(plane, "edge1")
    directory = plane.directory / "edge1"
    assert node["pubkey"] == public_key(read_key(directory / KEY_FILE))
    for path in (directory / KEY_FILE, directory / "joined.json"):
        assert path.stat().st_mode & 0o777 == 0o600

    # The token is void: for another machine, and for whoever read it.
    await start_agent(plane, "thief", "--join", token)
    assert await deferToThread(plane.agents["thief"].wait, 30) == 1
    said = (plane.directory / "thief.log").read_text()
    assert "the token is void" in said
    assert "Traceback" not in said
    del plane.agents["thief"]

    # Its key changes, and its workers do not notice.
    cluster, group = await plane.cluster("shop", 1, nodes=[node["oid"]])
    pids = [worker["pid"] for worker in await plane.workers(cluster)]
    before = read_key(directory / KEY_FILE)
    await command(plane, "node", "rotate-key", "edge1")
    now = await online(plane, "edge1")
    assert now["pubkey"] == public_key(read_key(directory / KEY_FILE)) != public_key(before)
    assert isinstance(await refused(join(plane, before)), UnknownKey)
    assert [(worker["pid"], worker["restarts"]) for worker in await plane.workers(cluster)] == [(p, 0) for p in pids]

    # A thief of another node's key can do nothing to this one.
    other, _ = await join_agent(plane, "edge2")
    await attack(plane, read_key(plane.directory / "edge2" / KEY_FILE), now, cluster, group)
    assert [worker["pid"] for worker in await plane.workers(cluster)][: len(pids)] == pids

    # A thief of its own key is cut off when it is taken out, and its workers come up elsewhere.
    await online(plane, "edge2")
    await plane.call("add_routercluster_node", cluster, other["oid"])
    thief = await join(plane, read_key(directory / KEY_FILE))
    asked = make_stubborn(thief)
    await plane.call("controlplane.node.unpair_node", node["oid"])
    facts = {"version": "1", "machine": "m", "address": "127.0.0.1", "sockets": "/x", "drivers": [], "ports": [1, 2]}
    report = {"boot": node["oid"], "sequence": 1}
    for uri, arguments in (
        ("controlplane.agent.attach_agent", {"facts": facts, "report": report}),
        ("controlplane.agent.report_workers", {"report": report}),
        ("controlplane.agent.rotate_key", {"pubkey": "ab" * 32}),
    ):
        assert isinstance(await refused(thief.call(uri, 10.0, **arguments)), NotAuthorized)
    assert asked
    assert isinstance(
        await refused(join(plane, read_key(directory / KEY_FILE))), (UnknownKey, NodeUnpaired, TooManyLogins)
    )

    async def replaced():
        workers = await plane.workers(cluster)
        return all((w["node_oid"], w["status"]) == (other["oid"], "RUNNING") for w in workers)

    await plane.until(replaced, what="workers on the other node")

    async def stopped():
        return not any(os.path.exists(f"/proc/{pid}") for pid in pids)

    await plane.until(stopped, what="workers of the node that was taken out stopped")
    await plane.remove(cluster)


async def attack(plane, key, victim, cluster, group):
    """Do with the key of one node what would harm another one."""
    session = await join(plane, key)
    # The node's own agent takes its place back, and the thief is asked to leave.
    make_stubborn(session)
    heard = []
    for topic in (ASSIGNMENT_TOPIC, QUESTION_TOPIC):
        await session.subscribe(topic, lambda _topic, payload: heard.append(str(payload)))
    workers = await plane.workers(cluster)
    facts = {"version": "1", "machine": "m", "address": "127.0.0.1", "sockets": "/x", "drivers": [], "ports": [1, 2]}
    dead = [{"oid": worker["oid"], "status": "ERROR", "restarts": 9, "reason": "x"} for worker in workers]
    report = {"boot": victim["oid"], "sequence": 1, "workers": dead, "gone": [worker["oid"] for worker in workers]}
    attached = await session.call("controlplane.agent.attach_agent", 10.0, facts=facts, report=report)
    assert attached["node_oid"] != victim["oid"]
    try:
        await session.call("controlplane.agent.report_workers", 10.0, report={**report, "sequence": 2})
    except NotAttached:
        pass
    assert [w["status"] for w in await plane.workers(cluster)] == ["RUNNING"] * len(workers)
    # What the other node is told, it does not hear.
    await plane.call("scale_routercluster_workergroup", cluster, group, 2)
    await plane.call("stat_routercluster", cluster)
    for uri in ("get_routercluster_config", "start_routercluster", "stop_routercluster", "get_routercluster"):
        problem = await refused(session.call(f"controlplane.routercluster.{uri}", 10.0, cluster))
        assert isinstance(problem, NotAuthorized)
    assert not [said for said in heard for worker in workers if worker["oid"] in said]
    # Nor can it tell the other node anything, or be taken for the master.
    forged = {"epoch": attached["epoch"], "version": 10**6, "base": None, "workers": [], "configs": {}, "removed": []}
    wamp = session._inner
    for options in (PublishOptions(acknowledge=True), PublishOptions(acknowledge=True, eligible_authid=victim["oid"])):
        assert await outcome(lambda: wamp.publish(ASSIGNMENT_TOPIC, forged, options=options)) == DENIED  # noqa: B023
    for name in ("controlplane.agent.attach_agent", "controlplane.master.authenticate"):
        assert await outcome(attempt(wamp, name, "register")) == DENIED
    by_prefix = RegisterOptions(match="prefix")
    assert await outcome(lambda: wamp.register(lambda: None, "controlplane.agent.", by_prefix)) == DENIED
    for name in ("wamp.session.list", "wamp.session.kill_by_authid", "wamp.session.get"):
        assert await outcome(lambda: wamp.call(name, victim["oid"])) == DENIED  # noqa: B023
    pretended = PublishOptions(acknowledge=True)
    assert await outcome(lambda: wamp.publish("wamp.session.on_leave", 1, options=pretended)) is not None
    session.leave()
