"""Records as they are stored: what is remembered of a write is what would be read again."""

import gc
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controlplane.records.limits import Limits
from controlplane.records.types import Record, carries, from_bytes, stored_form, to_bytes
from controlplane.services.procedures import SHORT_LENGTH, unreadable
from controlplane.store.tables import DECODED_LENGTH_MAX, DECODED_MAX, Table


class Anything(Record, frozen=True, kw_only=True):
    name: str
    value: Any
    pair: tuple[int, ...] = ()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=20)
    ),
    max_leaves=30,
)


@given(PLAIN)
@example(2**70)
@example({"list": (1, (2,))})
def test_what_is_remembered_of_a_record_is_what_is_read_again(value):
    data, again = stored_form(Anything(name="x", value=value, pair=(1, 2)))
    assert data == to_bytes(Anything(name="x", value=value, pair=(1, 2)))
    assert repr(again) == repr(from_bytes(data, Anything))


def test_what_could_not_be_read_again_is_not_stored():
    with pytest.raises(ValueError, match="name"):
        to_bytes(Anything(name=5, value=None))
    with pytest.raises(ValueError, match="surrogates"):
        to_bytes(Anything(name="\ud800", value=None))


@given(PLAIN)
@example([24] * 100)
@example([-30] * 100)
@example(["x" * 24] * 100)
@example([{}] * 16)
def test_nothing_takes_more_room_than_was_said(value):
    size = len(cbor2.dumps(value))
    assert not carries(value, size - 1)
    assert carries(value, 2 * len(msgspec.msgpack.encode(value)))


def test_what_cannot_be_judged_is_left_to_a_trial():
    assert not carries(2**70, 1_000_000)
    assert not carries("\ud800", 1_000_000)


@given(PLAIN | st.sampled_from(["\ud800", ["\ud800" * 2_000], 2**70, {1: 2**70}]), st.integers(0, 300))
@example([24] * 100, 150)
@example(["x" * 1_000] * 2, 2_000)
@example(["x" * 1_000] * 2, 2_007)
def test_arguments_are_as_long_as_they_are_in_cbor(value, bytes_max):
    said = unreadable({"x": value}, Limits(argument_bytes_max=bytes_max))
    try:
        long = len(cbor2.dumps(value)) > bytes_max
    except ValueError:
        long = True
    short_text = isinstance(value, str) and value.isascii() and len(value) <= SHORT_LENGTH
    assert bool(said) is (long and not short_text and not isinstance(value, bool | None))


def test_the_collector_of_cycles_passes_records_over():
    one = Anything(name="x", value={"a": []})
    assert not gc.is_tracked(one)
    assert not gc.is_tracked(stored_form(one)[1])
    assert not gc.is_tracked(msgspec.structs.replace(one, value=[[]]))


def table() -> Table[Anything]:
    return Table("00000000-0000-4000-8000-00000000bbbb", Anything, "anything", lambda each: each.name.encode())


def test_what_was_written_is_not_decoded():
    things = table()
    data = things.encode(Anything(name="x", value=[1]))
    assert things.decode(bytes(bytearray(data))) is things._decoded[data]


def test_a_table_remembers_what_is_asked_for_and_forgets_the_rest():
    things = table()
    used, unused = (to_bytes(Anything(name=name, value=None)) for name in ("used", "unused"))
    found, once = things.decode(used), things.decode(unused)
    for number in range(3 * DECODED_MAX):
        assert things.decode(to_bytes(Anything(name=str(number), value=None))).name == str(number)
        assert things.decode(used) is found
    assert things.decode(unused) is not once
    assert len(things._decoded) + len(things._decoded_before) <= DECODED_MAX


def test_what_is_large_is_not_kept():
    things = table()
    large = Anything(name="x", value="y" * DECODED_LENGTH_MAX)
    assert things.decode(things.encode(large)) == large
    assert not things._decoded
