"""Whether a store is whole: every record can be read, stands under its own key, and is found through its indexes.

This is the store's own part; that what is derived from workers is right is the ledger's affair.
"""

from collections.abc import Iterator
from typing import Any

from controlplane.records.types import from_bytes
from controlplane.store.catalog import EVENTS, TABLES
from controlplane.store.engine import Transaction
from controlplane.store.tables import Table


def find_problems(transaction: Transaction) -> Iterator[str]:
    """Yield what is wrong, in words; nothing when the store is whole."""
    for table in TABLES:
        yield from _table_problems(transaction, table)
    yield from _event_problems(transaction)


def _table_problems(transaction: Transaction, table: Table[Any]) -> Iterator[str]:
    entries = dict.fromkeys((index.name for index in table.indexes), 0)
    for key, data in transaction.scan(table.space):
        try:
            record = from_bytes(data, table.kind)
            right_key = table.key(record)
        except Exception as problem:
            yield f"a {table.noun} cannot be read: {problem}"
            continue
        if right_key != key:
            yield f"a {table.noun} stands under the key of another"
        for index in table.indexes:
            value = index.key(record)
            if value is None:
                continue
            entries[index.name] += 1
            place = value if index.unique else value + key
            if transaction.get(table.index_spaces[index.name], place) != key:
                yield f"a {table.noun} is not found by its {index.name}"
    for name, expected in entries.items():
        found = sum(1 for _ in transaction.keys(table.index_spaces[name]))
        if found != expected:
            yield f"the {table.noun}s by {name} have {found} entries; there should be {expected}"


def _event_problems(transaction: Transaction) -> Iterator[str]:
    before = None
    for key in transaction.keys(EVENTS.space):
        number = int.from_bytes(key, "big")
        if before is not None and number != before + 1:
            yield f"events {before + 1} to {number - 1} are missing"
        before = number
