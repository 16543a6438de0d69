"""Children: what an action of a cluster does about one of its workers, as an action that can be seen by itself."""

from controlplane.records.actions import ActionKind, ActionStatus
from controlplane.records.types import Instant, Oid, Record


class Child(Record, frozen=True, kw_only=True):
    """What becomes of one worker by an action of its cluster, which alone decides, locks and is announced."""

    oid: Oid
    parent_oid: Oid
    begun: Instant
    """When the parent was created: children of one action are kept side by side, the oldest actions first."""

    worker_oid: Oid
    kind: ActionKind
    status: ActionStatus
    reason: str | None = None
    """Why it failed or was cancelled; while it is under way its worker says what there is to say."""

    created: Instant
    started: Instant | None = None
    ended: Instant | None = None
