"""The far end of a node's management uplink, and what it does about everybody else."""

import pytest
from autobahn.wamp import message
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.role import RoleCalleeFeatures, RoleCallerFeatures
from nacl.signing import SigningKey
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection

from controlplane.drivers.router.uplink import READY_PROCEDURE, UNKNOWN_KEY, Peer, Uplink
from controlplane.drivers.router.uplink_connections import CONNECTIONS_MAX, LOGIN_LIMIT_S
from controlplane.errors import NoAnswer

KEY = SigningKey(b"k" * 32)
OTHER_KEY = SigningKey(b"o" * 32)
PREFIX = "crossbarfabriccenter.node.n1."


def public(key):
    return key.verify_key.encode().hex()


class Wire:
    """A transport that remembers what was sent."""

    MAX_LENGTH = 2**24

    def __init__(self):
        self.sent = []
        self.ended = None

    def send(self, msg):
        self.sent.append(msg)

    def abort(self):
        self.ended = "aborted"

    def close(self):
        self.ended = "closed"


class Node:
    """A node on one connection, as far as the messages go."""

    def __init__(self, uplink):
        self.wire = Wire()
        self.peer = Peer(uplink)
        self.peer.onOpen(self.wire)

    def says(self, msg):
        self.peer.onMessage(msg)
        return self.wire.sent[-1] if self.wire.sent else None

    def hello(self, key=KEY, **extra):
        roles = {"caller": RoleCallerFeatures(), "callee": RoleCalleeFeatures()}
        return self.says(message.Hello(None, roles, authextra={"pubkey": public(key), **extra}))

    def login(self, key=KEY):
        challenge = self.hello(key).extra["challenge"]
        return self.says(message.Authenticate(key.sign(bytes.fromhex(challenge)).hex()))

    def register(self, name, request=1):
        return self.says(message.Register(request, PREFIX + name)).registration

    def get_ready(self):
        self.login()
        self.says(message.Call(9, READY_PROCEDURE))
        return self


class Told:
    """An uplink, and what it tells."""

    def __init__(self):
        self.clock = Clock()
        self.key = public(KEY)
        self.told = []
        self.uplink = Uplink(
            self.clock,
            "n1",
            lambda: self.key,
            ready=lambda: self.told.append("ready"),
            lost=lambda: self.told.append("lost"),
            worker_gone=lambda worker: self.told.append(worker),
        )

    def call(self, name, *args, timeout=5):
        return ensureDeferred(self.uplink.call(PREFIX + name, *args, timeout=timeout))


@pytest.fixture
def far():
    return Told()


def failure_of(deferred, kind):
    found = []
    deferred.addErrback(lambda failure: found.append(failure.trap(kind) and failure.value))
    assert found, "there is no failure yet"
    return found[0]


def test_the_node_logs_in_with_its_key_and_is_ready_when_it_asks_for_the_status(far):
    node = Node(far.uplink)
    welcome = node.login()
    assert isinstance(welcome, message.Welcome)
    assert (welcome.authid, welcome.authextra) == ("n1", None)
    assert not far.uplink.is_ready
    node.says(message.Call(1, READY_PROCEDURE))
    assert far.told == ["ready"]
    node.says(message.Call(2, READY_PROCEDURE))
    assert far.told == ["ready"]


@pytest.mark.parametrize("key", [None, "", "not hexadecimal", "00" * 31, public(OTHER_KEY)])
def test_another_key_than_the_expected_one_is_refused(far, key):
    far.key = key
    node = Node(far.uplink)
    answer = node.hello()
    assert isinstance(answer, message.Abort)
    assert answer.reason == UNKNOWN_KEY
    assert node.wire.ended == "closed"


@pytest.mark.parametrize("key", [7, None, b"x", {}])
def test_a_key_of_another_type_is_refused(far, key):
    node = Node(far.uplink)
    node.says(message.Hello(None, {"caller": RoleCallerFeatures()}, authextra={"pubkey": key} if key else None))
    assert node.wire.ended == "closed"


