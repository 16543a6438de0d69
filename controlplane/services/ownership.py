"""How many clusters a user may own."""

from typing import Any

from controlplane.errors import LimitReached
from controlplane.records.principals import Principal
from controlplane.services.pipeline import WritingCall
from controlplane.store.catalog import POSSESSIONS


def require_own_room(call: WritingCall, owner: Any) -> None:
    """Refuse another cluster for a user who has as many as it may have; raises `LimitReached`."""
    if not isinstance(owner, Principal):
        return
    own = owner.clusters_max
    admitted = call.limits.clusters_per_user_max if own is None else own
    if call.rows(POSSESSIONS).count(owner.oid) >= admitted:
        raise LimitReached(
            f"{owner.authid} owns {admitted} router clusters, as many as are admitted",
            subject={
                "type": "limit",
                "name": "clusters_per_user_max" if own is None else "clusters_max",
                "value": admitted,
                "of": {"type": "user", "oid": str(owner.oid), "name": owner.authid},
            },
            next_step="give or delete some"
            + (
                ", or raise the setting clusters_per_user_max"
                if own is None
                else ", or ask an administrator for a higher clusters_max"
            ),
        )
