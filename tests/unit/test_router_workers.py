"""Starting, setting up and describing one worker through a session, wherever that leads."""

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from controlplane.drivers.router.plans import Frontend, Route, plan_proxy, plan_router, read_config
from controlplane.drivers.router.workers import ATTEMPT_PAUSE_S, ATTEMPTS_MAX, Workers
from controlplane.errors import NoAnswer, WorkerFailed

PREFIX = "crossbarfabriccenter.node.edge1."


class Session:
    """A `ManagementSession` that answers what it was told to."""

    def __init__(self):
        self.calls = []
        self.answers = {}

    async def call(self, uri, *args, timeout=10.0):
        assert uri.startswith(PREFIX)
        name = uri[len(PREFIX) :]
        self.calls.append((name, *args))
        answer = self.answers.get(name, None)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def names(self):
        return [name.removeprefix("worker.w1.") for name, *_ in self.calls]


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def workers(session, clock):
    return Workers(session, PREFIX, clock, {"pythonpath": ["/x"]})


def result(coroutine):
    done = ensureDeferred(coroutine)
    found = []
    done.addBoth(found.append)
    assert found, "it is not finished"
    if isinstance(found[0], BaseException) or hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def proxy_plan():
    transport = {"type": "web", "paths": {"ws": {"type": "websocket"}, "x": {"type": "json", "value": 1}}}
    realms = {"realm1": Route(["user"], "/a.sock"), "realm2": Route(["user"], "/b.sock")}
    return plan_proxy(Frontend("c", transport, realms), "127.0.0.1", 9000)


def test_a_worker_is_started_with_the_options_and_described(session, workers):
    session.answers["start_worker"] = {"status": "started", "pid": 7, "started": "2026-11-20T10:00:00.500Z"}
    assert result(workers.start("w1", "proxy")) == ("started", 7, 1795168800_500000000)
    _, worker_id, kind, options = session.calls[0]
    assert (worker_id, kind, options["pythonpath"]) == ("w1", "proxy", ["/x"])


def test_a_router_gets_realms_then_roles_then_its_transport(session, workers):
    realms = [{"name": name, "roles": [{"name": "a"}, {"name": "b"}]} for name in ("realm1", "realm2")]
    config = read_config({"kind": "router", "cluster": "c", "socket": "/a.sock", "realms": realms})
    plan = plan_router(config)
    result(workers.prepare("w1", plan))
    result(workers.listen("w1", plan))
    assert session.names() == [
        "utcnow",
        *["start_router_realm"] * 2,
        *["start_router_realm_role"] * 4,
        "start_router_transport",
    ]


def test_a_proxy_gets_connections_then_routes_then_its_transport_then_its_paths(session, workers):
    result(workers.prepare("w1", proxy_plan()))
    result(workers.listen("w1", proxy_plan()))
    assert session.names() == [
        "utcnow",
        *["start_proxy_connection"] * 2,
        *["start_proxy_realm_route"] * 2,
        "start_proxy_transport",
        *["start_web_transport_service"] * 2,
    ]


def test_procedures_that_appear_a_little_later_are_waited_for(session, workers, clock):
    missing = [ApplicationError("wamp.error.no_such_procedure")] * 3
    session.answers["worker.w1.utcnow"] = lambda: missing.pop() if missing else "now"
    done = ensureDeferred(workers.prepare("w1", proxy_plan()))
    clock.pump([ATTEMPT_PAUSE_S] * 2)
    assert not done.called
    clock.advance(ATTEMPT_PAUSE_S)
    assert done.called


def test_procedures_that_never_appear_are_given_up(session, workers, clock):
    session.answers["worker.w1.utcnow"] = ApplicationError("wamp.error.no_such_procedure")
    done = ensureDeferred(workers.prepare("w1", proxy_plan()))
    problems = []
    done.addErrback(lambda failure: problems.append(failure.trap(WorkerFailed)))
    clock.pump([ATTEMPT_PAUSE_S] * (ATTEMPTS_MAX + 1))
    assert problems == [WorkerFailed]


def test_what_crossbar_says_is_the_reason_without_colours(session, workers):
    session.answers["worker.w1.start_proxy_connection"] = ApplicationError(
        "a.b", "\x1b[31mNo\x1b[0m\nway\n\n{'ticket': 'secret'}"
    )
    with pytest.raises(WorkerFailed, match=r"^No way$"):
        result(workers.prepare("w1", proxy_plan()))


def test_an_error_without_a_word_is_named(session, workers):
    session.answers["worker.w1.start_proxy_transport"] = ApplicationError("crossbar.error.x")
    with pytest.raises(WorkerFailed, match=r"start_proxy_transport failed: crossbar\.error\.x"):
        result(workers.listen("w1", proxy_plan()))


@pytest.mark.parametrize(
    ("answer", "complete"),
    [([], False), (["listening"], True), ([{"id": "listening"}], True), (["other"], False)],
)
def test_a_worker_that_listens_is_complete(session, workers, answer, complete):
    session.answers["worker.w1.get_proxy_transports"] = answer
    assert result(workers.is_complete("w1", "proxy")) is complete


def test_a_worker_that_is_not_there_is_not_described_and_need_not_be_stopped(session, workers):
    gone = ApplicationError("crossbar.error.no_such_worker")
    session.answers = {"get_worker": gone, "stop_worker": gone}
    assert result(workers.describe("w1")) is None
    assert result(workers.stop("w1")) is None


def test_a_worker_that_is_just_starting_is_described(session, workers):
    session.answers["get_worker"] = {"status": "starting", "pid": None, "started": None}
    assert result(workers.describe("w1")) == ("starting", None, 0)


def test_a_node_that_does_not_answer_is_a_reason(session, workers):
    session.answers["get_workers"] = NoAnswer("it did not answer")
    with pytest.raises(WorkerFailed, match="did not answer"):
        result(workers.list())
