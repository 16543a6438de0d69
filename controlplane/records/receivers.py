"""Receivers: signals from outside that start an action on one cluster."""

import enum
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from controlplane.records.types import Instant, Line, Name, Oid, Record

WEBHOOK_PATH = "/v1/webhooks/"
"""Of a receiver's address; its token follows."""


SEND_MESSAGE = "controlplane.receiver.send_message"
"""What receivers of messages are signalled by."""


class ReceiverAction(enum.Enum):
    """What a receiver can start."""

    CLUSTER_SCALE_OUT = "CLUSTER_SCALE_OUT"
    CLUSTER_SCALE_IN = "CLUSTER_SCALE_IN"
    CLUSTER_RESIZE = "CLUSTER_RESIZE"
    CLUSTER_RECOVER = "CLUSTER_RECOVER"
    CLUSTER_OPERATION = "CLUSTER_OPERATION"


FIXED_PARAMS: Mapping[ReceiverAction, tuple[str, ...]] = {ReceiverAction.CLUSTER_OPERATION: ("operation", "parameters")}
"""What the receiver alone says: whoever knows its token must not have its workers run whatever they like."""


class ReceiverType(enum.Enum):
    """How a receiver is signalled."""

    WEBHOOK = "webhook"
    """By a POST to its secret address."""

    MESSAGE = "message"
    """By a call of `controlplane.receiver.send_message`."""


class Receiver(Record, frozen=True, kw_only=True):
    """Whoever knows its token starts its action, in the name of its owner."""

    oid: Oid
    name: str
    type: ReceiverType = ReceiverType.WEBHOOK
    cluster_oid: Oid
    action: ReceiverAction
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    owner_oid: Oid
    token_digest: bytes
    """SHA-256 of the token, which is not kept."""

    enabled: bool = True
    created: Instant
    changed: Instant


Params = Annotated[dict[Line, Any], msgspec.Meta(max_length=16)]


class ReceiverInput(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A receiver, as a caller gives it."""

    name: Name
    type: ReceiverType = ReceiverType.WEBHOOK
    action: ReceiverAction
    params: Params = msgspec.field(default_factory=dict)
    """Arguments of the action's procedure; whoever sends the signal can give others.

    Of `CLUSTER_OPERATION` the `operation` has to be among them, and neither that nor `parameters` can be given others.
    """


class ReceiverUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What of a receiver is to change; what is not mentioned stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    action: ReceiverAction | msgspec.UnsetType = msgspec.UNSET
    params: Params | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class ReceiverView(Record, frozen=True, kw_only=True):
    """A receiver as callers see it."""

    oid: Oid
    name: str
    type: str = "webhook"
    cluster_oid: Oid
    cluster_name: str
    action: ReceiverAction
    params: dict[str, Any]
    owner_oid: Oid
    enabled: bool
    created: Instant
    changed: Instant


class NewReceiverView(Record, frozen=True, kw_only=True):
    """A receiver with its secret address, which is told once: when it was created, or given another one."""

    receiver: ReceiverView
    webhook_path: str
    """Of the HTTP endpoint for webhooks that the master was told to open; a receiver of messages has no path there."""

    token: str | None = None
    """Of a receiver of messages, for those who may not operate its cluster; None for a webhook."""
