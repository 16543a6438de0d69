"""Every error that a caller can meet: one class, one URI, one sentence.

The tree::

    ControlPlaneError
    |-- InvalidArgument          wamp.error.invalid_argument
    |-- NotAuthorized            wamp.error.not_authorized
    |-- PayloadTooLarge          wamp.error.payload_size_exceeded
    |-- InvalidConfiguration     wamp.error.invalid_configuration
    |-- NoSuchObject             crossbar.error.no_such_object
    |-- AlreadyExists            crossbar.error.already_exists
    |-- NotStopped               crossbar.error.not_stopped
    |-- CannotStart              crossbar.error.cannot_start
    |-- CannotStop               crossbar.error.cannot_stop
    |-- UnknownKey               controlplane.error.unknown_key
    |-- NodeUnpaired             controlplane.error.node_unpaired
    |-- TooManyLogins            controlplane.error.too_many_logins
    |-- NotAttached              controlplane.error.not_attached
    |-- AlreadyAttached          controlplane.error.already_attached
    |-- NotOffered               controlplane.error.not_offered
    |-- NodesNotConnected        controlplane.error.nodes_not_connected
    |-- CannotAdopt              controlplane.error.cannot_adopt
    |-- StoreFull                controlplane.error.store_full
    |-- StoreFailed              controlplane.error.store_failed
    |-- StoreDamaged             controlplane.error.store_damaged
    |-- StoreRefused             controlplane.error.store_refused
    |-- Overloaded               controlplane.error.overloaded
    |-- LimitReached             controlplane.error.limit_reached
    |-- TooManyCalls             controlplane.error.too_many_calls
    |-- IdempotencyConflict      controlplane.error.idempotency_conflict
    |-- ActionHasParent          controlplane.error.action_has_parent
    |-- NoAnswer                 controlplane.error.no_answer
    |-- LoginRefused             controlplane.error.login_refused
    |-- UntrustedRouter          controlplane.error.untrusted_router
    |-- RemoteError              whatever URI the other side sent
    |-- WorkerFailed             controlplane.error.worker_failed
    `-- InternalError            controlplane.error.internal_error

The ``wamp.error`` and ``crossbar.error`` URIs are those that Crossbar.io's published documents promise.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

MESSAGE_LENGTH_MAX = 2_000
PROBLEMS_MAX = 50


class Problem(NamedTuple):
    """One thing that is wrong with an input, and where."""

    path: str
    message: str


class ControlPlaneError(Exception):
    """Something a caller asked for cannot be done."""

    uri: str = "controlplane.error.error"
    known: ClassVar[dict[str, type["ControlPlaneError"]]] = {}

    def __init_subclass__(cls, uri: str) -> None:
        super().__init_subclass__()
        cls.uri = uri
        ControlPlaneError.known[uri] = cls

    def __init__(
        self,
        message: str,
        *,
        subject: Mapping[str, Any] | None = None,
        problems: Iterable[Problem] = (),
        next_step: str | None = None,
    ) -> None:
        """Describe what is wrong.

        `subject` names the object ({"type": ..., "oid": ...}), `problems` say what is wrong at which path,
        and `next_step` is what the caller can do about it.
        """
        super().__init__(message)
        self.message = message[:MESSAGE_LENGTH_MAX]
        self.subject = subject
        self.problems = tuple(problems)
        self.next_step = next_step

    def __str__(self) -> str:
        text = self.message
        if self.next_step:
            text = f"{text} ({self.next_step})"
        return text[:MESSAGE_LENGTH_MAX]

    def details(self) -> dict[str, Any]:
        """Return the keyword arguments that the error carries over WAMP."""
        found: dict[str, Any] = {}
        if self.subject is not None:
            found["object"] = dict(self.subject)
        if self.problems:
            shown = self.problems[:PROBLEMS_MAX]
            found["path"] = shown[0].path
            found["problems"] = [{"path": path, "message": text[:MESSAGE_LENGTH_MAX]} for path, text in shown]
            found["problems_total"] = len(self.problems)
        if self.next_step is not None:
            found["next_step"] = self.next_step
        return found


class InvalidArgument(ControlPlaneError, uri="wamp.error.invalid_argument"):
    """An argument is missing, unknown, of the wrong type or out of range."""


class NotAuthorized(ControlPlaneError, uri="wamp.error.not_authorized"):
    """The caller has no right to do this."""


class PayloadTooLarge(ControlPlaneError, uri="wamp.error.payload_size_exceeded"):
    """The answer is larger than one message can carry."""


class InvalidConfiguration(ControlPlaneError, uri="wamp.error.invalid_configuration"):
    """A definition has problems; all of them are listed, each with its path."""


class NoSuchObject(ControlPlaneError, uri="crossbar.error.no_such_object"):
    """The object does not exist, or not where it was looked for."""


class AlreadyExists(ControlPlaneError, uri="crossbar.error.already_exists"):
    """Another object has this name or key already."""


class NotStopped(ControlPlaneError, uri="crossbar.error.not_stopped"):
    """The object must be stopped first."""


class CannotStart(ControlPlaneError, uri="crossbar.error.cannot_start"):
    """The object cannot be started in the state that it is in."""


class CannotStop(ControlPlaneError, uri="crossbar.error.cannot_stop"):
    """The object cannot be stopped in the state that it is in."""


class UnknownKey(ControlPlaneError, uri="controlplane.error.unknown_key"):
    """The public key belongs to nobody whom the store knows."""


class NodeUnpaired(ControlPlaneError, uri="controlplane.error.node_unpaired"):
    """The node was taken out; its agent stops its workers."""


class TooManyLogins(ControlPlaneError, uri="controlplane.error.too_many_logins"):
    """Logins failed again and again; the next attempt has to wait."""


class NotAttached(ControlPlaneError, uri="controlplane.error.not_attached"):
    """The agent's session is not the one that its node is attached by."""