def test_the_right_key_without_its_secret_half_is_refused(far):
    for forge in (
        lambda challenge: OTHER_KEY.sign(challenge).hex(),
        lambda challenge: KEY.sign(b"x" * 32).hex(),
        lambda challenge: challenge.hex(),
        lambda challenge: "zz",
        lambda challenge: "",
    ):
        node = Node(far.uplink)
        challenge = bytes.fromhex(node.hello().extra["challenge"])
        node.says(message.Authenticate(forge(challenge)))
        assert node.wire.ended == "aborted"
        assert not any(isinstance(sent, message.Welcome) for sent in node.wire.sent)


def test_a_challenge_is_used_once(far):
    node, other = Node(far.uplink), Node(far.uplink)
    signed = KEY.sign(bytes.fromhex(node.hello().extra["challenge"])).hex()
    other.hello()
    other.says(message.Authenticate(signed))
    assert other.wire.ended == "aborted"


@pytest.mark.parametrize(
    "early",
    [
        message.Call(1, READY_PROCEDURE),
        message.Register(1, "a.b"),
        message.Yield(1),
        message.Publish(1, "a.b"),
        message.Goodbye(),
        message.Authenticate("00" * 96),
        message.Error(message.Invocation.MESSAGE_TYPE, 1, "a.b"),
    ],
)
def test_nothing_but_a_login_is_understood_before_the_login(far, early):
    node = Node(far.uplink)
    node.says(early)
    assert node.wire.ended == "aborted"
    assert node.wire.sent == []


def test_a_second_hello_ends_the_connection(far):
    node = Node(far.uplink)
    node.hello()
    node.hello()
    assert node.wire.ended == "aborted"
    ready = Node(far.uplink).get_ready()
    ready.hello()
    assert ready.wire.ended == "aborted"


def test_little_is_read_from_who_is_not_logged_in(far):
    node = Node(far.uplink)
    assert node.wire.MAX_LENGTH == 65_536
    node.login()
    assert node.wire.MAX_LENGTH == 2**24


def test_a_call_reaches_the_node_and_its_answer_the_caller(far):
    node = Node(far.uplink).get_ready()
    registration = node.register("start_worker")
    answer = far.call("start_worker", "w1", {"a": 1})
    invocation = node.wire.sent[-1]
    assert isinstance(invocation, message.Invocation)
    assert (invocation.registration, invocation.args) == (registration, ["w1", {"a": 1}])
    node.says(message.Yield(invocation.request, args=[{"pid": 7}]))
    assert answer.result == {"pid": 7}


def test_an_error_of_the_node_reaches_the_caller(far):
    node = Node(far.uplink).get_ready()
    node.register("start_worker")
    answer = far.call("start_worker")
    request = node.wire.sent[-1].request
    node.says(message.Error(message.Invocation.MESSAGE_TYPE, request, "crossbar.error.x", args=["why", {"no": "text"}]))
    problem = failure_of(answer, ApplicationError)
    assert (problem.error, problem.args[0]) == ("crossbar.error.x", "why")


def test_an_answer_that_nobody_waits_for_is_no_problem(far):
    node = Node(far.uplink).get_ready()
    node.says(message.Yield(4711, args=[1]))
    node.says(message.Error(message.Invocation.MESSAGE_TYPE, 4711, "a.b"))
    node.says(message.Unregister(5, 4711))
    assert isinstance(node.wire.sent[-1], message.Error)
    assert node.wire.ended is None


def test_a_call_ends_when_its_time_is_up_and_a_late_answer_is_dropped(far):
    node = Node(far.uplink).get_ready()
    node.register("slow")
    answer = far.call("slow", timeout=2)
    far.clock.advance(1.9)
    assert not answer.called
    far.clock.advance(0.2)
    failure_of(answer, NoAnswer)
    node.says(message.Yield(node.wire.sent[-1].request, args=[1]))
    assert far.clock.getDelayedCalls() == []


