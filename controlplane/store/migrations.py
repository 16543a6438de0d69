"""Steps from one layout version to the next, each a function of its own.

A step sees the raw bytes: the records of old versions are not kept as classes. It runs in one transaction with the
change of the version mark, so a step is taken wholly or not at all.
"""

from collections.abc import Callable, Mapping

from controlplane.store.engine import Transaction

Migration = Callable[[Transaction], None]

MIGRATIONS: Mapping[int, Migration] = {}
"""By the version that the step starts from."""
