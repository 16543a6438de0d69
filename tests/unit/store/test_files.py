"""A file that is no store of ours is refused with the reason, and left as it is."""

import sqlite3
import struct
from uuid import UUID

import pytest
import zlmdb
from twisted.internet.task import Clock
from zlmdb import lmdb

from controlplane.errors import StoreDamaged, StoreFull, StoreRefused
from controlplane.store.catalog import TABLES
from controlplane.store.database import Store
from controlplane.store.engine import Space
from controlplane.store.lmdb import DATA_FILE, LmdbEngine

A = Space(UUID(int=1), "a")


def another_programs_lmdb(directory, **how):
    with lmdb.open(str(directory), map_size=1 << 20, **how) as env, env.begin(write=True) as txn:
        for number in range(100):
            txn.put(b"key%d" % number, b"value" * 50)


def another_programs_zlmdb(directory):
    database = zlmdb.Database(str(directory))

    @zlmdb.table("7e0a6b4c-0000-4000-8000-000000000020", marshal=lambda v: v, parse=lambda v: v)
    class Foreign(zlmdb.MapUuidCbor):
        pass

    database.attach_table(Foreign)
    database.__exit__(None, None, None)


def other_byte_order(directory):
    engine = LmdbEngine(directory, sync=False)
    engine.attach([A])
    engine.close()
    content = (directory / DATA_FILE).read_bytes()
    swapped = b"".join(struct.pack(">I", *struct.unpack("<I", content[at : at + 4])) for at in range(0, 8192, 4))
    (directory / DATA_FILE).write_bytes(swapped + content[8192:])


def sqlite_file(directory):
    with sqlite3.connect(directory / DATA_FILE) as database:
        database.execute("create table t (a, b)")
    database.close()


def half_a_store(directory):
    engine = LmdbEngine(directory, sync=False)
    engine.attach([space for table in TABLES for space in table.spaces()])
    engine.close()
    content = (directory / DATA_FILE).read_bytes()
    (directory / DATA_FILE).write_bytes(content[: len(content) // 2])


FOREIGN = {
    "text": (lambda d: (d / DATA_FILE).write_text("no database\n" * 1000), "not an LMDB data file"),
    "empty": (lambda d: (d / DATA_FILE).touch(), "it is empty"),
    "zeros": (lambda d: (d / DATA_FILE).write_bytes(bytes(65536)), "not an LMDB data file"),
    "sqlite": (sqlite_file, "not an LMDB data file.*SQLite format 3"),
    "half a store": (half_a_store, "it is damaged"),
    "other byte order": (other_byte_order, "foreign-endian"),
    "another program's LMDB": (another_programs_lmdb, "belongs to another program"),
    "another program's LMDB, older format": (
        lambda d: another_programs_lmdb(d, lib_version=0),
        "belongs to another program",
    ),
    "another program's zlmdb": (another_programs_zlmdb, "belongs to another program"),
    "a directory": (lambda d: (d / DATA_FILE).mkdir(), "cannot be read"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_file_is_refused_with_the_reason_and_left_as_it_is(tmp_path, what):
    make, reason = FOREIGN[what]
    make(tmp_path)
    data = tmp_path / DATA_FILE
    before = data.read_bytes() if data.is_file() else b""
    for _ in range(2):
        with pytest.raises(StoreRefused, match=reason) as caught:
            engine = LmdbEngine(tmp_path, sync=False)
            try:
                Store(engine, Clock(), lambda: UUID(int=1))
            finally:
                engine.close()
        assert caught.value.next_step
    assert (data.read_bytes() if data.is_file() else b"") == before


def test_a_store_is_made_whole_or_not_at_all(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / DATA_FILE).write_bytes(b"a first start that was killed")
    LmdbEngine(tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.mdb", "lock.mdb"]


def test_a_value_that_changed_on_disk_is_not_read(tmp_path):
    engine = LmdbEngine(tmp_path, sync=False)
    engine.attach([A])
    with engine.write() as txn:
        txn.put(A, b"key", b"four workers")
        txn.put(A, b"other", b"as before")
    engine.close()
    data = tmp_path / DATA_FILE
    data.write_bytes(data.read_bytes().replace(b"four workers", b"five workers"))
    engine = LmdbEngine(tmp_path)
    engine.attach([A])
    with engine.read() as txn:
        assert txn.get(A, b"other") == b"as before"
        with pytest.raises(StoreDamaged, match="checksum is wrong"):
            txn.get(A, b"key")
        with pytest.raises(StoreDamaged):
            list(txn.scan(A))
    engine.close()


def test_a_store_does_not_grow_beyond_its_limit_and_is_read_all_the_same(tmp_path):
    engine = LmdbEngine(tmp_path, sync=False, map_size=1 << 20, map_size_max=4 << 20)
    engine.attach([A])

    def fill():
        for number in range(100):
            with engine.write() as txn:
                txn.put(A, b"%d" % number, bytes(100_000))

    with pytest.raises(StoreFull, match="may not grow beyond 4194304 bytes") as caught:
        fill()
    assert "store_bytes_max" in caught.value.next_step
    with engine.read() as txn:
        kept = len(list(txn.scan(A)))
    assert 20 < kept < 45
    engine.close()
    larger = LmdbEngine(tmp_path, sync=False, map_size_max=64 << 20)
    larger.attach([A])
    with larger.write() as txn:
        txn.put(A, b"more", bytes(100_000))
        assert len(list(txn.keys(A))) == kept + 1
    larger.close()


def test_a_directory_that_may_not_be_written_to_is_refused_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefused, match="cannot be opened"):
        LmdbEngine(tmp_path / "file" / "store")
