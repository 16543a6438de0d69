"""What schedules do when their time has come: a resize like any other, together with the note of when they act next."""

import msgspec

from controlplane.core.policies import POLICY_TYPES, read_rule
from controlplane.core.resizing import Resize
from controlplane.core.schedules import last_due, next_due
from controlplane.core.specs import type_name
from controlplane.records import events
from controlplane.records.actions import ActionView
from controlplane.records.definitions import Definition
from controlplane.records.policies import Adjustment, Binding, Decision, PolicySkipped
from controlplane.records.scaling import SchedulePolicy
from controlplane.records.types import NANOSECONDS, Instant, to_wire
from controlplane.services.cluster_actions import resize
from controlplane.services.pipeline import WritingCall
from controlplane.store.catalog import BINDINGS, CLUSTERS
from controlplane.store.database import View


def schedule_of(policy: Definition) -> SchedulePolicy | None:
    """Return the schedule that a policy is, or None when it is of another type."""
    rule = read_rule(policy.spec.properties, POLICY_TYPES[type_name(policy.spec)])
    return rule if isinstance(rule, SchedulePolicy) else None


def due_of(policy: Definition, enabled: bool, now: Instant) -> Instant | None:
    """Return when a policy that is attached, or enabled again, acts next; None when it is no schedule, or never."""
    rule = schedule_of(policy) if enabled else None
    return None if rule is None else next_due(rule, now)


def due_bindings(view: View, now: Instant, number: int) -> tuple[list[Binding], Instant | None]:
    """Return some schedules that are to act now, and when the next one is to when there is none."""
    found: list[Binding] = []
    for key, primary in view.rows(BINDINGS).keys_by("due"):
        due = int.from_bytes(key[:8], "big")
        if due > now:
            return found, due
        binding = view.rows(BINDINGS).find(primary)
        if binding is not None:
            found.append(binding)
        if len(found) >= number:
            break
    return found, None


def act_by_schedule(call: WritingCall, binding: Binding, policy: Definition) -> ActionView | None:
    """Resize a cluster as a schedule says, and note when it acts next; both or nothing.

    Raises what a resize raises. A time that has passed for too long is left out, and an event says so.
    """
    rule = schedule_of(policy)
    current = call.rows(BINDINGS).find(binding.cluster_oid, binding.policy_oid)
    if rule is None or current is None or current.due is None or current.due > call.now:
        return None
    moment = last_due(rule, current.due, call.now)
    late_s = (call.now - moment) / NANOSECONDS
    if late_s > rule.late_max:
        leave_out(call, current, policy, f"it is {late_s:.0f} s late, and {rule.late_max:g} s are admitted")
        return None
    _set_next(call, current, rule)
    cluster = call.rows(CLUSTERS).get(binding.cluster_oid)
    inputs = {
        name: value
        for name, value in to_wire(rule).items()
        if name in ("desired", "change", "min_size", "max_size") and value is not None
    }
    said = f"was due {late_s:.0f} s ago: {_shown(rule)}"
    decision = Decision(policy_oid=policy.oid, policy_name=policy.name, said=said)
    return resize(call, cluster, rule.group, _asked(rule), inputs, (decision,))


def leave_out(call: WritingCall, binding: Binding, policy: Definition, reason: str) -> None:
    """Note when a schedule acts next, and tell that it did not act this time."""
    rule = schedule_of(policy)
    current = call.rows(BINDINGS).find(binding.cluster_oid, binding.policy_oid)
    cluster = call.rows(CLUSTERS).find(binding.cluster_oid)
    if rule is None or cluster is None or current is None or current.due is None or current.due > call.now:
        return
    call.publish(
        events.POLICY_SKIPPED,
        PolicySkipped(
            cluster_oid=cluster.oid,
            cluster_name=cluster.name,
            policy_oid=policy.oid,
            policy_name=policy.name,
            due=last_due(rule, current.due, call.now),
            reason=reason,
        ),
    )
    _set_next(call, current, rule)


def _set_next(call: WritingCall, binding: Binding, rule: SchedulePolicy) -> None:
    call.rows(BINDINGS).put(msgspec.structs.replace(binding, due=next_due(rule, call.now)), binding)


def _asked(rule: SchedulePolicy) -> Resize:
    adjustment, number = None, None
    if rule.desired is not None:
        adjustment, number = Adjustment.EXACT_CAPACITY, rule.desired
    elif rule.change is not None:
        adjustment, number = Adjustment.CHANGE_IN_CAPACITY, rule.change
    return Resize(adjustment, number, rule.min_size, rule.max_size, strict=False)


def _shown(rule: SchedulePolicy) -> str:
    return "at " + str(rule.at) if rule.cron is None else f"{rule.cron} in {rule.timezone}"
