"""Questions to agents, from what a procedure wants to know."""

from collections.abc import Mapping
from typing import Any

import msgspec

from controlplane.records.health_policies import UrlLook
from controlplane.records.types import Oid, from_wire
from controlplane.records.workers import LookAtLogs, PassedOn, Question


def question_of(oid: Oid, wanted: Mapping[str, Any]) -> Question:
    """Return what an agent is asked."""
    if "passed" in wanted:
        return Question(oid=oid, kind="pass_on", passed=from_wire(wanted["passed"], PassedOn))
    if "look" in wanted:
        return Question(oid=oid, kind="logs", look=from_wire(wanted["look"], LookAtLogs))
    if "sought" in wanted:
        return Question(oid=oid, kind="adoption", sought=wanted["sought"])
    workers = tuple(wanted["workers"])
    if "watch" in wanted:
        return Question(oid=oid, kind="metrics", workers=workers, watch=wanted["watch"])
    asked = Question(oid=oid, kind=wanted.get("kind", "statistics"), workers=workers, within=wanted.get("within"))
    if "urls" in wanted:
        return msgspec.structs.replace(asked, urls=from_wire(wanted["urls"], dict[str, UrlLook]))
    return asked