class AlreadyAttached(ControlPlaneError, uri="controlplane.error.already_attached"):
    """The node is connected already, and only one of its sessions can be."""


class NotOffered(ControlPlaneError, uri="controlplane.error.not_offered"):
    """Crossbar.io's master has this, the control plane has it not, or otherwise; the next step says how."""


class CannotAdopt(ControlPlaneError, uri="controlplane.error.cannot_adopt"):
    """What runs there cannot become a worker as it is; the problems say why."""


class NodesNotConnected(ControlPlaneError, uri="controlplane.error.nodes_not_connected"):
    """Workers of the cluster would be on machines between which there is no protected link."""


class ActionConflict(ControlPlaneError, uri="controlplane.error.action_conflict"):
    """Another action is changing the cluster, and it does not admit a second one."""


class ActionCooldown(ControlPlaneError, uri="controlplane.error.action_cooldown"):
    """A scaling policy of the cluster rests, and refuses."""


class WorkerProtected(ControlPlaneError, uri="controlplane.error.worker_protected"):
    """A worker is protected from being taken out, and the call would do so."""


class ActionEnded(ControlPlaneError, uri="controlplane.error.action_ended"):
    """The action has ended already."""


class ActionHasParent(ControlPlaneError, uri="controlplane.error.action_has_parent"):
    """The action is a part of another one, which alone can be cancelled."""


class Ambiguous(ControlPlaneError, uri="controlplane.error.ambiguous"):
    """The beginning of an oid fits more than one object."""


class InUse(ControlPlaneError, uri="controlplane.error.in_use"):
    """Something else needs the object as it is."""


class StoreFull(ControlPlaneError, uri="controlplane.error.store_full"):
    """There is no room to write; nothing was changed, and reading goes on."""


class StoreFailed(ControlPlaneError, uri="controlplane.error.store_failed"):
    """The disk failed while a change was stored; whether it is there is not certain."""


class StoreDamaged(ControlPlaneError, uri="controlplane.error.store_damaged"):
    """Something in the store was changed by other hands than ours; nothing was made of it."""


class StoreRefused(ControlPlaneError, uri="controlplane.error.store_refused"):
    """A store file is damaged, foreign or of another layout, and was not opened."""


class Overloaded(ControlPlaneError, uri="controlplane.error.overloaded"):
    """Too many calls are waiting; nothing was changed."""


class LimitReached(ControlPlaneError, uri="controlplane.error.limit_reached"):
    """As many as are admitted are there already; the error names the setting. Nothing was changed."""


class TooManyCalls(ControlPlaneError, uri="controlplane.error.too_many_calls"):
    """The caller makes more calls than are admitted of it; the error names the setting. Nothing was changed."""


class IdempotencyConflict(ControlPlaneError, uri="controlplane.error.idempotency_conflict"):
    """The caller has used the idempotency key for another call. Nothing was changed."""


class NoAnswer(ControlPlaneError, uri="controlplane.error.no_answer"):
    """The other side did not answer within the time limit."""


class LoginRefused(ControlPlaneError, uri="controlplane.error.login_refused"):
    """The router did not let this program in; the message says why."""


class UntrustedRouter(ControlPlaneError, uri="controlplane.error.untrusted_router"):
    """What answered is not the expected router: its certificate or its key is another one."""


class RemoteError(ControlPlaneError, uri="controlplane.error.remote_error"):
    """The other side failed with an error that this program has no class for."""


class WorkerFailed(ControlPlaneError, uri="controlplane.error.worker_failed"):
    """A worker did not do what was asked of it."""


class InternalError(ControlPlaneError, uri="controlplane.error.internal_error"):
    """A defect of the control plane; the incident is in the master's log under the given number."""
