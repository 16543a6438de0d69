"""Whom and what a definition would have the master call and write: refused unless its operator has named it."""

from collections.abc import Iterable
from typing import Any

from controlplane.errors import NotOffered
from controlplane.records.balancing import CallbackTarget, FileTarget, LoadBalancePolicy
from controlplane.records.lifecycle import HookedDeletionPolicy, WebhookHook
from controlplane.services.pipeline import Call
from controlplane.store.catalog import BALANCES


def require_callable(call: Call, rule: Any, subject: dict[str, Any]) -> None:
    """Refuse a policy that calls somebody whom this master may not call; raises `NotOffered`."""
    if isinstance(rule, LoadBalancePolicy) and isinstance(rule.target, FileTarget):
        _require_file(call, rule.target, subject)
    for url in _urls(rule):
        why_not = call.obstacle(url)
        if why_not is not None:
            raise NotOffered(
                f"{url} cannot be called: {why_not}",
                subject=subject,
                next_step="have the operator name it in the master's setting outgoing",
            )


def _urls(rule: Any) -> Iterable[str]:
    if isinstance(rule, HookedDeletionPolicy) and isinstance(rule.hooks, WebhookHook):
        yield rule.hooks.params.url
    if isinstance(rule, LoadBalancePolicy) and isinstance(rule.target, CallbackTarget):
        yield rule.target.url


def _require_file(call: Call, target: FileTarget, subject: dict[str, Any]) -> None:
    why_not = call.obstacle(target)
    if why_not is not None:
        raise NotOffered(
            f"file {target.file} cannot be kept: {why_not}",
            subject=subject,
            next_step="have the operator of the master change that setting",
        )
    for balance in call.rows(BALANCES).all():
        other = balance.rule.target
        if isinstance(other, FileTarget) and other.file == target.file and str(balance.cluster_oid) != subject["oid"]:
            raise NotOffered(
                f"file {target.file} is that of the balancer of cluster {balance.cluster_name}",
                subject=subject,
                next_step="name another file in another policy",
            )
