"""What can be done with each worker; written by scripts/contract from what procedures declare: do not edit."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from controlplane.client.calls import PAGE_SIZE, Key, Noun
from controlplane.records.actions import ActionView
from controlplane.records.definitions import DefinitionView
from controlplane.records.lone_workers import AdoptionInput, WorkerInput, WorkerUpdate
from controlplane.records.workers import AnyWorkerView, WorkerLogs


class WorkerCalls(Noun):
    """Procedures of `controlplane.worker`."""

    async def adopt_worker(
        self,
        adoption: AdoptionInput | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Make a profile for something that runs already on a node, and a worker in no cluster of it; it runs on untouched.

        It stands on its node and on no other. When it dies it is started anew as its profile says.
        """
        return await self._calls.write(
            "controlplane.worker.adopt_worker",
            {
                "adoption": adoption,
            },
            ActionView,
            idempotency_key,
        )

    async def check_worker(
        self,
        worker: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Have the agent of a worker look at it now, and say in the outputs of the action whether it is well."""
        return await self._calls.write(
            "controlplane.worker.check_worker",
            {
                "worker": worker,
            },
            ActionView,
            idempotency_key,
        )

    async def create_worker(
        self,
        definition: WorkerInput | Mapping[str, Any],
        cluster: Key | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Create a worker in no cluster and start it; its action tells how it goes on, and which worker it is.

        In a `cluster`, which wants one more then, it keeps a profile of its own until the cluster is given another
        one.
        """
        return await self._calls.write(
            "controlplane.worker.create_worker",
            {
                "definition": definition,
                "cluster": cluster,
            },
            ActionView,
            idempotency_key,
        )

    async def delete_worker(
        self,
        worker: Key,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Stop a worker for good and forget it; a cluster that it is in wants one less from now on.

        Of a worker in no cluster this goes before any other action, which is cancelled.
        """
        return await self._calls.write(
            "controlplane.worker.delete_worker",
            {
                "worker": worker,
            },
            ActionView,
            idempotency_key,
        )

    async def get_worker(
        self,
        worker: Key,
        details: bool = False,
    ) -> AnyWorkerView:
        """Return a worker, by its oid, its name, or the beginning of its oid; with `details` its agent is asked."""
        return await self._calls.read(
            "controlplane.worker.get_worker",
            {
                "worker": worker,
                "details": details,
            },
            AnyWorkerView,
        )

    async def get_worker_logs(
        self,
        worker: Key,
        lines: int = 100,
        length: int = 65536,
        after: str | None = None,
    ) -> WorkerLogs:
        """Return the last lines that a worker has written, at most `length` bytes of them.

        With the `next` of another answer as `after` it returns what was written then, the oldest first.
        """
        return await self._calls.read(
            "controlplane.worker.get_worker_logs",
            {
                "worker": worker,
                "lines": lines,
                "length": length,
                "after": after,
            },
            WorkerLogs,
        )

    async def list_workers(
        self,
        cluster: Key | None = None,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[AnyWorkerView]:
        """Return workers of all clusters, or of one, cluster by cluster unless `sort` says otherwise."""
        return await self._calls.read(
            "controlplane.worker.list_workers",
            {
                "cluster": cluster,
                "filters": filters,
                "sort": sort,
                "limit": limit,
                "marker": marker,
            },
            list[AnyWorkerView],
        )

    def iterate_workers(
        self,
        cluster: Key | None = None,
        filters: Mapping[str, Any] | None = None,
        sort: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[AnyWorkerView]:
        """Go through all that `list_workers` lists, page by page as it is needed."""
        return self._calls.pages(
            lambda limit, marker: self.list_workers(
                cluster=cluster,
                filters=filters,
                sort=sort,
                limit=limit,
                marker=marker,
            ),
            page_size,
        )

    async def perform_worker_operation(
        self,
        worker: Key,
        operation: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Carry out an operation on one worker, of a cluster or alone; at most once, as on a whole cluster."""
        return await self._calls.write(
            "controlplane.worker.perform_worker_operation",
            {
                "worker": worker,
                "operation": operation,
                "parameters": parameters,
            },
            ActionView,
            idempotency_key,
        )

    async def preview_adoption(
        self,
        adoption: AdoptionInput | Mapping[str, Any],
    ) -> DefinitionView:
        """Return the profile that something which runs already would get if it was adopted; nothing is kept or touched."""
        return await self._calls.read(
            "controlplane.worker.preview_adoption",
            {
                "adoption": adoption,
            },
            DefinitionView,
        )

    async def protect_worker(
        self,
        worker: Key,
        *,
        idempotency_key: str | None = None,
    ) -> AnyWorkerView:
        """Have a worker stay: it is never chosen when its cluster shrinks, and calls that would replace it are refused.

        It is still placed elsewhere when its node is lost, restarted when it fails, given another profile with the
        others, and stopped with its cluster.
        """
        return await self._calls.write(
            "controlplane.worker.protect_worker",
            {
                "worker": worker,
            },
            AnyWorkerView,
            idempotency_key,
        )

    async def recover_worker(
        self,
        worker: Key,
        operation: str | Sequence[str] | None = None,
        operation_params: Mapping[str, Any] | None = None,
        check: bool = False,
        *,
        idempotency_key: str | None = None,
    ) -> ActionView:
        """Bring one worker back, whatever it does now; with `check` only when its agent finds it not well."""
        return await self._calls.write(
            "controlplane.worker.recover_worker",
            {
                "worker": worker,
                "operation": operation,
                "operation_params": operation_params,
                "check": check,
            },
            ActionView,
            idempotency_key,
        )

    async def unprotect_worker(
        self,
        worker: Key,
        *,
        idempotency_key: str | None = None,
    ) -> AnyWorkerView:
        """Have a worker be one like all others again."""
        return await self._calls.write(
            "controlplane.worker.unprotect_worker",
            {
                "worker": worker,
            },
            AnyWorkerView,
            idempotency_key,
        )

    async def update_worker(
        self,
        worker: Key,
        changes: WorkerUpdate | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> AnyWorkerView:
        """Give a worker another name or other metadata, or if it is in no cluster, another profile.

        What runs is not touched by a name. Another profile reaches it by an action; when it does not run with it,
        the action takes that back and fails.
        """
        return await self._calls.write(
            "controlplane.worker.update_worker",
            {
                "worker": worker,
                "changes": changes,
            },
            AnyWorkerView,
            idempotency_key,
        )
