"""Who may log in."""

from typing import Literal

from controlplane.records.types import Authid, Instant, Oid, PublicKey, Record

Role = Literal["admin"]


class Principal(Record, frozen=True, kw_only=True):
    """A person or program that logs in with a key of its own and may administer the control plane."""

    oid: Oid
    authid: Authid
    pubkey: PublicKey
    role: Role
    created: Instant


class Caller(Record, frozen=True, kw_only=True):
    """Who makes a call, as the router discloses it."""

    session: int
    authid: str
    authrole: str


class Who(Record, frozen=True, kw_only=True):
    """The caller as replies show it, in Crossbar.io's spelling."""

    session: int
    authid: str
    authrole: str
