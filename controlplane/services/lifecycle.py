"""The word that a worker may go, from whoever was told that it would."""

from controlplane.errors import Ambiguous, NoSuchObject
from controlplane.records.lifecycle import Completion
from controlplane.records.types import Oid
from controlplane.services.arguments import ClusterOrPlace
from controlplane.services.farewells import complete
from controlplane.services.pipeline import WritingCall
from controlplane.services.procedures import procedure
from controlplane.store.catalog import WORKERS

CLUSTER = "controlplane.cluster."


@procedure(CLUSTER + "complete_lifecycle", needs="operate", writes=True, raises=(NoSuchObject, Ambiguous))
def complete_lifecycle(call: WritingCall, cluster: ClusterOrPlace, token: Oid) -> Completion:
    """Say that a worker may go, with the `lifecycle_action_token` that was told when it was to.

    A token that nobody waits for, any more or at all, is no error: then nothing is done.
    """
    for worker in call.rows(WORKERS).all(cluster.oid):
        farewell = worker.farewell
        if farewell is not None and farewell.token == token and farewell.waiting:
            return Completion(token=token, worker_oid=worker.oid, until=complete(call.ledger, worker))
    return Completion(token=token, worker_oid=None, until=None)
