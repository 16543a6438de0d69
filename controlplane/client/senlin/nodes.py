"""Methods for nodes: workers, in our words. There are none outside of clusters."""

from collections.abc import Iterator
from typing import Any

from controlplane.client.senlin import resources, words
from controlplane.client.senlin.clusters import words_of
from controlplane.client.senlin.methods import Methods, key, not_offered, read_query
from controlplane.client.senlin.resources import Node
from controlplane.records.workers import AnyWorkerView

ASKED = frozenset({"cluster_id", "name", "status"})
INSTEAD = "use replace_nodes_in_cluster with this node: a new one takes its place"


class Nodes(Methods):
    """Nodes. A node here is a worker of ours; what we call a node is a machine."""

    def create_node(self, **attrs: Any) -> Node:  # noqa: ARG002
        """Not offered: nodes are made by their clusters."""
        not_offered("create_node", "use create_cluster with desired_capacity=1, or scale_out_cluster")

    def update_node(self, node: Any, **attrs: Any) -> Node:  # noqa: ARG002
        """Not offered: a node has its name from its cluster's pattern, and its profile from its cluster."""
        not_offered("update_node", "use update_cluster, which changes all nodes of the cluster")

    def delete_node(self, node: Any, ignore_missing: bool = True, force_delete: bool = False) -> Node | None:  # noqa: ARG002
        """Stop a node for good and return it as it is on its way out; its cluster wants one less from now on.

        None when there is none. Refused under the lower bound of the cluster, and while another action changes it,
        with and without `force_delete`: a node that hangs is killed by its agent after its grace period in any case.
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

    def check_node(self, node: Any, **params: Any) -> dict[str, Any]:  # noqa: ARG002
        """Not offered: its agent reports what a node does at once, so there is nothing to check for."""
        not_offered("check_node", "use get_node, with details=True to have its agent asked")

    def recover_node(self, node: Any, **params: Any) -> dict[str, Any]:  # noqa: ARG002
        """Not offered yet: a node keeps its id when its agent restarts it, and there is no call that has it do so."""
        not_offered("recover_node", INSTEAD)

    def perform_operation_on_node(self, node: Any, operation: str, **params: Any) -> dict[str, Any]:
        """Carry out an operation on a node, at most once, with the operation's own parameters.

        `list_profile_type_operations` tells which there are. A node that is paused or stopped by one stays `ACTIVE`.
        """
        action = self._do(lambda: self._client.worker.perform_worker_operation(key(node), operation, params))
        return {"action": str(action.oid)}

    def adopt_node(self, preview: bool = False, **attrs: Any) -> Any:  # noqa: ARG002
        """Not offered yet: what runs already cannot become a node."""
        not_offered("adopt_node", "make a profile of the same kind, and a cluster of it")

    def _delete_node(self, named: str) -> Node:
        found = self._do(lambda: self._client.worker.get_worker(named))
        action = self._do(lambda: self._client.cluster.remove_cluster_workers(found.cluster_oid, [found.oid]))
        node = self._node(found)
        node.set("status", words.LEAVING)
        node.set("action_id", str(action.oid))
        return node

    def _node(self, view: AnyWorkerView) -> Node:
        return resources.node(view, {"profile_name": lambda: self._profile_of(view)})

    def _profile_of(self, view: AnyWorkerView) -> str | None:
        if view.profile_oid is None:
            return None
        oid = view.profile_oid
        return self._do(lambda: self._client.profile.get_profile(oid)).name