def test_what_the_node_did_not_register_is_refused_at_once(far):
    assert failure_of(far.call("anything"), ApplicationError).error == "wamp.error.canceled"
    node = Node(far.uplink).get_ready()
    assert failure_of(far.call("anything"), ApplicationError).error == "wamp.error.no_such_procedure"
    registration = node.register("anything")
    node.says(message.Unregister(2, registration))
    assert failure_of(far.call("anything"), ApplicationError).error == "wamp.error.no_such_procedure"


def test_what_cannot_be_sent_is_refused_and_forgotten(far):
    node = Node(far.uplink).get_ready()
    node.register("anything")

    def refuse(msg):
        raise ValueError("too large")

    node.wire.send = refuse
    assert failure_of(far.call("anything"), ApplicationError).error == "wamp.error.invalid_argument"
    assert node.peer._calls == {}


def test_calls_that_wait_end_with_the_link(far):
    node = Node(far.uplink).get_ready()
    node.register("slow")
    answer = far.call("slow")
    node.peer.onClose(False)
    assert failure_of(answer, ApplicationError).error == "wamp.error.canceled"
    assert far.told == ["ready", "lost"]
    assert not far.uplink.is_ready


def test_a_new_login_takes_the_place_of_the_old_one(far):
    old = Node(far.uplink).get_ready()
    old.register("slow")
    answer = far.call("slow")
    new = Node(far.uplink)
    new.login()
    assert old.wire.ended == "aborted"
    failure_of(answer, ApplicationError)
    old.peer.onClose(False)
    new.says(message.Call(1, READY_PROCEDURE))
    assert far.told == ["ready", "ready"]
    assert far.uplink.is_ready


def test_somebody_who_fails_to_log_in_does_not_disturb_the_node(far):
    Node(far.uplink).get_ready()
    stranger = Node(far.uplink)
    stranger.hello(OTHER_KEY)
    stranger.peer.onClose(True)
    assert far.uplink.is_ready


def test_a_worker_whose_procedures_vanish_is_reported(far):
    node = Node(far.uplink).get_ready()
    registration = node.register("worker.w1.utcnow")
    node.says(message.Unregister(2, node.register("start_worker")))
    assert far.told == ["ready"]
    node.says(message.Unregister(3, registration))
    assert far.told == ["ready", "w1"]


def test_a_procedure_that_was_registered_anew_outlives_its_old_registration(far):
    node = Node(far.uplink).get_ready()
    first, second = node.register("a"), node.register("a")
    node.says(message.Unregister(2, first))
    far.call("a")
    assert node.wire.sent[-1].registration == second


def test_events_are_acknowledged_and_leaving_is_answered(far):
    node = Node(far.uplink).get_ready()
    assert isinstance(node.says(message.Publish(5, "a.on_log", args=["text"], acknowledge=True)), message.Published)
    assert isinstance(node.says(message.Subscribe(6, "a.b")), message.Subscribed)
    assert isinstance(node.says(message.Unsubscribe(7, 1)), message.Unsubscribed)
    assert isinstance(node.says(message.Call(8, "a.b")), message.Error)
    assert isinstance(node.says(message.Goodbye()), message.Goodbye)
    assert node.wire.ended == "closed"
    assert far.told == ["ready", "lost"]


def connect(factory):
    protocol = factory.buildProtocol(None)
    transport = StringTransportWithDisconnection()
    transport.protocol = protocol
    transport.abortConnection = lambda: transport.loseConnection()
    protocol.makeConnection(transport)
    return protocol, transport


def test_who_does_not_log_in_within_a_time_has_to_go(far):
    factory = far.uplink.factory()
    _, silent = connect(factory)
    greeting, greeted = connect(factory)
    greeting.dataReceived(b"\x7f\xf3\0\0")
    far.clock.advance(LOGIN_LIMIT_S - 0.1)
    assert silent.connected
    assert greeted.connected
    far.clock.advance(0.2)
    assert not silent.connected
    assert not greeted.connected


def test_of_too_many_connections_the_oldest_without_a_login_has_to_go(far):
    factory = far.uplink.factory()
    connections = [connect(factory)[1] for _ in range(CONNECTIONS_MAX + 1)]
    assert [each.connected for each in connections] == [False] + [True] * CONNECTIONS_MAX
