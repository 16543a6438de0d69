"""Addresses that a definition would have the master call: refused unless its operator has named them."""

from collections.abc import Iterable
from typing import Any

from controlplane.errors import NotOffered
from controlplane.records.lifecycle import HookedDeletionPolicy, WebhookHook
from controlplane.services.pipeline import Call


def require_callable(call: Call, rule: Any, subject: dict[str, Any]) -> None:
    """Refuse a policy that calls somebody whom this master may not call; raises `NotOffered`."""
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
