"""All nouns of the plane; written by scripts/contract from what procedures declare: do not edit."""

from controlplane.client.calls import Calls
from controlplane.client.nouns.action import ActionCalls
from controlplane.client.nouns.agent import AgentCalls
from controlplane.client.nouns.audit import AuditCalls
from controlplane.client.nouns.cluster import ClusterCalls
from controlplane.client.nouns.event import EventCalls
from controlplane.client.nouns.grant import GrantCalls
from controlplane.client.nouns.invitation import InvitationCalls
from controlplane.client.nouns.join import JoinCalls
from controlplane.client.nouns.migration import MigrationCalls
from controlplane.client.nouns.node import NodeCalls
from controlplane.client.nouns.policy import PolicyCalls
from controlplane.client.nouns.profile import ProfileCalls
from controlplane.client.nouns.receiver import ReceiverCalls
from controlplane.client.nouns.routercluster import RouterclusterCalls
from controlplane.client.nouns.service import ServiceCalls
from controlplane.client.nouns.team import TeamCalls
from controlplane.client.nouns.type import TypeCalls
from controlplane.client.nouns.user import UserCalls
from controlplane.client.nouns.worker import WorkerCalls


class Nouns:
    """What can be called, by noun."""

    def __init__(self, calls: Calls) -> None:
        """Have all nouns called in one way."""
        self.action = ActionCalls(calls)
        self.agent = AgentCalls(calls)
        self.audit = AuditCalls(calls)
        self.cluster = ClusterCalls(calls)
        self.event = EventCalls(calls)
        self.grant = GrantCalls(calls)
        self.invitation = InvitationCalls(calls)
        self.join = JoinCalls(calls)
        self.migration = MigrationCalls(calls)
        self.node = NodeCalls(calls)
        self.policy = PolicyCalls(calls)
        self.profile = ProfileCalls(calls)
        self.receiver = ReceiverCalls(calls)
        self.routercluster = RouterclusterCalls(calls)
        self.service = ServiceCalls(calls)
        self.team = TeamCalls(calls)
        self.type = TypeCalls(calls)
        self.user = UserCalls(calls)
        self.worker = WorkerCalls(calls)
