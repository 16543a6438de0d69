"""Looking through to a node: calls that are passed on to the Crossbar.io node on a machine, in one table.

The names are those of Crossbar.io's master: `crossbarfabriccenter.remote.<api>.<procedure>`, with the node, for workers
the worker, and then whatever the procedure itself takes. A node without an agent is asked in its own name; for one with
an agent the agent asks its local node. What an agent keeps nobody else may change, so only questions pass there.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec

from controlplane.errors import InvalidArgument, NoAnswer, NoSuchObject, NotAttached, NotOffered, Problem, RemoteError
from controlplane.records.limits import DEFAULT_LIMITS, Limits
from controlplane.records.nodes import Node
from controlplane.records.types import Oid, from_wire, to_wire
from controlplane.records.workers import PassedOn
from controlplane.services.pipeline import Call
from controlplane.services.procedures import Ask, Procedure, procedure, unreadable
from controlplane.store.catalog import NODES

REMOTE = "crossbarfabriccenter.remote."
LOOK_WITHIN_S = 10.0
CHANGE_WITHIN_S = 60.0
"""A worker takes seconds to start, and more on a busy machine."""

PART = r"^[A-Za-z0-9_-]{1,128}$(?!\n)"
"""What may become a part of a name that is called: without a point."""

ERROR_NAME = re.compile(r"(?=.{1,255}$)([^\s.#]+\.)*[^\s.#]+")
"""What WAMP takes for the name of an error, and no longer than names are."""

UNSENDABLE = (TypeError, ValueError, OverflowError, RecursionError)

WorkerId = Annotated[str, msgspec.Meta(pattern=PART)]
NodeRef = Annotated[str, msgspec.Meta(max_length=128)]


class Forward(NamedTuple):
    """One procedure that is passed on."""

    api: str
    name: str
    of_worker: bool
    needs: str
    target: str
    """Its name at the node, or at the worker."""


NODE_READS = [
    "get_cpu_count",
    "get_cpu_affinity",
    "get_process_info",
    "get_process_stats",
    "get_process_monitor",
    "get_status",
    "get_system_stats",
    "get_workers",
    "get_worker",
]
NODE_CHANGES = [
    "set_cpu_affinity",
    "set_process_stats_monitoring",
    "trigger_gc",
    "shutdown",
    "start_worker",
    "stop_worker",
]
WORKER_READS = [
    "get_status",
    "get_pythonpath",
    "get_cpu_affinity",
    "get_profilers",
    "get_process_info",
    "get_process_stats",
]
WORKER_CHANGES = ["shutdown", "add_pythonpath", "set_cpu_affinity", "start_profiler", "set_process_stats_monitoring"]
ROUTER_READS = [
    "get_router_realms",
    "get_router_realm",
    "get_router_realm_stats",
    "get_router_realm_by_name",
    "get_router_realm_roles",
    "get_router_realm_role",
    "get_router_realm_links",
]
ROUTER_SECRETS = [
    "get_router_transports",
    "get_router_transport",
    "get_web_transport_services",
    "get_web_transport_service",
    "get_router_components",
    "get_router_component",
    "get_router_realm_link",
]
"""Their answers quote configurations, in which there are tickets and the like."""

ROUTER_CHANGES = [
    "start_router_realm",
    "stop_router_realm",
    "start_router_realm_role",
    "stop_router_realm_role",
    "start_router_transport",
    "stop_router_transport",
    "start_web_transport_service",
    "stop_web_transport_service",
    "start_router_component",
    "stop_router_component",
    "start_router_realm_link",
    "stop_router_realm_link",
]
PROXY_READS = ["get_proxy_transports", "get_proxy_routes", "list_proxy_realm_routes", "get_proxy_connections"]
PROXY_SECRETS = [
    "get_proxy_transport",
    "get_proxy_realm_route",
    "get_proxy_connection",
    "get_web_transport_services",
    "get_web_transport_service",
]
PROXY_CHANGES = [
    "start_proxy_transport",
    "stop_proxy_transport",
    "start_web_transport_service",
    "stop_web_transport_service",
    "start_proxy_realm_route",
    "stop_proxy_realm_route",
    "start_proxy_connection",
    "stop_proxy_connection",
]
CONTAINER_CHANGES = ["start_component", "stop_component"]
TRACING = ["get_traces", "get_trace", "start_trace", "stop_trace", "get_trace_data"]
DOCKER = {
    **{
        f"get_{name}": f"get_docker_{name}"
        for name in ["info", "ping", "version", "df", "containers", "container", "images", "image"]
    },
    **{f"fs_{name}": f"fs_docker_{name}" for name in ["open", "get", "put"]},
    **{
        name: f"{name}_docker_container"
        for name in [
            "create",
            "start",
            "stop",
            "restart",
            "pause",
            "unpause",
            "destroy",
            "watch",
            "shell",
            "backlog",
            "keystroke",
        ]
    },
    "delete_image": "delete_docker_image",
    "prune_images": "prune_docker_images",
    "request_tty": "request_docker_tty",
}
SHOWN = {
    "show_worker": ("get_worker", False, "read"),
    "show_transport": ("get_router_transport", True, "manage"),
    "show_realm": ("get_router_realm", True, "read"),
    "show_component": ("get_router_component", True, "manage"),
}
"""What Crossbar.io's shell calls and its own master does not have."""


