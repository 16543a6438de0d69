"""Messages to receivers: signals over WAMP, each of which counts once."""

from typing import Annotated, Any

import msgspec

from controlplane.records.types import Instant, Line, Oid, Record

MESSAGES_KEPT_MAX = 1_000
"""Of one receiver: a message that is older than so many others counts as a new one."""

MessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""Chosen by whoever sends it, and the same when it is sent again."""

Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
MessageParams = Annotated[dict[Line, Any], msgspec.Meta(max_length=16)]


class Message(Record, frozen=True, kw_only=True):
    """That a message was acted upon."""

    receiver_oid: Oid
    digest: bytes
    """SHA-256 of its id."""

    action_oid: Oid
    time: Instant
