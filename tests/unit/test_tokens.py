"""Join tokens, and the keys of a node that change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.agent.membership import JOINED_FILE, PINS_FILE, Keys, Pins, known_master
from controlplane.errors import InvalidArgument, InvalidConfiguration
from controlplane.keys import KEY_FILE, public_key, read_key
from controlplane.tokens import PREFIX, Token, new_secret, read_token

SECRET = bytes(range(32))
TOKEN = Token(url="wss://cp.example.org:8900/ws", realm="default", secret=SECRET, server_keys=("ab" * 32,))


def test_a_token_says_what_was_put_into_it():
    assert read_token(f"  {TOKEN.text()}\n") == TOKEN
    assert len(new_secret()) == 32
    assert public_key(read_token(TOKEN.text()).key()) == public_key(TOKEN.key())


@given(place=st.integers(0, len(TOKEN.text()) - 1), letter=st.sampled_from("aZ0-_!é "))
def test_a_token_that_was_altered_is_no_token(place, letter):
    text = TOKEN.text()
    altered = text[:place] + letter + text[place + 1 :]
    try:
        assert read_token(altered) == TOKEN  # Bits that the last letter has too many of say nothing.
    except InvalidArgument as problem:
        assert "join token" in problem.message
        assert problem.next_step


@pytest.mark.parametrize(
    "text", ["", PREFIX, "x", PREFIX + "AAAA", PREFIX + "é", PREFIX + "A" * 10_000, TOKEN.text()[:-9]]
)
def test_what_was_not_copied_whole_is_no_token(text):
    with pytest.raises(InvalidArgument, match="no join token"):
        read_token(text)


def test_a_new_key_takes_over_when_it_has_worked_and_not_before(tmp_path):
    keys = Keys(tmp_path)
    first = keys.current
    fresh = keys.announce()
    assert keys.in_use is first
    keys.use_next()
    assert keys.in_use is fresh
    # The process ends before anybody knows: both keys are there.
    again = Keys(tmp_path)
    assert public_key(again.in_use) == public_key(fresh)
    again.refused()
    assert public_key(again.in_use) == public_key(first)
    again.accepted()  # With the old one: the new one stays in wait.
    assert public_key(read_key(tmp_path / KEY_FILE)) == public_key(first)
    again.refused()
    again.accepted()
    assert public_key(read_key(tmp_path / KEY_FILE)) == public_key(fresh)
    last = Keys(tmp_path)
    last.refused()
    assert public_key(last.in_use) == public_key(last.current) == public_key(fresh)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_a_node_remembers_of_its_master_is_read_or_refused(tmp_path):
    assert known_master(tmp_path) is None
    (tmp_path / JOINED_FILE).write_text("{}")
    with pytest.raises(InvalidConfiguration, match="cannot be read"):
        known_master(tmp_path)


def test_an_agent_believes_what_a_master_says_of_its_router_until_something_else_is_said(tmp_path):
    pins = Pins(tmp_path, ("a", "b"))
    assert pins.keys == ("a", "b")
    assert pins.learn(("b", "c"))
    assert not pins.learn(("b", "c"))
    assert not pins.learn(())
    assert (tmp_path / PINS_FILE).stat().st_mode & 0o777 == 0o600
    assert Pins(tmp_path, ("a", "b")).keys == pins.keys == ("b", "c")
    # The word of whoever starts the agent counts more than what was learned before.
    assert Pins(tmp_path, ("x", "y")).keys == ("x", "y")
    (tmp_path / PINS_FILE).write_text("nonsense")
    assert Pins(tmp_path, ("a", "b")).keys == ("a", "b")


def test_who_pins_no_keys_learns_none(tmp_path):
    pins = Pins(tmp_path, ())
    assert not pins.learn(("b", "c"))
    assert pins.keys == ()
    assert not (tmp_path / PINS_FILE).exists()
