"""The names that procedures of router clusters go by."""

from controlplane.records.events import OWN_PREFIX, ROUTERCLUSTER_PREFIXES

ROUTERCLUSTER = f"{OWN_PREFIX}routercluster."


def crossbar_names(verb: str) -> tuple[str, ...]:
    """Return the names under which Crossbar.io's documents and programs call a procedure of router clusters."""
    return tuple(prefix + verb for prefix in ROUTERCLUSTER_PREFIXES)
