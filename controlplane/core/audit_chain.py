"""The chain of audit entries: how a link is made, and what is wrong with a chain."""

import hashlib
from collections.abc import Iterable

from controlplane.records.audit import ExportedLink

BEGINNING = bytes(32)
"""What the first entry of all follows."""


def digest_of(previous: bytes, body: bytes) -> bytes:
    """Return what an entry is known by: it depends on every entry before."""
    return hashlib.sha256(previous + body).digest()


class Verifier:
    """Goes along a chain, and stops at the first link that is wrong."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.last: int | None = None
        self.digest: str | None = None
        self.problem: str | None = None

    def verify(self, links: Iterable[ExportedLink]) -> bool:
        """Go along more links; say whether all is well so far."""
        for link in links:
            if self.problem is None:
                self.problem = self._objection(link)
            if self.problem is not None:
                return False
            self.first = link.seq if self.first is None else self.first
            self.last, self.digest = link.seq, link.digest
        return self.problem is None

    def _objection(self, link: ExportedLink) -> str | None:
        if self.last is not None and link.seq != self.last + 1:
            return f"entry {self.last + 1} is missing; {link.seq} follows {self.last}"
        if self.digest is not None and link.previous != self.digest:
            return f"entry {link.seq} does not follow the one before it"
        if self.last is None and link.seq == 1 and link.previous != BEGINNING.hex():
            return "entry 1 is not the first one"
        if digest_of(bytes.fromhex(link.previous), link.body.encode()).hex() != link.digest:
            return f"entry {link.seq} was altered"
        return None
