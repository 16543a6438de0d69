"""What a configuration means for those who run it: where workers may listen, and whose sessions are kept."""

import math

import pytest

from controlplane.core.router_configs import (
    PROBLEMS_MAX,
    check_config,
    exposures,
    keeps_sessions,
    listens_plainly,
    with_defaults,
)
from controlplane.errors import Problem

FAR = "192.0.2.1"
LOGIN = {"ticket": {"type": "static", "principals": {"joe": {"ticket": "x", "role": "user"}}}}
TLS = {"type": "tcp", "tls": {"key": "/k", "certificate": "/c"}}


def config(endpoint=None, **more):
    transport = {"type": "websocket", "auth": LOGIN, **({"endpoint": endpoint} if endpoint is not None else {})}
    return {"transport": transport, **more}


def test_plain_tcp_beyond_this_machine_is_refused_with_what_to_do():
    advice = 'give its endpoint "tls", or say "allow_plain_tcp": true'
    assert listens_plainly(config(), FAR) == Problem(
        "$.transport", f"has no TLS, and the workers listen on {FAR}, beyond this machine; {advice}"
    )
    assert listens_plainly(config({"type": "tcp", "interface": ""}), "127.0.0.1") == Problem(
        "$.transport.endpoint",
        f"has no TLS, and the workers listen on all addresses, beyond this machine; {advice}",
    )
    assert listens_plainly(None, FAR).path == listens_plainly({}, FAR).path == "$.transport"


def test_plain_tcp_is_admitted_on_loopback_with_tls_or_when_it_is_wanted():
    assert listens_plainly(config(), "127.0.0.1") is None
    assert listens_plainly(config({"type": "tcp", "interface": "127.0.0.1"}), FAR) is None
    assert listens_plainly(config(TLS), FAR) is None
    assert listens_plainly(config(allow_plain_tcp=True), FAR) is None
    assert listens_plainly(config(allow_plain_tcp=False), FAR) is not None


def test_everything_that_forbids_to_listen_is_told():
    assert exposures(config(TLS), FAR) == exposures(None, "127.0.0.1") == []
    assert [problem.path for problem in exposures(config(), FAR)] == ["$.transport"]
    both = exposures(None, FAR)
    assert [problem.message.partition(",")[0] for problem in both] == ["lets anybody in", "has no TLS"]


def test_what_is_allowed_is_kept_and_everything_else_is_not():
    for name in ("allow_anonymous", "allow_plain_tcp"):
        assert with_defaults({name: True}, "shop")[name] is True
        assert with_defaults({name: False}, "shop")[name] is False
        assert with_defaults(None, "shop")[name] is False


@pytest.mark.parametrize(
    ("transport", "kept"),
    [
        ({"type": "websocket", "auth": LOGIN}, False),
        ({"type": "websocket", "auth": {"ticket": {"type": "dynamic"}}}, True),
        ({"type": "web", "paths": {"a": {"type": "json"}}}, False),
        *(({"type": "web", "paths": {"a": {"type": kind}}}, True) for kind in ("caller", "publisher", "webhook")),
        ({"type": "web", "paths": {"a": {"type": "path", "paths": {"b": {"type": "caller"}}}}}, True),
        ({"type": "x", "list": [{"type": "json"}, {"type": "dynamic"}]}, True),
        ({"type": "x", "list": ({"type": "dynamic"},)}, True),
        ({"type": "x", "list": ["dynamic"], "name": "dynamic"}, False),
    ],
)
def test_who_keeps_sessions_of_its_own_at_routers(transport, kept):
    assert keeps_sessions({"transport": transport}) is kept


def test_no_more_problems_are_told_than_there_is_room_for():
    many = {"realms": [math.nan] * 200, **{f"key{number}": 1 for number in range(100)}}
    assert len(check_config(many)) == PROBLEMS_MAX == 250
