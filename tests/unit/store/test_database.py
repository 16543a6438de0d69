import os
from itertools import count
from uuid import UUID

import pytest
from twisted.internet.task import Clock

from controlplane.errors import AlreadyExists, Overloaded, StoreFull, StoreRefused
from controlplane.records.principals import Principal
from controlplane.store import database
from controlplane.store.backups import back_up, put_back
from controlplane.store.catalog import LAYOUT_VERSION, MARKS, PRINCIPALS, Mark
from controlplane.store.database import Store
from controlplane.store.lmdb import LmdbEngine
from controlplane.store.memory import MemoryEngine
from controlplane.store.tables import COUNTS, Rows
from tests.leftovers import leftovers


def principal(number: int, **fields) -> Principal:
    given = {"authid": f"p{number}", "pubkey": f"{number:064x}", **fields}
    return Principal(oid=UUID(int=number), role="admin", created=0, **given)


def oids():
    numbers = count(1000)
    return lambda: UUID(int=next(numbers))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine():
    return MemoryEngine()


@pytest.fixture
def store(engine, clock):
    return Store(engine, clock, oids())


def outcome(deferred):
    found = []
    deferred.addBoth(found.append)
    return found


def add(number, **fields):
    return lambda change: change.rows(PRINCIPALS).add(principal(number, **fields)).authid


def names(store):
    with store.read() as view:
        return [p.authid for p in view.rows(PRINCIPALS).all()]


def test_many_changes_share_one_commit(store, engine, clock):
    before = engine.commits
    answers = [outcome(store.write(add(number))) for number in range(1, 50)]
    assert not any(answers)
    clock.advance(0)
    assert [answer[0] for answer in answers] == [f"p{number}" for number in range(1, 50)]
    assert engine.commits == before + 1


def test_a_change_that_fails_undoes_only_itself(store, clock):
    first = outcome(store.write(add(1)))
    second = outcome(store.write(lambda change: (add(2)(change), add(3, authid="p1")(change))))
    third = outcome(store.write(add(4)))
    clock.advance(0)
    assert (first, third) == (["p1"], ["p4"])
    assert second[0].check(AlreadyExists)
    assert names(store) == ["p1", "p4"]


def test_what_follows_a_change_happens_after_all_are_answered(store, clock):
    order = []

    def change(number):
        def work(change):
            change.after_commit(lambda: order.append(f"effect {number}"))
            return number

        return work

    for number in (1, 2):
        store.write(change(number)).addCallback(lambda n: order.append(f"answer {n}"))
    clock.advance(0)
    assert order == ["answer 1", "answer 2", "effect 1", "effect 2"]


def test_a_commit_that_fails_fails_everybody_and_publishes_nothing(store, engine, clock):
    engine.bytes_max = engine.statistics()["used"]
    effects = []
    answers = [
        outcome(store.write(lambda change, n=n: (add(n)(change), change.after_commit(lambda: effects.append(n)))))
        for n in (1, 2)
    ]
    clock.advance(0)
    assert all(answer[0].check(StoreFull) for answer in answers)
    assert (effects, names(store)) == ([], [])
    engine.bytes_max = None
    again = outcome(store.write(add(3)))
    clock.advance(0)
    assert again == ["p3"]


def test_an_effect_that_fails_does_not_stop_the_others(store, clock):
    seen = []

    def work(change):
        change.after_commit(lambda: 1 / 0)
        change.after_commit(lambda: seen.append(True))

    store.write(work)
    clock.advance(0)
    assert seen == [True]


def test_a_queue_that_is_too_long_refuses_more(store, clock, monkeypatch):
    monkeypatch.setattr(database, "QUEUE_LENGTH_MAX", 2)
    answers = [outcome(store.write(add(number))) for number in (1, 2, 3)]
    assert answers[2][0].check(Overloaded)
    clock.advance(0)
    assert names(store) == ["p1", "p2"]


def test_closing_writes_what_is_queued_and_refuses_more(store):
    answer = outcome(store.write(add(1)))
    store.close()
    assert answer == ["p1"]
    assert outcome(store.write(add(2)))[0].check(Overloaded)


def test_a_store_has_an_epoch_that_stays(engine, clock, store):
    assert Store(engine, clock, oids()).epoch == store.epoch


def test_a_store_of_a_newer_layout_is_refused(engine, clock, store):
    with engine.write() as txn:
        Rows(MARKS, txn).put(Mark(name="layout", value=str(LAYOUT_VERSION + 1)))
    with pytest.raises(StoreRefused, match="layout version"):
        Store(engine, clock, oids())


def test_records_without_a_layout_version_are_refused(engine, clock):
    engine.attach([*PRINCIPALS.spaces(), COUNTS])
    with engine.write() as txn:
        Rows(PRINCIPALS, txn).add(principal(1))
    with pytest.raises(StoreRefused, match="no store of the control plane"):
        Store(engine, clock, oids())


