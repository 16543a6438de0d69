"""How much of everything is admitted: one record with a default for each, and every one a setting of the master.

They are settings of section `limits`: `clusters_max` is `clusters_max` under `[limits]` in the configuration file,
`CONTROLPLANE_LIMITS_CLUSTERS_MAX` in the environment and `--limit clusters_max=N` on the command line. What callers may
rely on whatever the settings (how long a name is, how often a group may be scaled) is not here but in the published
contract. `docs/limits.rst` lists both.
"""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
Bytes = Annotated[int, msgspec.Meta(ge=1_024, le=8 * 1024 * 1024)]
"""Never more than half of what the master's transport carries: other serializers need more room than CBOR."""

Rate = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the master: most of what is admitted."""

    argument_bytes_max: Bytes = 4 * 1024 * 1024
    """Bytes of one argument of a call, encoded as CBOR: room for what an agent says of ten thousand workers."""

    argument_depth_max: Annotated[int, msgspec.Meta(ge=8, le=256)] = 64
    """Lists and objects inside each other in one argument of a call."""

    reply_bytes_max: Bytes = 8 * 1024 * 1024
    """Bytes of one reply, encoded as CBOR; longer lists are asked for in pages."""

    store_bytes_max: Annotated[int, msgspec.Meta(ge=1024 * 1024, le=2**46)] = 64 * 1024 * 1024 * 1024
    """Bytes of the store; when they are used up, changes end in `controlplane.error.store_full` and reading goes on."""

    nodes_max: Count = 20_000
    """Paired nodes."""

    clusters_max: Count = 100_000
    """Clusters."""

    profiles_max: Count = 10_000
    """Profiles."""

    policies_max: Count = 10_000
    """Policies."""

    bindings_max: Count = 100
    """Policies that one cluster obeys."""

    receivers_max: Count = 100
    """Receivers of one cluster."""

    groups_max: Count = 1_000
    """Worker groups of one cluster."""

    memberships_max: Count = 20_000
    """Nodes that may carry one cluster."""

    workers_max: Count = 100_000
    """Workers that one cluster may want: the scales of its groups and its routers together."""

    workers_alone_max: Count = 100_000
    """Workers that are in no cluster."""

    users_max: Count = 10_000
    """Users."""

    teams_max: Count = 1_000
    """Teams of users."""

    team_members_max: Count = 1_000
    """Users of one team, and teams of one user."""

    grants_max: Count = 1_000
    """Users and teams that have a right on one cluster."""

    invitations_max: Count = 1_000
    """Invitations that are open."""

    clusters_per_user_max: Count = 100_000
    """Router clusters that belong to one user, unless the user has a number of its own."""

    sessions_per_user_max: Count = 1_000
    """Sessions of one user at a time, unless the user has a number of its own."""

    sessions_per_agent_max: Count = 16
    """Sessions of one agent at a time: it has one, and lost ones linger until their pings are missed."""

    audit_entries_max: Count = 200_000
    """Audit entries that are kept; the oldest is forgotten first, and the chain of the others stays whole."""

    events_kept_s: Annotated[int, msgspec.Meta(ge=0, le=10 * 31_536_000)] = 0
    """Seconds for which events are kept, 0 for as long as there are not too many."""

    calls_running_max: Count = 2_000
    """Calls of one session that are not answered yet."""

    admin_calls_per_second: Rate = 0
    """Calls per second of one administrator, 0 for any number."""

    agent_calls_per_second: Rate = 1_000
    """Calls per second of one agent, 0 for any number."""

    other_calls_per_second: Rate = 200
    """Calls per second of any other principal, 0 for any number."""

    calls_burst_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 10
    """Seconds' worth of calls that may come at once after a pause."""

    idempotency_keys_max: Count = 100_000
    """Idempotency keys of one principal that are remembered; the oldest is forgotten first."""

    idempotency_keys_kept_s: Annotated[int, msgspec.Meta(ge=60, le=31_536_000)] = 86_400
    """Seconds for which the outcome of a call with an idempotency key is remembered."""


DEFAULT_LIMITS = Limits()
