"""One suite for every engine, so that the one in memory can stand in for LMDB."""

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.errors import StoreFull, StoreRefused
from controlplane.store.engine import Space, after
from controlplane.store.lmdb import LmdbEngine
from controlplane.store.memory import MemoryEngine

A = Space(UUID(int=1), "a")
B = Space(UUID(int=2), "b")


@pytest.fixture(params=["lmdb", "memory"])
def engine(request, tmp_path):
    made = LmdbEngine(tmp_path / "store", sync=False) if request.param == "lmdb" else MemoryEngine()
    made.attach([A, B])
    yield made
    made.close()


def put(engine, **values):
    with engine.write() as txn:
        for key, value in values.items():
            txn.put(A, key.encode(), value.encode())


def contents(engine, space=A):
    with engine.read() as txn:
        return [(key.decode(), value.decode()) for key, value in txn.scan(space)]


def test_what_was_written_is_read(engine):
    put(engine, x="1", y="2")
    with engine.read() as txn:
        assert (txn.get(A, b"x"), txn.get(A, b"z")) == (b"1", None)


def test_spaces_do_not_mix(engine):
    put(engine, x="1")
    assert contents(engine, B) == []


def test_an_exception_undoes_everything(engine):
    put(engine, x="1", y="2")
    with pytest.raises(ZeroDivisionError), engine.write() as txn:
        txn.put(A, b"x", b"changed")
        txn.delete(A, b"y")
        txn.put(A, b"z", b"new")
        raise ZeroDivisionError
    assert contents(engine) == [("x", "1"), ("y", "2")]


def test_a_nested_transaction_is_undone_alone(engine):
    with engine.write() as txn:
        txn.put(A, b"x", b"1")
        with pytest.raises(ZeroDivisionError), txn.child() as inner:
            inner.put(A, b"x", b"2")
            inner.put(A, b"y", b"2")
            raise ZeroDivisionError
        with txn.child() as inner:
            assert inner.get(A, b"x") == b"1"
            inner.put(A, b"z", b"3")
    assert contents(engine) == [("x", "1"), ("z", "3")]


def test_deleting_says_whether_there_was_something(engine):
    put(engine, x="1")
    with engine.write() as txn:
        assert (txn.delete(A, b"x"), txn.delete(A, b"x")) == (True, False)


def test_ranges_are_half_open_and_work_both_ways(engine):
    put(engine, a="1", b="2", c="3", d="4")
    with engine.read() as txn:
        assert [key for key, _ in txn.scan(A, b"b", b"d")] == [b"b", b"c"]
        assert [key for key, _ in txn.scan(A, b"b", b"d", reverse=True)] == [b"c", b"b"]
        assert list(txn.keys(A, reverse=True)) == [b"d", b"c", b"b", b"a"]
        assert list(txn.keys(A, b"x")) == []
        assert list(txn.keys(A, b"", b"a", reverse=True)) == []


def test_a_reverse_scan_stops_at_its_own_space(engine):
    with engine.write() as txn:
        txn.put(A, b"x", b"1")
        txn.put(B, b"a", b"2")
    with engine.read() as txn:
        assert list(txn.keys(A, reverse=True)) == [b"x"]
        assert list(txn.keys(B, reverse=True)) == [b"a"]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("pd"), st.binary(min_size=1, max_size=3), st.binary(max_size=3)), max_size=30),
    st.binary(max_size=2),
    st.binary(max_size=2),
)
def test_engines_agree_with_a_plain_dictionary(steps, start, stop):
    engine = MemoryEngine()
    engine.attach([A])
    model = {}
    with engine.write() as txn:
        for what, key, value in steps:
            if what == "p":
                txn.put(A, key, value)
                model[key] = value
            else:
                assert txn.delete(A, key) == (model.pop(key, None) is not None)
    with engine.read() as txn:
        expected = sorted((key, value) for key, value in model.items() if start <= key < stop)
        assert list(txn.scan(A, start, stop)) == expected
        assert list(txn.scan(A, start, stop, reverse=True)) == expected[::-1]


@given(st.binary(min_size=1, max_size=4), st.binary(max_size=4))
def test_after_is_the_first_key_beyond_a_prefix(prefix, rest):
    beyond = after(prefix)
    assert beyond is None or prefix + rest < beyond
    assert beyond is None or not beyond.startswith(prefix)


def test_a_store_in_memory_loses_what_was_not_synced():
    engine = MemoryEngine()
    engine.attach([A])
    put(engine, x="1")
    engine.sync_on_commit = False
    put(engine, x="2", y="2")
    engine.power_cut()
    assert contents(engine) == [("x", "1")]


def test_a_full_store_refuses_to_write_and_goes_on_reading():
    engine = MemoryEngine()
    engine.attach([A])
    put(engine, x="1")
    engine.bytes_max = 10
    with pytest.raises(StoreFull):
        put(engine, y="much too long for so little room")
    assert contents(engine) == [("x", "1")]


def test_lmdb_keeps_its_contents_over_a_restart(tmp_path):
    engine = LmdbEngine(tmp_path / "store")
    engine.attach([A])
    put(engine, x="1")
    engine.close()
    again = LmdbEngine(tmp_path / "store")
    again.attach([B, A])
    assert contents(again) == [("x", "1")]
    again.close()


def test_lmdb_grows_before_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("controlplane.store.lmdb.MAP_FREE_MIN", 512 * 1024)
    engine = LmdbEngine(tmp_path / "store", sync=False, map_size=1024 * 1024)
    engine.attach([A])
    for number in range(100):
        with engine.write() as txn:
            txn.put(A, b"%d" % number, bytes(100_000))
    with engine.read() as txn:
        assert sum(1 for _ in txn.keys(A)) == 100
    assert engine.statistics()["room"] >= 10_000_000
    engine.close()


def test_a_foreign_file_is_refused_with_the_reason(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "data.mdb").write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(StoreRefused, match="cannot be opened"):
            LmdbEngine(tmp_path / "store")
