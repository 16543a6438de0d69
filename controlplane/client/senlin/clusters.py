"""Methods for clusters and the policies that they obey."""

from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.client.senlin import resources, words
from controlplane.client.senlin.methods import Methods, key, not_offered, read_query, refused, require, without_none
from controlplane.client.senlin.resources import Cluster, ClusterAttr, ClusterPolicy, Resource
from controlplane.errors import NoSuchObject
from controlplane.records.actions import ActionView
from controlplane.records.clusters import AnyClusterView
from controlplane.records.workers import WorkerStatus

NAMING = "node.name.format"
MADE_FROM = frozenset(
    {"name", "profile_id", "desired_capacity", "min_size", "max_size", "timeout", "metadata", "config"}
)
CHANGED = frozenset({"name", "profile_id", "timeout", "metadata", "config"})
RESIZED = frozenset({"adjustment_type", "number", "min_size", "max_size", "min_step", "strict"})
RECOVERED = frozenset({"operation", "operation_params", "check", "check_capacity"})
OURS = {"profile_id": "profile", "desired_capacity": "desired"}


class Clusters(Methods):
    """Clusters, and the policies that they obey.

    Methods that change something for a while return `{"action": id}`, as Senlin's do.
    """

    def create_cluster(self, **attrs: Any) -> Cluster:
        """Create a cluster from `name` and `profile_id`, which may be a name, and start it.

        More: `desired_capacity` (`min_size` unless given), `min_size` 0, `max_size` -1 for no bound (and 0 is 0),
        `timeout` in seconds, `metadata`, and of `config` the key `node.name.format`. The cluster's `action_id` is the
        action that starts its nodes.
        """
        words.refuse_unknown(attrs, MADE_FROM, "create_cluster")
        require(attrs, "name", "profile_id")
        return self._cluster(self._do(lambda: self._client.cluster.create_cluster(_settings(attrs))))

    def update_cluster(self, cluster: Any, **attrs: Any) -> Cluster:
        """Change `name`, `timeout`, `metadata` (as a whole), `config` or `profile_id` of a cluster.

        Another profile reaches the nodes in batches; when a node does not run with it, all is taken back, where
        Senlin leaves a mixture. There is no `profile_only`. Sizes are changed by `resize_cluster`.
        """
        if attrs.pop("profile_only", False):
            not_offered("profile_only", "change the profile with profile_id alone: nodes are changed over in batches")
        words.refuse_unknown(attrs, CHANGED, "update_cluster")
        return self._cluster(self._do(lambda: self._client.cluster.update_cluster(key(cluster), _settings(attrs))))

    def delete_cluster(self, cluster: Any, ignore_missing: bool = True, force_delete: bool = False) -> Cluster | None:
        """Delete a cluster and all its nodes, and return it as it is on its way out; None when there is none.

        Deleting goes before every other action and cancels it, with and without `force_delete`; Senlin refuses it
        without while something else goes on. Its policies are detached by the same action.
        """
        _require_bool("force_delete", force_delete)
        return self._find(self._delete_cluster, key(cluster), ignore_missing)

    def get_cluster(self, cluster: Any) -> Cluster:
        """Return a cluster, by its name, id or the beginning of its id; raises `ResourceNotFound`."""
        return self._cluster(self._do(lambda: self._client.cluster.get_cluster(key(cluster))))

    def find_cluster(self, name_or_id: str, ignore_missing: bool = True) -> Cluster | None:
        """Return a cluster, or None when there is none, or with `ignore_missing=False` raise `ResourceNotFound`."""
        return self._find(self.get_cluster, name_or_id, ignore_missing)

    def clusters(self, **query: Any) -> Iterator[Cluster]:
        """Go through the clusters: `name`, `status`, `sort`, `limit` (the length of a page), `marker`.

        Router clusters are among them. `status` is Senlin's word. Sorted by `status` they come in the order of ours.
        """
        sort = read_query(query, frozenset({"name", "status"}), "clusters")
        wanted = words_of(query.get("status"))
        filters = without_none(name=query.get("name"))
        return self._pages(
            lambda limit, marker: self._client.cluster.list_clusters(filters, sort, limit, marker),
            query,
            lambda page: (each for each in map(self._cluster, page) if wanted is None or each.status in wanted),
        )

    def check_cluster(self, cluster: Any, **params: Any) -> dict[str, Any]:
        """Have the agents look at every node of a cluster now: whether it runs, and is ready still.

        The action succeeds when they have looked; its `outputs` say which nodes are well, and why others are not.
        Those are in `ERROR` from then on. `delete_check_action` is accepted: old actions are forgotten anyway.
        """
        words.refuse_unknown(params, frozenset({"delete_check_action"}), "check_cluster")
        return begun(self._do(lambda: self._client.cluster.check_cluster(key(cluster))))

    def recover_cluster(self, cluster: Any, **params: Any) -> dict[str, Any]:
        """Bring nodes back that failed, cannot be reached or have no place.

        `operation` is `REBOOT`, `REBUILD` or `RECREATE` (without one, and then the node gets another id), or a list of
        them to try one after the other. `operation_params` can have `timeout`, the seconds after which the next one is
        tried, and `type`, `SOFT` unless it is `HARD`. With `check` the agents look first. `check_capacity` is always as
        if it were true: as many nodes as are wanted are kept at all times.
        """
        words.refuse_unknown(params, RECOVERED, "recover_cluster")
        given = recovery(params)
        return begun(self._do(lambda: self._client.cluster.recover_cluster(key(cluster), *given)))

    def resize_cluster(self, cluster: Any, **params: Any) -> dict[str, Any]:
        """Change the size of a cluster and its bounds.

        `adjustment_type` is `EXACT_CAPACITY`, `CHANGE_IN_CAPACITY` or `CHANGE_IN_PERCENTAGE` and comes with `number`;
        `min_size`, `max_size`, `min_step`; `strict`, true unless given, refuses a size outside of the bounds.
        """
        words.refuse_unknown(params, RESIZED, "resize_cluster")
        return begun(self._do(lambda: self._client.cluster.resize_cluster(key(cluster), **params)))

    def scale_in_cluster(self, cluster: Any, count: int | None = None) -> dict[str, Any]:
        """Have so many nodes less; without a `count` as many as the policies say, or one.

        A size under the lower bound is refused at once, where Senlin's action fails later.
        """
        return begun(self._do(lambda: self._client.cluster.scale_in_cluster(key(cluster), count)))

    def scale_out_cluster(self, cluster: Any, count: int | None = None) -> dict[str, Any]:
        """Have so many nodes more; without a `count` as many as the policies say, or one."""
        return begun(self._do(lambda: self._client.cluster.scale_out_cluster(key(cluster), count)))

    def collect_cluster_attrs(self, cluster: Any, path: str) -> Iterator[ClusterAttr]:
        """Go through what a path leads to in each node: `node_id` and `attr_value`.

        A path is JSONPath without unions and filters, into a worker as `controlplane.worker.get_worker` shows it;
        first steps that Senlin calls otherwise, as `$.physical_id`, are understood. Nodes in which it leads nowhere
        are left out. With `details` in it the agents are asked.
        """
        found = self._do(lambda: self._client.cluster.collect_cluster_attributes(key(cluster), _our_path(path)))
        is_status = path.removeprefix("$.") == "status"
        return (resources.attribute(each, _status(each.value) if is_status else each.value) for each in found)

    def perform_operation_on_cluster(self, cluster: Any, operation: str, **params: Any) -> dict[str, Any]:
        """Carry out an operation on the nodes of a cluster, at most once on each.

        `params` are those of the operation, as `list_profile_type_operations` tells, and `filters`: `name`, `index`,
        `profile_id`, or `status` as Senlin says it, each with one value or a list. Nodes of which nobody can say
        whether they did it are `unknown` in the outputs of the action.
        """
        filters = _node_filters(params.pop("filters", None))
        return begun(
            self._do(
                lambda: self._client.cluster.perform_cluster_operation(key(cluster), operation, params, filters or None)
            )
        )

    def add_nodes_to_cluster(self, cluster: Any, nodes: Any) -> dict[str, Any]:
        """Have nodes that are in no cluster be in this one, which wants so many more; what runs of them goes on.

        They have to be active, of the type of the cluster's profile, and on machines where the cluster may have them.
        """
        keys = [key(node) for node in _listed(nodes)]
        return begun(self._do(lambda: self._client.cluster.add_cluster_workers(key(cluster), keys)))

    def remove_nodes_from_cluster(self, cluster: Any, nodes: Any, **params: Any) -> dict[str, Any]:
        """Take nodes out of a cluster, which wants so many less from now on.

        They run on, in no cluster, unless `destroy_after_deletion` is true; what was said here goes before a deletion
        policy, where in Senlin the policy has the last word.
        """
        words.refuse_unknown(params, frozenset({"destroy_after_deletion"}), "remove_nodes_from_cluster")
        destroy = params.get("destroy_after_deletion", False)
        _require_bool("destroy_after_deletion", destroy)
        oids = self._oids(nodes)
        return begun(self._do(lambda: self._client.cluster.remove_cluster_workers(key(cluster), oids, destroy)))

    def replace_nodes_in_cluster(self, cluster: Any, nodes: Any) -> dict[str, Any]:
        """Have other nodes in the places of some; `nodes` is a dict of those to be replaced, with what replaces each.

        That is a node that is in no cluster, as for `add_nodes_to_cluster`; those that are replaced run on, in no
        cluster. A list of those to be replaced, or None for each, has new nodes made, and then they go for good.
        """
        oids = self._oids(nodes)
        candidates = [each for each in nodes.values() if each is not None] if isinstance(nodes, Mapping) else []
        if candidates and len(candidates) != len(oids):
            raise refused("nodes", "names what replaces some of them only", "name one for each, or for none")
        keys = [key(each) for each in candidates] or None
        action = self._do(
            lambda: self._client.cluster.replace_cluster_workers(key(cluster), oids, keys, destroy=keys is None)
        )
        return begun(action)

    def attach_policy_to_cluster(self, cluster: Any, policy: Any, **params: Any) -> dict[str, Any]:
        """Have a cluster obey a policy, with `enabled=False` not yet; the action is over when this returns."""
        words.refuse_unknown(params, frozenset({"enabled"}), "attach_policy_to_cluster")
        enabled = params.get("enabled", True)
        bound = self._do(lambda: self._client.cluster.attach_policy(key(cluster), key(policy), enabled))
        return _bound(bound)

    def update_cluster_policy(self, cluster: Any, policy: Any, **params: Any) -> dict[str, Any]:
        """Have a cluster obey an attached policy, or not, as `enabled` says; the action is over when this returns."""
        words.refuse_unknown(params, frozenset({"enabled"}), "update_cluster_policy")
        if "enabled" not in params:
            raise refused("enabled", "is missing", "say enabled=True or enabled=False")
        bound = self._do(
            lambda: self._client.cluster.update_cluster_policy(key(cluster), key(policy), params["enabled"])
        )
        return _bound(bound)

    def detach_policy_from_cluster(self, cluster: Any, policy: Any) -> dict[str, Any]:
        """Have a cluster obey a policy no longer; the action is over when this returns."""
        bound = self._do(lambda: self._client.cluster.detach_policy(key(cluster), key(policy)))
        return _bound(bound)

    def get_cluster_policy(self, cluster_policy: Any, cluster: Any) -> ClusterPolicy:
        """Return how a cluster obeys a policy, by the policy and the cluster; raises `ResourceNotFound`."""
        policy = cluster_policy.policy_id if isinstance(cluster_policy, ClusterPolicy) else key(cluster_policy)
        return resources.binding(self._do(lambda: self._client.cluster.get_cluster_policy(key(cluster), policy)))

    def cluster_policies(self, cluster: Any, **query: Any) -> Iterator[ClusterPolicy]:
        """Go through the policies that a cluster obeys: `enabled`, `policy_name`, `policy_type`, `sort` and paging."""
        names = frozenset({"enabled", "policy_name", "policy_type"})
        sort = read_query(query, names, "cluster_policies")
        filters = {name: query[name] for name in names & query.keys()}
        return self._pages(
            lambda limit, marker: self._client.cluster.list_cluster_policies(
                key(cluster), filters, sort, limit, marker
            ),
            query,
            lambda page: map(resources.binding, page),
        )

    def _delete_cluster(self, named: str) -> Cluster:
        action = self._do(lambda: self._client.cluster.delete_cluster(named))
        try:
            return self.get_cluster(str(action.cluster_oid))
        except NoSuchObject:  # It had no nodes, and is gone already.
            return Cluster(
                id=str(action.cluster_oid), name=action.cluster_name, status="DELETED", action_id=str(action.oid)
            )

    def _cluster(self, view: AnyClusterView) -> Cluster:
        action: ActionView | None = None
        if view.action_oid is not None:
            oid = view.action_oid
            action = self._find(
                lambda _: self._do(lambda: self._client.action.get_action(oid)), str(oid), ignore_missing=True
            )
        later = {
            "profile_name": lambda: self._profile_name(view),
            "node_ids": lambda: self._members(view),
            "policies": lambda: [each.policy_id for each in self.cluster_policies(str(view.oid))],
        }
        return resources.cluster(view, action if action is not None and action.ended is None else None, dict(later))

    def _members(self, view: AnyClusterView) -> list[str]:
        pages = self._pages(
            lambda limit, marker: self._client.worker.list_workers(view.oid, None, None, limit, marker), {}, iter
        )
        return [str(each.oid) for each in pages]

    def _profile_name(self, view: Any) -> str | None:
        if view.profile_oid is None:
            return None
        found = self._do(lambda: self._client.profile.get_profile(view.profile_oid))
        return str(found.name)

    def _oids(self, nodes: Any) -> list[str]:
        """Return the ids of nodes that are given by id, name or the beginning of an id."""
        return [self._oid(key(each)) for each in _listed(nodes)]

    def _oid(self, node: str) -> str:
        return str(self._do(lambda: self._client.worker.get_worker(node)).oid)


