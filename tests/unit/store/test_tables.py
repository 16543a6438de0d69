from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import AlreadyExists, NoSuchObject
from controlplane.records.types import Oid, Record
from controlplane.store.memory import MemoryEngine
from controlplane.store.tables import Rows, Table, key_of


class Thing(Record, frozen=True, kw_only=True):
    oid: Oid
    name: str
    owner: str | None = None
    colour: str = "red"


THINGS = Table(
    "00000000-0000-4000-8000-00000000aaaa",
    Thing,
    "thing",
    lambda t: t.oid.bytes,
    unique={"name": lambda t: t.name.encode(), "owner": lambda t: t.owner.encode() if t.owner else None},
    indexes={"colour": lambda t: key_of(t.colour)},
)


def oid(number: int) -> UUID:
    return UUID(int=number << 64)


@pytest.fixture
def rows():
    engine = MemoryEngine()
    engine.attach(THINGS.spaces())
    with engine.write() as txn:
        yield Rows(THINGS, txn)


def test_a_record_is_found_by_its_key_and_by_its_unique_keys(rows):
    thing = rows.add(Thing(oid=oid(1), name="one", owner="joe"))
    assert rows.get(oid(1)) == thing
    assert rows.get_by("name", "one") == thing
    assert rows.find_by("owner", "joe") == thing
    assert rows.find_by("owner", "ann") is None
    assert rows.has(oid(1))
    assert not rows.has(oid(2))


def test_what_is_missing_is_said_with_its_kind(rows):
    with pytest.raises(NoSuchObject, match="no thing"):
        rows.get(oid(1))
    with pytest.raises(NoSuchObject, match="name nobody"):
        rows.get_by("name", "nobody")


def test_a_unique_key_is_taken_once(rows):
    rows.add(Thing(oid=oid(1), name="one"))
    with pytest.raises(AlreadyExists, match="this name") as caught:
        rows.add(Thing(oid=oid(2), name="one"))
    assert caught.value.subject == {"type": "thing", "oid": str(oid(1))}
    with pytest.raises(AlreadyExists):
        rows.add(Thing(oid=oid(1), name="other"))


def test_records_without_an_optional_unique_key_do_not_collide(rows):
    rows.add(Thing(oid=oid(1), name="one"))
    rows.add(Thing(oid=oid(2), name="two"))
    rows.remove(rows.get(oid(1)))
    assert [thing.name for thing in rows.all()] == ["two"]


def test_a_renamed_record_frees_its_old_name(rows):
    rows.add(Thing(oid=oid(1), name="one"))
    rows.put(Thing(oid=oid(1), name="uno"))
    rows.add(Thing(oid=oid(2), name="one"))
    assert rows.get_by("name", "uno").oid == oid(1)
    assert rows.get_by("name", "one").oid == oid(2)


def test_a_removed_record_frees_its_name_and_leaves_its_index(rows):
    rows.add(Thing(oid=oid(1), name="one"))
    rows.remove(rows.get(oid(1)))
    rows.remove(Thing(oid=oid(1), name="one"))
    rows.add(Thing(oid=oid(2), name="one"))
    assert [thing.oid for thing in rows.all_by("colour", "red")] == [oid(2)]


def test_an_index_finds_all_its_records_in_order(rows):
    for number, colour in enumerate(["red", "blue", "red", "red"], 1):
        rows.add(Thing(oid=oid(number), name=str(number), colour=colour))
    rows.put(Thing(oid=oid(3), name="3", colour="blue"))
    assert [thing.oid for thing in rows.all_by("colour", "red")] == [oid(1), oid(4)]
    assert [thing.oid for thing in rows.all_by("colour", "blue")] == [oid(2), oid(3)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "remove"]), st.integers(1, 4), st.sampled_from("abc"), st.sampled_from("rgb"))
)


@given(STEPS)
def test_indexes_always_say_what_the_records_say(steps):
    engine = MemoryEngine()
    engine.attach(THINGS.spaces())
    model: dict[UUID, Thing] = {}
    with engine.write() as txn:
        rows = Rows(THINGS, txn)
        for what, number, name, colour in steps:
            thing = Thing(oid=oid(number), name=name, colour=colour)
            taken = any(other.name == name and other.oid != thing.oid for other in model.values())
            if what == "remove":
                rows.remove(thing)
                model.pop(thing.oid, None)
            elif taken:
                with pytest.raises(AlreadyExists), txn.child() as inner:
                    Rows(THINGS, inner).put(thing)
            else:
                rows.put(thing)
                model[thing.oid] = thing
        assert list(rows.all()) == [model[key] for key in sorted(model)]
        for colour in "rgb":
            expected = [model[key] for key in sorted(model) if model[key].colour == colour]
            assert list(rows.all_by("colour", colour)) == expected
        for name in "abc":
            expected_one = next((thing for thing in model.values() if thing.name == name), None)
            assert rows.find_by("name", name) == expected_one
        counts = {space.name: sum(1 for _ in txn.keys(space)) for space in THINGS.spaces()}
        assert counts == {
            "thing": len(model),
            "thing by name": len(model),
            "thing by owner": 0,
            "thing by colour": len(model),
        }


HOUSED = Table(
    "00000000-0000-4000-8000-00000000aaab",
    Thing,
    "thing",
    lambda t: key_of(t.colour, t.oid),
    unique={"oid": lambda t: t.oid.bytes},
    found_by="oid",
)


def test_records_that_lie_together_are_found_by_what_tells_them_apart():
    engine = MemoryEngine()
    engine.attach(HOUSED.spaces())
    with engine.write() as txn:
        rows = Rows(HOUSED, txn)
        red, blue, other = (
            rows.add(Thing(oid=oid(number), name=f"n{number}", colour=colour))
            for number, colour in ((2, "red"), (1, "blue"), (3, "red"))
        )
        assert list(rows.all()) == [blue, red, other]
        assert list(rows.all("red")) == [red, other]
        assert (rows.get(oid(1)), rows.find(oid(3)), rows.find(oid(4))) == (blue, other, None)
        assert rows.has(oid(2))
        assert not rows.has(oid(4))
        with pytest.raises(AlreadyExists):
            rows.add(Thing(oid=oid(1), name="again", colour="red"))
        renamed = rows.put(Thing(oid=oid(2), name="new", colour="red"), red)
        assert rows.get(oid(2)) == renamed
        rows.remove(renamed)
        assert rows.find(oid(2)) is None
        assert list(rows.all()) == [blue, other]


def test_what_could_not_be_read_again_is_not_written(rows):
    with pytest.raises(ValueError, match="Expected `str`"):
        rows.add(Thing(oid=oid(9), name="nine", colour=5))
    assert rows.find(oid(9)) is None
