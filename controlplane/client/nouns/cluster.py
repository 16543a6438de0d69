"""What can be done with each cluster; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.actions import ActionView
from controlplane.records.balancing import BalanceView
from controlplane.records.clusters import AnyClusterView, GenericClusterInput, GenericClusterUpdate
from controlplane.records.lifecycle import Completion
from controlplane.records.metrics import ClusterMetrics
from controlplane.records.orders import OperationResult
from controlplane.records.policies import Adjustment, BindingView
from controlplane.records.workers import CollectedAttribute, WorkerView


class ClusterCalls(Noun):
    """Procedures of `controlplane.cluster`."""

    async def add_cluster_workers(
        self,
        cluster: Key,
        workers: Sequence[str],
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Have workers that are in no cluster be in this one, which wants so many more; what runs of them is not touched.

        They have to run, to be of the cluster's type, and to stand on nodes where its own could. Each keeps its
        profile until the cluster is given another one. Whoever calls needs the right on the workers, too.
        """
        return await self._calls.write(
            "controlplane.cluster.add_cluster_workers",
            {
                "cluster": cluster,
                "workers": workers,
            },
            ActionView,
            idempotency_key,
        )

    async def attach_policy(
        self,
        cluster: Key,
        policy: Key,
        enabled: bool = True,
        *,
        idempotency_key: str | None = None,
    ) -> BindingView:
        """Have a cluster obey a policy; of most types it can obey one only."""
        return await self._calls.write(
            "controlplane.cluster.attach_policy",
            {
                "cluster": cluster,
                "policy": policy,
                "enabled": enabled,
            },
            BindingView,
            idempotency_key,
        )

    async def check_cluster(
        self,
        cluster: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Have the agents look at every worker of a cluster now, and say in the outputs of the action which are well.

        The action succeeds when the agents have looked, whatever they found. A worker that is not well is in
        `ERROR` from then on; one of a silent node has failed.
        """
        return await self._calls.write(
            "controlplane.cluster.check_cluster",
            {
                "cluster": cluster,
            },
            ActionView,
            idempotency_key,
        )

    async def collect_cluster_attributes(
        self,
        cluster: Key,
        path: str,
    ) -> list[CollectedAttribute]:
        """Return what a path leads to in each worker of a cluster, as `$.status` or `$.addresses[0].url`.

        Workers in which it leads nowhere are left out. A path with `details` in it has the agents asked.
        """
        return await self._calls.read(
            "controlplane.cluster.collect_cluster_attributes",
            {
                "cluster": cluster,
                "path": path,
            },
            list[CollectedAttribute],
        )

    async def complete_lifecycle(
        self,
        cluster: Key,
        token: Key,
        *,
        idempotency_key: str | None = None,
    ) -> Completion:
        """Say that a worker may go, with the `lifecycle_action_token` that was told when it was to.

        A token that nobody waits for, any more or at all, is no error: then nothing is done.
        """
        return await self._calls.write(
            "controlplane.cluster.complete_lifecycle",
            {
                "cluster": cluster,
                "token": token,
            },
            Completion,
            idempotency_key,
        )

    async def create_cluster(
        self,
        definition: GenericClusterInput | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> AnyClusterView:
        """Create a cluster of the workers that a profile describes, and start it; its action tells how it goes on."""
        return await self._calls.write(
            "controlplane.cluster.create_cluster",
            {
                "definition": definition,
            },
            AnyClusterView,
            idempotency_key,
        )

    async def delete_cluster(
        self,
        cluster: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Stop all workers of a cluster and delete it; goes before any other action, which is cancelled."""
        return await self._calls.write(
            "controlplane.cluster.delete_cluster",
            {
                "cluster": cluster,
            },
            ActionView,
            idempotency_key,
        )

    async def detach_policy(
        self,
        cluster: Key,
        policy: Key,
        *,
        idempotency_key: str | None = None,
    ) -> BindingView:
        """Have a cluster obey a policy no longer."""
        return await self._calls.write(
            "controlplane.cluster.detach_policy",
            {
                "cluster": cluster,
                "policy": policy,
            },
            BindingView,
            idempotency_key,
        )

    async def get_cluster(
        self,
        cluster: Key,
    ) -> AnyClusterView:
        """Return a cluster of any type, by its name, oid, or the beginning of its oid."""
        return await self._calls.read(
            "controlplane.cluster.get_cluster",
            {
                "cluster": cluster,
            },
            AnyClusterView,
        )

    async def get_cluster_balance(
        self,
        cluster: Key,
    ) -> BalanceView:
        """Return to whom the load balancer of a cluster is to send clients, and whether it does so yet."""
        return await self._calls.read(
            "controlplane.cluster.get_cluster_balance",
            {
                "cluster": cluster,
            },
            BalanceView,
        )

    async def get_cluster_metrics(
        self,
        cluster: Key,
        limit: int = 20,
    ) -> ClusterMetrics:
        """Return what a cluster's workers used in the last measurements, and what policies made of it.

        Only clusters with a policy that scales by a metric are measured. The measurements are kept in memory: after
        the master was started anew there are none, and policies wait until there are enough.
        """
        return await self._calls.read(
            "controlplane.cluster.get_cluster_metrics",
            {
                "cluster": cluster,
                "limit": limit,
            },
            ClusterMetrics,
        )

    async def get_cluster_policy(
        self,
        cluster: Key,
        policy: Key,
    ) -> BindingView:
        """Return how a cluster obeys a policy."""
        return await self._calls.read(
            "controlplane.cluster.get_cluster_policy",
            {
                "cluster": cluster,
                "policy": policy,
            },
            BindingView,
        )

    async def list_cluster_policies(
        self,
        cluster: Key,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[BindingView]:
        """Return the policies that a cluster obeys."""
        return await self._calls.read(
            "controlplane.cluster.list_cluster_policies",
            {
                "cluster": cluster,
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[BindingView],
        )

    def iterate_cluster_policies(
        self,
        cluster: Key,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[BindingView]:
        """Go through all that `list_cluster_policies` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_cluster_policies(
                cluster=cluster,
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def list_cluster_workers(
        self,
        cluster: Key,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[WorkerView]:
        """Return a cluster's workers, group by group in order of the index unless `sort` says otherwise."""
        return await self._calls.read(
            "controlplane.cluster.list_cluster_workers",
            {
                "cluster": cluster,
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[WorkerView],
        )

    def iterate_cluster_workers(
        self,
        cluster: Key,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[WorkerView]:
        """Go through all that `list_cluster_workers` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_cluster_workers(
                cluster=cluster,
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def list_clusters(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[AnyClusterView]:
        """Return clusters of all types, in order of their oids unless `sort` says otherwise."""
        return await self._calls.read(
            "controlplane.cluster.list_clusters",
            {
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[AnyClusterView],
        )

    def iterate_clusters(
        self,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[AnyClusterView]:
        """Go through all that `list_clusters` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_clusters(
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def list_operation_results(
        self,
        cluster: Key,
        action_oid: Key,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[OperationResult]:
        """Return what came of an operation worker by worker, in order of their oids unless `sort` says otherwise.

        What commands said is in it. The newest twenty operations of a cluster are remembered.
        """
        return await self._calls.read(
            "controlplane.cluster.list_operation_results",
            {
                "cluster": cluster,
                "action_oid": action_oid,
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[OperationResult],
        )

    def iterate_operation_results(
        self,
        cluster: Key,
        action_oid: Key,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[OperationResult]:
        """Go through all that `list_operation_results` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_operation_results(
                cluster=cluster,
                action_oid=action_oid,
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def perform_cluster_operation(
        self,
        cluster: Key,
        operation: str,
        parameters: Mapping[str, Any] | None = None,
        filters: Mapping[str, Any] | None = None,
        parallel: int = 10,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Carry out an operation on the workers of a cluster, or on those that `filters` fit, so many at a time.

        `get_type` tells which operations workers know, and their parameters. Each worker does it at most once: one
        of which nobody can say whether it did is listed as `unknown`, and not tried again. `exec` needs the right
        to manage.
        """
        return await self._calls.write(
            "controlplane.cluster.perform_cluster_operation",
            {
                "cluster": cluster,
                "operation": operation,
                "parameters": parameters,
                "filters": filters,
                "parallel": parallel,
            },
            ActionView,
            idempotency_key,
        )

    async def recover_cluster(
        self,
        cluster: Key,
        operation: str | Sequence[str] | None = None,
        operation_params: Mapping[str, Any] | None = None,
        check: bool = False,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Bring every worker of a cluster back that has failed, cannot be reached or has no place; healthy ones stay.

        The `operation` is `REBOOT`, `REBUILD` or `RECREATE`, or a list of them to try one after the other; without
        one workers are recreated. Protected ones never are: they are tried again where they are. With `check`
        agents look first which workers are not well.
        """
        return await self._calls.write(
            "controlplane.cluster.recover_cluster",
            {
                "cluster": cluster,
                "operation": operation,
                "operation_params": operation_params,
                "check": check,
            },
            ActionView,
            idempotency_key,
        )

    async def remove_cluster_workers(
        self,
        cluster: Key,
        workers: Sequence[str],
        destroy: bool = True,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Stop these workers of a cluster for good; it wants so many less, unless its deletion policy says otherwise.

        Without `destroy` they run on where they are, in no cluster from now on.
        """
        return await self._calls.write(
            "controlplane.cluster.remove_cluster_workers",
            {
                "cluster": cluster,
                "workers": workers,
                "destroy": destroy,
            },
            ActionView,
            idempotency_key,
        )

    async def replace_cluster_workers(
        self,
        cluster: Key,
        workers: Sequence[str],
        candidates: Sequence[str] | None = None,
        destroy: bool = True,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Stop these workers of a cluster for good and have new ones in their places, or as many `candidates`.

        A candidate is a worker in no cluster, see `add_cluster_workers`. Without `destroy` the replaced ones run
        on, in no cluster from now on.
        """
        return await self._calls.write(
            "controlplane.cluster.replace_cluster_workers",
            {
                "cluster": cluster,
                "workers": workers,
                "candidates": candidates,
                "destroy": destroy,
            },
            ActionView,
            idempotency_key,
        )

    async def resize_cluster(
        self,
        cluster: Key,
        adjustment_type: Adjustment | str | None = None,
        number: float | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        min_step: int | None = None,
        strict: bool = True,
        group: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Change how many workers a cluster has, and the bounds of that.

        With `strict` a size outside of the bounds is refused; without it the nearest one inside is taken. A cluster
        with several groups needs the name of the `group`.
        """
        return await self._calls.write(
            "controlplane.cluster.resize_cluster",
            {
                "cluster": cluster,
                "adjustment_type": adjustment_type,
                "number": number,
                "min_size": min_size,
                "max_size": max_size,
                "min_step": min_step,
                "strict": strict,
                "group": group,
            },
            ActionView,
            idempotency_key,
        )

    async def scale_in_cluster(
        self,
        cluster: Key,
        count: int | None = None,
        group: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Have fewer workers in a cluster, never fewer than its lower bound: `count`, or what its policies say, or one.

        Sick ones go first.
        """
        return await self._calls.write(
            "controlplane.cluster.scale_in_cluster",
            {
                "cluster": cluster,
                "count": count,
                "group": group,
            },
            ActionView,
            idempotency_key,
        )

    async def scale_out_cluster(
        self,
        cluster: Key,
        count: int | None = None,
        group: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Have more workers in a cluster, never more than its upper bound: `count`, or what its policies say, or one."""
        return await self._calls.write(
            "controlplane.cluster.scale_out_cluster",
            {
                "cluster": cluster,
                "count": count,
                "group": group,
            },
            ActionView,
            idempotency_key,
        )

    async def update_cluster(
        self,
        cluster: Key,
        changes: GenericClusterUpdate | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> AnyClusterView:
        """Change settings of a cluster; what is not mentioned stays.

        Another profile reaches the workers by an action, as many at a time as `batch` says. When a worker does not
        run with it, the action takes everything back and fails.
        """
        return await self._calls.write(
            "controlplane.cluster.update_cluster",
            {
                "cluster": cluster,
                "changes": changes,
            },
            AnyClusterView,
            idempotency_key,
        )

    async def update_cluster_policy(
        self,
        cluster: Key,
        policy: Key,
        enabled: bool,
        *,
        idempotency_key: str | None = None,
    ) -> BindingView:
        """Have a cluster obey a policy again, or not for the time being."""
        return await self._calls.write(
            "controlplane.cluster.update_cluster_policy",
            {
                "cluster": cluster,
                "policy": policy,
                "enabled": enabled,
            },
            BindingView,
            idempotency_key,
        )
