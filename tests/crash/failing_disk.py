"""A store on a disk that fails, for a process in which strace makes system calls fail.

`python -m tests.crash.failing_disk DIRECTORY` makes changes one after the other, prints what becomes of each, and ends
when the store says that it cannot be used any more.
"""

import sys
from itertools import count
from pathlib import Path
from uuid import UUID

from twisted.internet.task import Clock

from controlplane.errors import ControlPlaneError
from controlplane.records.principals import Principal
from controlplane.store.catalog import PRINCIPALS
from controlplane.store.database import Store
from controlplane.store.lmdb import LmdbEngine

CHANGES = 12


def principal(number: int) -> Principal:
    return Principal(oid=UUID(int=number << 64), authid=f"p{number}", pubkey=f"{number:064x}", role="owner", created=0)


def names_in(store: Store) -> list[str]:
    with store.read() as view:
        return [found.authid for found in view.rows(PRINCIPALS).all()]


def main(directory: Path) -> None:
    clock = Clock()
    broken: list[ControlPlaneError] = []
    numbers = count(1)
    store = Store(LmdbEngine(directory), clock, lambda: UUID(int=next(numbers)), broken=broken.append)
    print("begin", flush=True)
    for number in range(1, CHANGES + 1):
        outcome: list = []
        store.write(lambda change, number=number: change.rows(PRINCIPALS).add(principal(number))).addBoth(
            outcome.append
        )
        clock.advance(0)
        failed = getattr(outcome[0], "value", None)
        print("failed" if failed else "done", number, getattr(failed, "uri", ""), flush=True)
        if broken:
            print("broken", 0, broken[0].uri)
            return
        assert f"p{number}" in names_in(store) or failed
    print("names", len(names_in(store)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
