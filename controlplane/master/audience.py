"""Who listens to what: events go out under the names that somebody has subscribed to, and under no others.

Crossbar.io's names for our events are many, and mostly nobody listens to them. The router tells of every subscription
that comes and goes, before it carries what its owner does next, so a name that is wanted is known in time.
"""

from collections.abc import Mapping
from typing import Any


class Audience:
    """The subscriptions of a realm."""

    def __init__(self) -> None:
        self._exact: set[str] = set()
        self._patterns: dict[int, tuple[str, str]] = {}
        self._subscriptions: dict[int, tuple[str, str]] = {}
        self._wanted: dict[str, bool] = {}

    def clear(self) -> None:
        """Forget everything: the router is asked anew."""
        self._exact.clear()
        self._patterns.clear()
        self._subscriptions.clear()
        self._wanted.clear()

    def created(self, subscription: Mapping[str, Any]) -> None:
        """Take note of a subscription in the form in which the router describes it."""
        number, match, uri = subscription["id"], subscription["match"], subscription["uri"]
        self._subscriptions[number] = (match, uri)
        if match == "exact":
            self._exact.add(uri)
        else:
            self._patterns[number] = (match, uri)
        self._wanted.clear()

    def deleted(self, number: int) -> None:
        """Take note that a subscription is no more."""
        match, uri = self._subscriptions.pop(number, ("", ""))
        if match == "exact":
            self._exact.discard(uri)
        self._patterns.pop(number, None)
        self._wanted.clear()

    def wants(self, topic: str) -> bool:
        """Say whether anybody listens to a topic."""
        if topic not in self._wanted:
            self._wanted[topic] = topic in self._exact or any(
                topic.startswith(uri) if match == "prefix" else _fits(topic, uri)
                for match, uri in self._patterns.values()
            )
        return self._wanted[topic]


def _fits(topic: str, pattern: str) -> bool:
    """Say whether a topic fits a wildcard pattern, in which an empty part stands for any part."""
    parts, wanted = topic.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(want in ("", part) for part, want in zip(parts, wanted, strict=True))
