"""Regions and zones of machines, and what policies say of them."""

from typing import Annotated, Literal

import msgspec

from controlplane.records.types import LABEL_PATTERN, Line, Record

Zone = Annotated[str, msgspec.Meta(pattern=LABEL_PATTERN)]
"""Name of a region, or of a zone: what fails as one, as a site does, or a rack."""

Weight = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
WEIGHT_DEFAULT = 100
SHARES_MAX = 1_000


class Share(Record, frozen=True, kw_only=True):
    """How much of a cluster one region or zone is to carry."""

    name: Zone
    weight: Weight = WEIGHT_DEFAULT
    """In proportion to those of the others; 0 for nothing at all."""

    cap: int | None = None
    """Never more workers of the cluster than this; None for any number."""


class PlacementRules(Record, frozen=True, kw_only=True):
    """What the policies of a cluster say of where its workers stand, and which policy says it."""

    zones: tuple[Share, ...] = ()
    zone_policy: Line = ""
    regions: tuple[Share, ...] = ()
    region_policy: Line = ""
    per_zone_max: int | None = None
    together: Literal["node", "zone"] | None = None
    affinity_policy: Line = ""
