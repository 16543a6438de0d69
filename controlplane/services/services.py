"""What the plane itself is made of: its master, its agents, and which program answers."""

from typing import Any

from controlplane import __version__
from controlplane.records.nodes import Node
from controlplane.records.services import CONTRACT_VERSION, BuildInfo, ServiceView
from controlplane.services.lists import Limit, Values, select
from controlplane.services.pipeline import Call
from controlplane.services.procedures import procedure
from controlplane.store.catalog import NODES

SERVICE = "controlplane.service."
MASTER = "master"
FIELDS = {
    "oid": lambda s: s.oid,
    "kind": lambda s: s.kind,
    "name": lambda s: s.name,
    "version": lambda s: s.version,
    "state": lambda s: s.state,
    "since": lambda s: s.since,
}
VALUES: Values = {"kind": ("master", "agent"), "state": ("up", "down")}


@procedure(SERVICE + "list_services", needs="administer")
def list_services(
    call: Call,
    filters: dict[str, Any] | None = None,
    sort: str | None = None,
    limit: Limit | None = None,
    marker: str | None = None,
) -> list[ServiceView]:
    """Return the master and all agents with their versions, and whether they are there; the master comes first."""
    master = ServiceView(
        oid=call.agents.boot,
        kind="master",
        name=MASTER,
        version=__version__,
        state="up",
        since=call.agents.started,
    )
    return select(
        [master, *(_agent(node) for node in call.rows(NODES).all())],
        filters=filters,
        sort=sort,
        limit=limit,
        marker=marker,
        fields=FIELDS,
        values=VALUES,
        oid=lambda each: str(each.oid),
    )


@procedure(SERVICE + "get_build_info", needs="read")
def get_build_info(_call: Call) -> BuildInfo:
    """Return the version of the program that answers, and of the contract that it keeps."""
    return BuildInfo(version=__version__, contract=CONTRACT_VERSION)


def _agent(node: Node) -> ServiceView:
    facts = node.facts
    return ServiceView(
        oid=node.oid,
        kind="agent",
        name=node.authid,
        version=facts.version if facts else None,
        state="up" if node.online else "down",
        since=node.since,
        agentless=facts.agentless if facts else False,
    )
