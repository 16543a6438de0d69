"""Methods for nodes: workers, in our words."""

from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.client.senlin import resources, words
from controlplane.client.senlin.clusters import begun, recovery, words_of
from controlplane.client.senlin.methods import Methods, key, read_query, require, without_none
from controlplane.client.senlin.resources import Node
from controlplane.records.actions import ActionView
from controlplane.records.types import to_wire
from controlplane.records.workers import AnyWorkerView

ASKED = frozenset({"cluster_id", "name", "status"})
MADE_FROM = frozenset({"name", "profile_id", "cluster_id", "metadata", "machine_id"})
ADOPTED = frozenset({"type", "identity", "machine_id", "name", "metadata", "overrides", "snapshot"})
CHANGED = frozenset({"name", "profile_id", "metadata"})
OURS = {"profile_id": "profile", "machine_id": "node"}
INSTEAD = "use replace_nodes_in_cluster with this node: a new one takes its place"


class Nodes(Methods):
    """Nodes. A node here is a worker of ours; what we call a node is a machine."""

    def create_node(self, **attrs: Any) -> Node:
        """Create a node from `profile_id`, which may be a name, and start it; its `action_id` tells how it goes on.

        More: `name`, `metadata`, and `cluster_id` of the cluster that it is to be in, which wants one more then. Senlin
        has the cluster name it; here it has its `name`. A node without a cluster can be given a `machine_id`, the id or
        name of the one machine that it stands on. There is no `role`.
        """
        words.refuse_unknown(attrs, MADE_FROM, "create_node")
        require(attrs, "profile_id")
        cluster = attrs.get("cluster_id")
        named = None if cluster in (None, "") else key(cluster)
        action = self._do(lambda: self._client.worker.create_worker(_settings(attrs), named))
        return self._acted_on(str(action.target), action)

    def update_node(self, node: Any, **attrs: Any) -> Node:
        """Change `name`, `metadata` (as a whole) or `profile_id` of a node.

        A name is nothing to what runs. Another profile is for a node that is in no cluster; it replaces what runs
        unless the profile's type can change it in place, and when it does not run with it, it is taken back: Senlin
        leaves it in error. There are no `role` and no `tainted`.
        """
        words.refuse_unknown(attrs, CHANGED, "update_node")
        return self._node(self._do(lambda: self._client.worker.update_worker(key(node), _settings(attrs))))

    def delete_node(self, node: Any, ignore_missing: bool = True, force_delete: bool = False) -> Node | None:  # noqa: ARG002
        """Stop a node for good and return it as it is on its way out; a cluster that it is in wants one less then.

        None when there is none. Refused under the lower bound of its cluster, and while another action changes that,
        with and without `force_delete`: a node that hangs is killed by its agent after its grace period in any case.
        Of a node in no cluster it goes first, and cancels what else is done about it.
        """
        return self._find(self._delete_node, key(node), ignore_missing)

    def get_node(self, node: Any, details: bool = False) -> Node:
        """Return a node, by its id, name or the beginning of its id; raises `ResourceNotFound`.

        With `details` its agent is asked; without an answer in time `details` is None.
        """
        return self._node(self._do(lambda: self._client.worker.get_worker(key(node), details)))

    def find_node(self, name_or_id: str, ignore_missing: bool = True) -> Node | None:
        """Return a node, or None when there is none, or with `ignore_missing=False` raise `ResourceNotFound`."""
        return self._find(self.get_node, name_or_id, ignore_missing)

    def nodes(self, **query: Any) -> Iterator[Node]:
        """Go through the nodes: `cluster_id` (or its name), `name`, `status`, `sort`, `limit` (of a page), `marker`.

        `status` is Senlin's word. Sorted by `status` they come in the order of ours.
        """
        sort = read_query(query, ASKED, "nodes")
        wanted = words_of(query.get("status"))
        cluster = query.get("cluster_id")
        named = None if cluster is None else key(cluster)
        filters = {"name": query["name"]} if "name" in query else {}
        return self._pages(
            lambda limit, marker: self._client.worker.list_workers(named, filters, sort, limit, marker),
            query,
            lambda page: (each for each in map(self._node, page) if wanted is None or each.status in wanted),
        )

    def check_node(self, node: Any, **params: Any) -> dict[str, Any]:
        """Have its agent look at a node now: whether it runs, and is ready still.

        The action succeeds when the agent has looked; its `outputs` say what it found. A node that is not well is in
        `ERROR` from then on.
        """
        words.refuse_unknown(params, frozenset(), "check_node")
        return begun(self._do(lambda: self._client.worker.check_worker(key(node))))

    def recover_node(self, node: Any, **params: Any) -> dict[str, Any]:
        """Bring a node back, whatever it does now; with `check` only when its agent finds that it is not well.

        `operation` is `REBOOT`, `REBUILD` or `RECREATE`, or a list of them to try one after the other. With `RECREATE`,
        and without an operation, the node gets another id. `operation_params` can have `timeout`, the seconds after
        which the next one is tried, and `type`, `SOFT` unless it is `HARD`. There is no `delete_timeout`, and no
        `force_recreate`: a new node does not wait for the end of the old one.
        """
        words.refuse_unknown(params, frozenset({"operation", "operation_params", "check"}), "recover_node")
        given = recovery(params)
        return begun(self._do(lambda: self._client.worker.recover_worker(key(node), *given)))

    def perform_operation_on_node(self, node: Any, operation: str, **params: Any) -> dict[str, Any]:
        """Carry out an operation on a node, at most once, with the operation's own parameters.

        `list_profile_type_operations` tells which there are. A node that is paused or stopped by one stays `ACTIVE`.
        """
        action = self._do(lambda: self._client.worker.perform_worker_operation(key(node), operation, params))
        return {"action": str(action.oid)}

    def adopt_node(self, preview: bool = False, **attrs: Any) -> Any:
        """Make a node of a process or container that runs already, without another start of it; in no cluster at first.

        `type` is `process-1.0` or `container-1.0`, `identity` a pid or the name or id of a container, and `machine_id`
        the id or name of the machine it runs on, which Senlin does not need. More: `name`, `metadata`, `overrides` of
        properties of its profile, and `snapshot`, which makes an image of a container. With `preview` the spec that its
        profile would have is returned as a dict, and nothing is made. Raises `CannotAdopt`. There is no `role`.
        """
        words.refuse_unknown(attrs, ADOPTED, "adopt_node")
        require(attrs, "type", "identity", "machine_id")
        attrs["identity"] = str(attrs["identity"])
        wish = without_none(**{OURS.get(name, name): value for name, value in attrs.items()})
        if preview:
            shown = self._do(lambda: self._client.worker.preview_adoption(wish))
            return to_wire(shown.spec)
        action = self._do(lambda: self._client.worker.adopt_worker(wish))
        return self._acted_on(str(action.target), action)

    def _delete_node(self, named: str) -> Node:
        found = self._do(lambda: self._client.worker.get_worker(named))
        action = self._do(lambda: self._client.worker.delete_worker(found.oid))
        node = self._node(found)
        node.set("status", words.LEAVING)
        node.set("action_id", str(action.oid))
        return node

    def _acted_on(self, named: str, action: ActionView) -> Node:
        node = self.get_node(named)
        node.set("action_id", str(action.oid))
        return node

    def _node(self, view: AnyWorkerView) -> Node:
        return resources.node(view, {"profile_name": lambda: self._profile_of(view)})

    def _profile_of(self, view: AnyWorkerView) -> str | None:
        if view.profile_oid is None:
            return None
        oid = view.profile_oid
        return self._do(lambda: self._client.profile.get_profile(oid)).name


def _settings(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node is to be, in our words; what is None was not said."""
    given = {OURS.get(name, name): value for name, value in attrs.items() if name != "cluster_id"}
    if given.get("profile") is not None:
        given["profile"] = key(given["profile"])
    return without_none(**given)
