"""The plane for plain Python, in Senlin's words: what openstacksdk's `conn.clustering` is for Senlin.

::

    with Proxy() as clustering:
        profile = clustering.create_profile(name="sleeper", spec=spec)
        cluster = clustering.create_cluster(name="shop", profile_id=profile.id, desired_capacity=3)
        cluster = clustering.wait_for_status(cluster, "ACTIVE")

Every method waits until it is answered. What Senlin calls a node is a worker of ours. Where a method differs, it says
how; words are translated in `controlplane.client.senlin.words`. What is not here raises `NotOffered`, with what to use.
"""

from collections.abc import Callable, Iterable
from os import PathLike, fspath
from typing import Any, TypeVar

from controlplane.client.calls import CALL_WITHIN_S, Line
from controlplane.client.line import LastingLine
from controlplane.client.pace import Pace, TwistedPace
from controlplane.client.senlin.clusters import Clusters
from controlplane.client.senlin.definitions import Definitions
from controlplane.client.senlin.methods import Thread, refused
from controlplane.client.senlin.nodes import Nodes
from controlplane.client.senlin.receivers import Receivers
from controlplane.client.senlin.records import Records
from controlplane.client.senlin.resources import (
    Action,
    Cluster,
    ClusterPolicy,
    Event,
    Node,
    Policy,
    Profile,
    Receiver,
    Resource,
    Service,
)
from controlplane.client.thread import ReactorThread
from controlplane.errors import ActionConflict, Ambiguous, InvalidArgument, InvalidConfiguration, NoSuchObject
from controlplane.records.types import Seconds
from controlplane.saved_login import read_connection

ResourceNotFound = NotFoundException = NoSuchObject
"""Senlin's users know these errors by other names; they are the same classes that every caller of ours meets."""

DuplicateResource = Ambiguous
ConflictException = ActionConflict
BadRequestException = InvalidArgument
InvalidDefinition = InvalidConfiguration

GONE = "DELETED"
R = TypeVar("R", bound=Resource)


class ResourceTimeout(Exception):
    """A resource did not become what it was waited for to become, in time."""


class ResourceFailure(Exception):
    """A resource became what it was not to become while it was waited for, or is no more."""


class Proxy(Definitions, Clusters, Nodes, Receivers, Records):
    """The plane, with Senlin's methods, arguments and defaults. Any number of threads may use one at once.

    It has a thread of its own, which `close` ends; used in a `with` statement it is closed at its end.
    """

    def __init__(self, connection: str | PathLike[str] | None = None, *, within: Seconds = CALL_WITHIN_S) -> None:
        """Connect as a saved connection says; None for the administrator's, in the default place.

        A call is given up `within` so many seconds; until then it is tried again, also over a line that was lost and
        is there again. What changes something is made once, however often it is tried. Raises `InvalidConfiguration`
        when there is no such connection, and `UnknownKey`, `LoginRefused` or `NoAnswer` when nobody lets us in.
        """
        login, private_key = read_connection(None if connection is None else fspath(connection))
        self._reactor_thread = thread = ReactorThread()
        lines: list[LastingLine] = []

        async def open_line() -> None:
            lines.append(LastingLine(thread.reactor, login, private_key))

        thread.do(open_line)
        self._close: Callable[[], None] = lambda: thread.close(lines[0].close)
        super().__init__(thread, lines[0], TwistedPace(thread.reactor), within)
        try:
            self.get_build_info()
        except BaseException:
            self.close()
            raise

    @classmethod
    def over(cls, thread: Thread, line: Line, pace: Pace, within: Seconds = CALL_WITHIN_S) -> "Proxy":
        """Return one that calls over a line and in a thread of somebody else's, who closes them."""
        made = cls.__new__(cls)
        super().__init__(made, thread, line, pace, within)
        made._close = lambda: None
        return made

    def close(self) -> None:
        """Leave, and end the thread; may be done more than once, and whoever waits for an answer is told."""
        self._close()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_for_status(
        self,
        res: R,
        status: str,
        failures: Iterable[str] | None = None,
        interval: float = 2,
        wait: float = 120,
    ) -> R:
        """Ask again every `interval` seconds until a resource has a status, in whatever case; return it as it is then.

        Raises `ResourceFailure` when it has one of the statuses in `failures` or is no more, `ResourceTimeout` after
        `wait` seconds, `InvalidArgument` when it cannot be asked for again, and `AttributeError` when it is of a kind
        that has none. The status that it has already counts.
        """
        wanted, failing = status.lower(), {each.lower() for each in failures or ()}
        seen, end = res, self._pace.seconds() + wait
        while True:
            now = str(seen.status)
            if now.lower() == wanted:
                return seen
            if now.lower() in failing:
                raise ResourceFailure(f"{_named(res)} is {now}, and not {status}: {seen.get('status_reason')}")
            self._pause(end, interval, f"{_named(res)} is {now}, and not {status} after {wait:g} s")
            try:
                seen = self._again(res)
            except NoSuchObject as problem:
                raise ResourceFailure(f"{_named(res)} is no more, and was to be {status}") from problem

    def wait_for_delete(self, res: R, interval: float = 2, wait: float = 120) -> R:
        """Ask again every `interval` seconds until a resource is no more; return it as it was seen last.

        Raises `ResourceTimeout` after `wait` seconds, and `InvalidArgument` when it cannot be asked for again.
        """
        seen, end = res, self._pace.seconds() + wait
        while True:
            try:
                seen = self._again(res)
            except NoSuchObject:
                return seen
            if str(seen.get("status", "")).upper() == GONE:
                return seen
            self._pause(end, interval, f"{_named(res)} is there still after {wait:g} s")

    def _again(self, res: R) -> R:
        again = self._getters().get(type(res))
        if again is None:
            raise refused("res", f"is a {type(res).__name__}, which cannot be asked for again", "wait for a resource")
        found: R = again(res)
        return found

    def _service(self, service: Service) -> Service:
        found = next((each for each in self.services() if each.id == service.id), None)
        if found is None:
            raise NoSuchObject(
                f"there is no service {service.id}",
                subject={"type": "service", "oid": service.id},
                next_step="list the services there are",
            )
        return found

    def _getters(self) -> dict[type[Resource], Callable[[Any], Any]]:
        return {
            Action: self.get_action,
            Cluster: self.get_cluster,
            ClusterPolicy: lambda bound: self.get_cluster_policy(bound, bound.cluster_id),
            Event: self.get_event,
            Node: self.get_node,
            Policy: self.get_policy,
            Profile: self.get_profile,
            Receiver: self.get_receiver,
            Service: self._service,
        }

    def _pause(self, end: float, interval: float, late: str) -> None:
        left = end - self._pace.seconds()
        if left <= 0:
            raise ResourceTimeout(late)
        self._do(lambda: self._pace.sleep(min(max(0.0, interval), left)))


def _named(res: Resource) -> str:
    return f"{type(res).__name__.lower()} {res.get('name') or res.id}"