def _listed(nodes: Any) -> list[Any]:
    return [nodes] if isinstance(nodes, str | Resource) else list(nodes)


def recovery(params: Mapping[str, Any]) -> tuple[Any, Any, bool]:
    """Return how nodes are to be brought back: operations, their parameters, and whether agents look first."""
    check = params.get("check", False)
    _require_bool("check", check)
    return params.get("operation"), params.get("operation_params"), check


def words_of(status: Any) -> frozenset[str] | None:
    """Return the words of Senlin that a status may be, in capitals; None for any."""
    if status is None:
        return None
    return frozenset(str(each).upper() for each in ([status] if isinstance(status, str) else status))


def _settings(attrs: Mapping[str, Any]) -> dict[str, Any]:
    settings = {OURS.get(name, name): value for name, value in attrs.items() if name != "config"}
    if "profile" in settings:
        settings["profile"] = key(settings["profile"])
    config = attrs.get("config") or {}
    if not isinstance(config, Mapping):
        raise refused("config", "is no dict", f"give {NAMING}, or leave it out")
    unknown = ", ".join(sorted(config.keys() - {NAMING}))
    if unknown:
        raise refused("config", f"has {unknown}, which is not known", f"give {NAMING}")
    if NAMING in config:
        settings["naming"] = config[NAMING]
    return settings


