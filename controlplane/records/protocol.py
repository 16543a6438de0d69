"""The names and messages between master and agents, beside the assignment and the report themselves."""

from controlplane.records.types import Oid, Record

AGENT_PREFIX = "controlplane.agent."
ATTACH_AGENT = AGENT_PREFIX + "attach_agent"
REPORT_WORKERS = AGENT_PREFIX + "report_workers"
ANSWER_QUESTION = AGENT_PREFIX + "answer_question"
REPORT_ORDER = AGENT_PREFIX + "report_order"
RENEW_LEASE = AGENT_PREFIX + "renew_lease"
SYNC_TUNNELS = AGENT_PREFIX + "sync_tunnels"
ROTATE_KEY = AGENT_PREFIX + "rotate_key"

JOIN_NODE = "controlplane.join.join_node"
REGISTER_KEY = "controlplane.join.register_key"
"""What whoever logged in with a join token may call."""

ASSIGNMENT_TOPIC = AGENT_PREFIX + "on_assignment"
"""Sent to the session of one agent only."""

QUESTION_TOPIC = AGENT_PREFIX + "on_question"
"""Sent to the session of one agent only."""

TICK_TOPIC = AGENT_PREFIX + "on_tick"
"""Sent to all agents when the master joins, and again and again: who is attached to another run of it attaches anew."""


TUNNELS_TOPIC = AGENT_PREFIX + "on_tunnels"
"""Sent to the session of one agent only: something about its tunnels has changed, and it is to ask."""


class Tick(Record, frozen=True, kw_only=True):
    """That the master is there, and which run of it."""

    boot: Oid


class Attachment(Record, frozen=True, kw_only=True):
    """What an agent is told when it attaches."""

    node_oid: Oid
    authid: str
    epoch: Oid
    boot: Oid
    """Which run of the master, and which session of that run, the agent is attached to."""

    assignment: int
    """Version of what it shall run; the assignment itself follows as an event when the agent holds another one."""

    router_keys: tuple[str, ...] = ()
    """Fingerprints of the router's key and of the next one, where the plane makes them itself."""


class Receipt(Record, frozen=True, kw_only=True):
    """That a report is stored."""

    sequence: int