def forwards() -> Iterator[Forward]:
    """Yield the whole table: `read` looks, `manage` sees configurations, `administer` changes."""
    for names, needs in ((NODE_READS, "read"), (["get_worker_log"], "manage"), (NODE_CHANGES, "administer")):
        yield from (Forward("node", name, False, needs, name) for name in names)
        yield from (Forward("nativeprocess", name, False, needs, name) for name in names if "process" in name)
    apis: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
        "worker": (WORKER_READS, ["get_profile"], WORKER_CHANGES),
        "router": (ROUTER_READS, ROUTER_SECRETS, ROUTER_CHANGES),
        "proxy": (PROXY_READS, PROXY_SECRETS, PROXY_CHANGES),
        "container": (["get_components"], ["get_component"], CONTAINER_CHANGES),
        "tracing": ((), (), TRACING),
    }
    for api, kinds in apis.items():
        for those, needs in zip(kinds, ("read", "manage", "administer"), strict=True):
            yield from (Forward(api, name, True, needs, name) for name in those)
    yield from (Forward("docker", name, False, "administer", target) for name, target in DOCKER.items())


@dataclass(frozen=True, slots=True)
class Forwarding(Procedure):
    """A procedure that takes a node, perhaps a worker, and whatever else the other side takes."""

    def bind(self, args: Iterable[Any], kwargs: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
        """Give the first arguments their names, and keep the others together."""
        given, named = list(args), dict(kwargs)
        bound: dict[str, Any] = {}
        problems = []
        for parameter in self.parameters[:-2]:
            if given:
                bound[parameter.name] = given.pop(0)
            elif parameter.name in named:
                bound[parameter.name] = named.pop(parameter.name)
            else:
                problems.append(Problem(f"$.{parameter.name}", "is missing"))
        bound |= {"arguments": given, "keywords": named}
        problems.extend(unreadable(bound, limits))
        problems.extend(_not_to_be_sent(bound))
        if problems:
            raise self.refuse(problems)
        return bound


def _encode(value: Any) -> bytes:
    """Return a value as the narrowest serializer carries it; raises `UNSENDABLE`."""
    return msgspec.msgpack.encode(to_wire(value))


def _not_to_be_sent(bound: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what no message can carry on, such as an object with a key that is no text."""
    for name in ("arguments", "keywords"):
        try:
            passed = from_wire({"procedure": "", "within": 0.0, name: bound[name]}, PassedOn)
            _encode(passed)
        except UNSENDABLE as problem:
            yield Problem(f"$.{name}", f"cannot be passed on: {problem}")


def _declare(forward: Forward, uri: str) -> Any:
    """Return the procedure that passes a call on."""
    text = f"Pass `{forward.target}` on to the Crossbar.io node of a machine, named by oid or name."
    raises = (NoSuchObject, NotAttached, NotOffered, NoAnswer, RemoteError)

    def pass_on_to_node(call: Call, node_oid: NodeRef, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        return _pass_on(call, forward, node_oid, forward.target, arguments, keywords)

    def pass_on_to_worker(
        call: Call, node_oid: NodeRef, worker_id: WorkerId, arguments: list[Any], keywords: dict[str, Any]
    ) -> Any:
        target = f"worker.{worker_id}.{forward.target}"
        return _pass_on(call, forward, node_oid, target, arguments, keywords)

    function: Any = pass_on_to_worker if forward.of_worker else pass_on_to_node
    function.__doc__ = text
    function.__name__ = uri.replace(".", "_")
    declared = procedure(uri, needs=forward.needs, raises=raises)(function).__procedure__
    fields = {name: getattr(declared, name) for name in Procedure.__dataclass_fields__}
    function.__procedure__ = Forwarding(**fields)
    return function


def _pass_on(
    call: Call, forward: Forward, ref: str, target: str, arguments: list[Any], keywords: dict[str, Any]
) -> Ask:
    node = find_node(call, ref)
    subject = {"type": "node", "oid": str(node.oid), "name": node.authid}
    if not node.online or node.facts is None:
        raise NotAttached(f"node {node.authid} is offline", subject=subject, next_step="try again when it is online")
    if forward.needs == "administer" and not node.facts.agentless:
        raise NotOffered(
            f"node {node.authid} is kept by its agent, which would undo what somebody else changes there",
            subject=subject,
            next_step="say what shall run with the procedures of router clusters",
        )
    passed = {"procedure": target, "arguments": arguments, "keywords": keywords}
    within = CHANGE_WITHIN_S if forward.needs == "administer" else LOOK_WITHIN_S

    def complete(answers: Mapping[Oid, Mapping[str, Any]]) -> Any:
        answer = answers.get(node.oid)
        if answer is None:
            raise NoAnswer(f"node {node.authid} did not answer within {within:g} s", subject=subject, next_step="again")
        if "error" in answer:
            problem = RemoteError(
                str(answer.get("message")) or str(answer["error"]),
                subject=subject,
                next_step=f"this is the answer of Crossbar.io on node {node.authid}",
            )
            # A name that no router carries would end the master's own connection, and every call under way with it.
            if isinstance(answer["error"], str) and ERROR_NAME.fullmatch(answer["error"]):
                problem.uri = answer["error"]
            raise problem
        result = answer.get("result")
        try:
            _encode(result)
        except UNSENDABLE as problem:
            raise RemoteError(
                f"what node {node.authid} answered cannot be passed on: {problem}",
                subject=subject,
                next_step="see what runs on that machine: Crossbar.io answers nothing like it",
            ) from None
        return result

    return Ask({node.oid: {"passed": {**passed, "within": within}}}, within, complete)


def find_node(call: Call, ref: str) -> Node:
    """Return a node by its oid or by its name; raises `NoSuchObject` and `InvalidArgument`."""
    if not ref.isprintable():
        raise InvalidArgument("node_oid: is neither an oid nor a name", next_step="give the oid or name of a node")
    found: Node | None = call.rows(NODES).find_by("authid", ref)
    if found is None:
        try:
            found = call.rows(NODES).find(Oid(ref))
        except ValueError:
            pass
    if found is None:
        raise NoSuchObject(
            f"there is no node {ref}", subject={"type": "node", "name": ref}, next_step="list the nodes there are"
        )
    return found


GENERATED = (
    *(_declare(each, f"{REMOTE}{each.api}.{each.name}") for each in forwards()),
    *(
        _declare(Forward("shown", name, of_worker, needs, target), f"crossbarfabriccenter.{name}")
        for name, (target, of_worker, needs) in SHOWN.items()
    ),
)
"""The procedures that the table makes."""
