"""How many objects there may be: asked by what makes them, and answered from counts that the store keeps."""

from collections.abc import Mapping
from typing import Any

from controlplane.errors import LimitReached
from controlplane.records.limits import Limits


def require_room(limits: Limits, name: str, wanted: int, what: str, owner: Mapping[str, Any] | None = None) -> None:
    """Refuse what would make more of something than the limit of this name admits; raises `LimitReached`."""
    admitted: int = getattr(limits, name)
    if wanted > admitted:
        of_owner = f" of {owner['type']} {owner.get('name') or owner['oid']}" if owner else ""
        raise LimitReached(
            f"{wanted} {what}{of_owner} are wanted; {admitted} are admitted ({name})",
            subject={"type": "limit", "name": name, "value": admitted, **({"of": dict(owner)} if owner else {})},
            next_step=f"remove some, or raise the setting {name}",
        )
