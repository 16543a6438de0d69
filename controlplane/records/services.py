"""The programs that make up the plane, and what they were built from."""

from typing import Literal

from controlplane.records.types import Instant, Oid, Record

CONTRACT_VERSION = "1.0"
"""Major and minor: the major one grows when something is taken away or changes its meaning."""


class ServiceView(Record, frozen=True, kw_only=True):
    """A master or an agent as callers see it."""

    oid: Oid
    """Of the node for an agent; of its present session for a master."""

    kind: Literal["master", "agent"]
    name: str
    version: str | None
    """None for an agent that has never been connected."""

    state: Literal["up", "down"]
    since: Instant
    """When it last came up or went down."""

    agentless: bool = False
    """Whether it is a node of Crossbar.io that the master keeps itself."""


class BuildInfo(Record, frozen=True, kw_only=True):
    """Which program answers, and which contract it keeps."""

    version: str
    """Of the program."""

    contract: str
    """Major and minor version of the procedures, events and records in `schema/`."""
