"""What the rest of the driver needs of a WAMP session on which a node offers its management procedures.

On this machine the session is the far end of the node's uplink (`uplink.py`). Any session of an ordinary router will
do as well, where an unmodified edge node of Crossbar.io has registered the same procedures under the same names.
"""

from typing import Any, Protocol

CALL_LIMIT_S = 10.0
"""For calls that do next to nothing; none took over 20 ms on an idle machine."""

NO_SUCH_PROCEDURE = "wamp.error.no_such_procedure"
CANCELED = "wamp.error.canceled"


class ManagementSession(Protocol):
    """A session on which management procedures can be called."""

    async def call(self, uri: str, *args: Any, timeout: float = CALL_LIMIT_S) -> Any:
        """Return the answer.

        Raises `NoAnswer` when there is none in time, and autobahn's `ApplicationError` when the procedure refuses, is
        not registered (`wamp.error.no_such_procedure`), or when the session ends meanwhile (`wamp.error.canceled`).
        """
        ...


def node_prefix(node_id: str) -> str:
    """Return how the names of a node's management procedures begin."""
    return f"crossbarfabriccenter.node.{node_id}."
