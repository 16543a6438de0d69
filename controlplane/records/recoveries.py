"""How workers are checked, and brought back when they are not well."""

import enum
from typing import Annotated, Literal

import msgspec

from controlplane.records.profiles import Part
from controlplane.records.types import Instant, Oid, Record, Seconds

PATIENCE_DEFAULT_S = 60.0
CHAIN_LENGTH_MAX = 8

Patience = Annotated[float, msgspec.Meta(ge=1, le=86_400)]


class Operation(enum.Enum):
    """What can be done about a worker that is not well."""

    REBOOT = "REBOOT"
    """Another process or container in the same place, with what the worker has kept in its directory."""

    REBUILD = "REBUILD"
    """The same, with nothing of what it has kept."""

    RECREATE = "RECREATE"
    """Another worker, on whatever node there is a place for it."""


class OperationParameters(Part, frozen=True, kw_only=True):
    """How operations are carried out."""

    timeout: Patience = PATIENCE_DEFAULT_S
    """Seconds after which a worker that does not run has failed an operation, and the next one is tried."""

    type: Literal["SOFT", "HARD"] = "SOFT"
    """Whether what runs of a worker is ended in order first, or killed at once."""


class Recovery(Record, frozen=True, kw_only=True):
    """How far an action has come with one worker that stays the one it is."""

    worker_oid: Oid
    step: int
    """In the chain of operations."""

    since: Instant
    """When this operation was begun."""

    before: str | None = None
    """Digest of its configuration when it was; it is done when another one runs."""

    tried: tuple[str, ...] = ()
    """Operations that have failed, with reasons."""

    given_up: bool = False
    """Whether none is left."""


class Checked(Record, frozen=True, kw_only=True):
    """What was found of one worker."""

    well: bool
    reason: str | None = None
    """What is wrong with it."""

    started: Instant | None = None
    """Of what was looked at; None when nothing runs."""


class Finding(Record, frozen=True, kw_only=True):
    """What a check found of one worker, with whose word that is."""

    worker_oid: Oid
    checked: Checked
    asked: bool
    """Whether its agent has looked; else it is concluded from the agent's silence or from what is known."""


class Chain(Record, frozen=True, kw_only=True):
    """What is to be done about workers, one after the other until they run."""

    operations: tuple[Operation, ...] = (Operation.RECREATE,)
    patience: Seconds = PATIENCE_DEFAULT_S
    hard: bool = False
