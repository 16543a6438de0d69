"""Which addresses the master may call."""

import pytest

from controlplane.core.outgoing import obstacle

NAMED = ("http://127.0.0.1:9000/hooks", "https://balancer.example.org/", "http://[::1]:80")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/hooks",
        "http://127.0.0.1:9000/hooks/",
        "http://127.0.0.1:9000/hooks/a?b=../c",
        "https://balancer.example.org",
        "https://balancer.example.org:443/x",
        "https://BALANCER.example.org/x",
        "http://[::1]/any",
    ],
)
def test_what_begins_like_a_named_one_may_be_called(url):
    assert obstacle(url, NAMED) is None
    assert obstacle(url, ["*"]) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/hooksmith",
        "http://127.0.0.1:9000/",
        "http://127.0.0.1:9001/hooks",
        "http://127.0.0.1/hooks",
        "https://127.0.0.1:9000/hooks",
        "http://127.0.0.1:9000/hooks/../secret",
        "http://balancer.example.org/",
        "https://balancer.example.org.evil.org/",
        "https://evil.org/?https://balancer.example.org/",
        "http://169.254.169.254/",
    ],
)
def test_nothing_else_may(url):
    assert obstacle(url, NAMED) == "the master's setting outgoing does not name it"
    assert obstacle(url, []) == "the master's setting outgoing does not name it"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://balancer.example.org/",
        "balancer.example.org",
        "http://",
        "http://:80/",
        "http://host:99999/",
        "http://host:0/",
        "http://[::1/",
        "http://127.0.0.1:9000/hooks/%2e%2E/secret",
        "http://127.0.0.1:9000\\@evil.org/hooks",
    ],
)
def test_what_is_no_plain_address_may_never_be_called(url):
    assert obstacle(url, [*NAMED, "*"]) == "it is no address of a web server"


def test_an_address_with_a_password_is_refused():
    for url in ("https://ann:hush@balancer.example.org/", "https://ann@balancer.example.org/"):
        assert obstacle(url, ["*"]) == "it has a password in it, which would be shown to who may read policies"


def test_a_setting_that_is_no_address_names_nothing():
    assert obstacle("http://host/", ["", "host", "http://"]) is not None
