"""What is left behind for the collector of cycles, which runs seldom: until it does, all of that is growing memory."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def leftovers(*packages: str) -> Iterator[Counter[str]]:
    """Count the objects of these packages that a block leaves in cycles; the counts are there when it has ended."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = map(type, gc.garbage)
        found.update(kind.__qualname__ for kind in kinds if kind.__module__.split(".")[0] in packages)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
