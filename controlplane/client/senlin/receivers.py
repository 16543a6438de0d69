"""Methods for receivers."""

from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.client.senlin import resources, words
from controlplane.client.senlin.methods import Methods, key, read_query, refused
from controlplane.client.senlin.resources import Receiver
from controlplane.records.receivers import NewReceiverView, ReceiverView

MADE_FROM = frozenset({"name", "cluster_id", "action", "type", "params"})
CHANGED = frozenset({"name", "action", "params", "enabled"})
ASKED = frozenset({"name", "type", "cluster_id", "action"})
FIELDS = {"cluster_id": "cluster_oid"}


class Receivers(Methods):
    """Receivers: signals from outside that start an action of one cluster, in the name of who made the receiver."""

    def create_receiver(self, **attrs: Any) -> Receiver:
        """Create a receiver from `name`, `cluster_id`, `action`, `type` and `params`.

        The `channel` of what is returned, and of nothing else later, has what is secret: of a `webhook`, the default,
        the `webhook_path` below the master's address for webhooks, which Senlin gives whole as `alarm_url`; of a
        `message` the `token` for the `procedure` that is to be called. A message names no cluster and no action, as
        Senlin's do: both are those of the receiver.
        """
        words.refuse_unknown(attrs, MADE_FROM, "create_receiver")
        cluster = attrs.get("cluster_id")
        if cluster is None:
            raise refused("cluster_id", "is missing", "name the cluster that is changed")
        settings = {name: value for name, value in _settings(attrs).items() if name != "cluster_id"}
        return _made(self._do(lambda: self._client.receiver.create_receiver(key(cluster), settings)))

    def update_receiver(self, receiver: Any, **attrs: Any) -> Receiver:
        """Change `name`, `action` or `params` of a receiver, or have it rest by `enabled=False`; its channel stays."""
        words.refuse_unknown(attrs, CHANGED, "update_receiver")
        found = self._view(receiver)
        changes = _settings(attrs)
        return resources.receiver(
            self._do(lambda: self._client.receiver.update_receiver(found.cluster_oid, found.oid, changes))
        )

    def delete_receiver(self, receiver: Any, ignore_missing: bool = True) -> None:
        """Delete a receiver, whose channel is void at once; raises `ResourceNotFound` unless that is ignored."""
        self._find(self._delete, key(receiver), ignore_missing)

    def get_receiver(self, receiver: Any) -> Receiver:
        """Return a receiver, by its name, id or the beginning of its id; raises `ResourceNotFound`."""
        return resources.receiver(self._view(receiver))

    def find_receiver(self, name_or_id: str, ignore_missing: bool = True) -> Receiver | None:
        """Return a receiver, or None when there is none, or with `ignore_missing=False` raise `ResourceNotFound`."""
        return self._find(self.get_receiver, name_or_id, ignore_missing)

    def receivers(self, **query: Any) -> Iterator[Receiver]:
        """Go through the receivers: `name`, `type`, `cluster_id` (or its name), `action`, `sort`, `limit`, `marker`.

        Those of one cluster can be seen by who may change it, all of them by who may change all.
        """
        sort = read_query(query, ASKED, "receivers")
        cluster = query.get("cluster_id")
        filters = {name: query[name] for name in ASKED - {"cluster_id"} if name in query}
        if "action" in filters:
            filters["action"] = words.our_action(str(filters["action"]))

        def page(limit: int, marker: str | None) -> Any:
            if cluster is None:
                return self._client.receiver.list_all_receivers(filters, sort, limit, marker)
            return self._client.receiver.list_receivers(key(cluster), filters, sort, limit, marker)

        return self._pages(page, query, lambda found: map(resources.receiver, found))

    def _view(self, receiver: Any) -> ReceiverView:
        return self._do(lambda: self._client.receiver.find_receiver(key(receiver)))

    def _delete(self, named: str) -> None:
        found = self._view(named)
        self._do(lambda: self._client.receiver.delete_receiver(found.cluster_oid, found.oid))


def _settings(attrs: Mapping[str, Any]) -> dict[str, Any]:
    settings = dict(attrs)
    if "action" in settings:
        settings["action"] = words.our_action(str(settings["action"]))
    if settings.get("params", {}) is None:
        del settings["params"]
    return settings


def _made(made: NewReceiverView) -> Receiver:
    found = resources.receiver(made.receiver)
    secret = {"webhook_path": made.webhook_path} if made.token is None else {"token": made.token}
    found.set("channel", {**found.channel, **secret})
    return found
