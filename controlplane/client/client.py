"""The client for programs that wait without blocking, on Twisted or on asyncio."""

from controlplane.client.calls import CALL_WITHIN_S, Calls, Line
from controlplane.client.nouns import Nouns
from controlplane.client.pace import Pace
from controlplane.records.types import Seconds


class Client(Nouns):
    """The plane, over a session with its router: `await client.cluster.scale_out_cluster("shop", 2)`.

    Every noun is an attribute and every procedure of it a method with the same name and arguments; what is returned
    are the records of `controlplane.records`, and what is raised is one of `controlplane.errors`. `iterate_` methods
    go through lists page by page.
    """

    def __init__(
        self,
        session: Line,
        *,
        within: Seconds = CALL_WITHIN_S,
        pace: Pace | None = None,
    ) -> None:
        """Call over a session of Autobahn's, for Twisted or for asyncio.

        A call that got no answer is tried again, and given up after `within` so many seconds in all.
        `pace` is for who waits in another way than with the reactor or loop that the session belongs to.
        """
        calls = Calls(session, within=within, pace=pace)
        super().__init__(calls)
        self.call = calls.call
        """Calls any procedure by its full name, Crossbar.io's too; its answer comes as it is."""