def test_an_older_layout_is_migrated_once_and_wholly(engine, clock, store, monkeypatch):
    with engine.write() as txn:
        Rows(PRINCIPALS, txn).add(principal(1))
    steps = []

    def rename(txn):
        rows = Rows(PRINCIPALS, txn)
        for old in list(rows.all()):
            rows.put(principal(1, authid="renamed"), old)
        steps.append(LAYOUT_VERSION)

    monkeypatch.setattr(database, "LAYOUT_VERSION", LAYOUT_VERSION + 1)
    assert names(Store(engine, clock, oids(), migrations={LAYOUT_VERSION: rename})) == ["renamed"]
    assert names(Store(engine, clock, oids(), migrations={LAYOUT_VERSION: rename})) == ["renamed"]
    assert steps == [LAYOUT_VERSION]


def test_a_migration_that_fails_changes_nothing(engine, clock, store, monkeypatch):
    def half(txn):
        Rows(PRINCIPALS, txn).add(principal(1))
        raise ZeroDivisionError

    monkeypatch.setattr(database, "LAYOUT_VERSION", LAYOUT_VERSION + 1)
    with pytest.raises(ZeroDivisionError):
        Store(engine, clock, oids(), migrations={LAYOUT_VERSION: half})
    assert names(store) == []


def test_a_backup_that_is_put_back_has_what_was_there_and_an_epoch_of_its_own(tmp_path, clock):
    new_oid = oids()
    store = Store(LmdbEngine(tmp_path / "store", sync=False), clock, new_oid)
    store.write_now(add(1))
    store.close()
    assert back_up(tmp_path / "store", tmp_path / "backup") == (tmp_path / "backup").stat().st_size
    again = Store(LmdbEngine(tmp_path / "store", sync=False), clock, new_oid)
    again.write_now(add(2))
    again.close()
    former = put_back(tmp_path / "backup", tmp_path / "store", new_oid)
    restored = Store(LmdbEngine(tmp_path / "store", sync=False), clock, oids())
    assert names(restored) == ["p1"]
    assert restored.epoch != store.epoch
    assert former is not None
    assert (former / "data.mdb").exists()
    restored.close()


def test_a_backup_does_not_overwrite_a_file(tmp_path, clock):
    Store(LmdbEngine(tmp_path / "store", sync=False), clock, oids()).close()
    (tmp_path / "backup").write_text("something else")
    with pytest.raises(AlreadyExists):
        back_up(tmp_path / "store", tmp_path / "backup")
    assert (tmp_path / "backup").read_text() == "something else"


@pytest.mark.parametrize("damage", ["foreign", "empty", "cut", "overwritten", "missing", "other"])
def test_a_damaged_or_foreign_backup_is_refused_and_the_store_stays(tmp_path, clock, damage):
    engine = LmdbEngine(tmp_path / "store", sync=False)
    store = Store(engine, clock, oids())
    for number in range(1, 200):
        store.write_now(add(number))
    store.close()
    backup = tmp_path / "backup"
    back_up(tmp_path / "store", backup)
    match damage:
        case "foreign":
            backup.write_bytes(os.urandom(100_000))
        case "empty":
            backup.write_bytes(b"")
        case "cut":
            backup.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])
        case "overwritten":
            content = bytearray(backup.read_bytes())
            content[9000:-4096] = bytes(len(content) - 9000 - 4096)
            backup.write_bytes(content)
        case "missing":
            backup.unlink()
        case "other":
            backup.unlink()
            LmdbEngine(tmp_path / "other", sync=False).close()
            back_up(tmp_path / "other", backup)
    with pytest.raises(StoreRefused):
        put_back(backup, tmp_path / "store", oids())
    again = Store(LmdbEngine(tmp_path / "store", sync=False), clock, oids())
    assert len(names(again)) == 199
    again.close()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("restore")) == []


def test_what_follows_from_a_change_may_hold_it_and_both_go_when_it_is_done(store, clock):
    done = []

    def work(change):
        change.after_commit(lambda: done.append(change.rows(PRINCIPALS)))
        with change.nested() as inner:
            inner.after_commit(lambda: done.append(inner.rows(PRINCIPALS)))

    with leftovers("controlplane") as found:
        store.write(work)
        clock.advance(0)
        store.write_now(work)
        assert len(done) == 4
        done.clear()
    assert not found


def test_a_change_that_failed_leaves_nothing_behind(store, clock):
    def work(_change):
        raise AlreadyExists("it is there")

    with leftovers("controlplane") as found:
        answer = store.write(work)
        clock.advance(0)
        answer.addErrback(lambda _: None)
        del answer
    assert not found
