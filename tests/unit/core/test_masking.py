"""What of a value may be written down."""

import pytest

from controlplane.core.masking import DEPTH_MAX, SECRET_WORDS, TEXT_LENGTH_MAX, masked

STARS = "***"


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "password",
        "passwd",
        "passphrase",
        "ticket",
        "token",
        "private",
        "privkey",
        "credential",
        "seed",
        "salt",
        "stored-key",
        "server-key",
        "api_key",
        "apikey",
        "cookie",
    ],
)
def test_what_stands_under_the_name_of_a_secret_is_hidden(name):
    assert name in SECRET_WORDS
    for written in (name, name.upper(), f"my_{name}s", f"old {name}"):
        for value in ("x", "", 5, 0, False, 1.5, ["x"], [], ("x",)):
            assert masked({written: value}) == {written: STARS}


def test_what_has_no_value_hides_none():
    assert masked({"password": None}) == {"password": None}


def test_an_object_under_the_name_of_a_secret_is_looked_into():
    given = {"ticket": {"joe": {"ticket": "x", "role": "staff"}}}
    assert masked(given) == {"ticket": {"joe": {"ticket": STARS, "role": "staff"}}}


@pytest.mark.parametrize("name", ["env", "files"])
def test_of_an_environment_and_of_files_nothing_but_names_is_kept(name):
    assert masked({name: {"HOME": "x", "deep": {"a": 1}}}) == {name: {"HOME": STARS, "deep": STARS}}
    assert masked({name: "text"}) == {name: "text"}
    assert masked({f"{name}s": {"HOME": "x"}}) == {f"{name}s": {"HOME": "x"}}


@pytest.mark.parametrize("name", ["name", "role", "pass", "key", "pubkey", "sea", ""])
def test_what_stands_under_other_names_is_kept(name):
    for value in ("x", 5, True, None, 1.5):
        assert masked({name: value}) == {name: value}


def test_names_that_are_no_texts_are_read_as_texts():
    assert masked({5: "kept", b"token": "x"}) == {5: "kept", b"token": STARS}


def test_secrets_are_found_at_every_depth():
    assert masked([{"a": ({"token": "x"},)}]) == [{"a": [{"token": STARS}]}]


def test_a_login_in_an_address_is_hidden():
    assert masked("amqp://user:word@host/path") == "amqp://***@host/path"
    assert masked(["see http://me@a and https://you@b"]) == ["see http://***@a and https://***@b"]
    assert masked("https://host/me@home") == "https://host/me@home"
    assert masked("mail me@home") == "mail me@home"
    assert masked("https://host/ me@home") == "https://host/ me@home"


def test_a_long_text_is_cut():
    assert TEXT_LENGTH_MAX == 2_000
    assert masked("x" * 2_000) == "x" * 2_000
    assert masked("x" * 2_001) == "x" * 2_000 + "..."


def test_a_number_that_no_serializer_carries_is_told_by_its_size():
    for number in (0, -1, 2**64 - 1, -(2**63)):
        assert masked(number) == number
    assert masked(2**64) == "an integer of 65 bits"
    assert masked(-(2**63) - 1) == "an integer of 64 bits"


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner], lambda inner: (inner,)])
def test_what_lies_too_deep_is_hidden(wrap):
    assert DEPTH_MAX == 40

    def nested(depth, innermost):
        for _ in range(depth):
            innermost = wrap(innermost)
        return innermost

    def depth_of(value):
        depth = 0
        while not isinstance(value, str):
            value = value["a"] if isinstance(value, dict) else value[0]
            depth += 1
        return depth, value

    assert depth_of(masked(nested(40, "x"))) == (40, "x")
    assert depth_of(masked(nested(41, "x"))) == (40, STARS)
    assert depth_of(masked(nested(500, "x"))) == (40, STARS)