def begun(action: ActionView) -> dict[str, Any]:
    """Return what Senlin says of an action that was begun."""
    return {"action": str(action.oid)}


def _our_path(path: str) -> str:
    root, first = ("$.", path[2:]) if path.startswith("$.") else ("", path)
    step = first.partition(".")[0].partition("[")[0]
    return root + words.NODE_FIELDS.get(step, step) + first[len(step) :]


def _status(word: Any) -> Any:
    try:
        return words.NODE_STATUS[WorkerStatus(word)]
    except ValueError:
        return word


def _node_filters(filters: Any) -> dict[str, Any]:
    """Return in our words which nodes are meant."""
    if filters is None:
        return {}
    if not isinstance(filters, Mapping):
        raise refused("filters", "is no dict", "give names of attributes with their values, or leave it out")
    words.refuse_unknown(filters, frozenset({"name", "index", "profile_id", "status"}), "filters")
    found = {words.NODE_FIELDS.get(name, name): value for name, value in filters.items()}
    wanted = words_of(found.get("status"))
    if wanted is not None:
        found["status"] = [ours.value for ours, theirs in words.NODE_STATUS.items() if theirs in wanted]
    return found


def _require_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise refused(name, "is neither True nor False", "say which")


def _bound(made: Any) -> dict[str, Any]:
    return {"action": str(made.action_oid), "cluster_policy": str(made.oid)}
