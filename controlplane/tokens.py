"""Join tokens: what somebody is given who may leave a key at a master, as one line of text.

A token carries the address and realm of the master, the fingerprints of its router's keys, and the secret half of the
key that the invitation was made for. It has a checksum, so that one that was not copied whole is said to be so.
"""

import base64
import binascii
import hashlib
import os

import cbor2
import msgspec
from autobahn.wamp.cryptosign import CryptosignKey

from controlplane.errors import InvalidArgument, UnknownKey
from controlplane.records.types import Record, from_bytes, to_bytes

PREFIX = "cpjoin-"
CHECKSUM_LENGTH = 4
TOKEN_LENGTH_MAX = 4_096


class Token(Record, frozen=True, kw_only=True):
    """What a token says."""

    url: str
    realm: str
    secret: bytes
    """32 bytes: the seed of the key that logs in once."""

    server_keys: tuple[str, ...] = ()
    """Fingerprints of keys, one of which the router must have: the first contact is authenticated both ways by them."""

    def key(self) -> CryptosignKey:
        """Return the key that logs in once."""
        return CryptosignKey.from_bytes(self.secret)

    def text(self) -> str:
        """Return the token as it is handed over."""
        body = to_bytes(self)
        encoded = base64.urlsafe_b64encode(_checksum(body) + body).decode().rstrip("=")
        return PREFIX + encoded


def new_secret() -> bytes:
    """Return the secret of a new token."""
    return os.urandom(32)


def read_token(text: str) -> Token:
    """Return what a token says; raises `InvalidArgument` when it is none, or not all of it."""
    text = text.strip()
    try:
        if not text.startswith(PREFIX) or len(text) > TOKEN_LENGTH_MAX:
            raise ValueError("it does not begin like one")
        encoded = text.removeprefix(PREFIX).encode("ascii")
        data = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        body = data[CHECKSUM_LENGTH:]
        if _checksum(body) != data[:CHECKSUM_LENGTH]:
            raise ValueError("it was not copied whole")
        token = from_bytes(body, Token)
        if len(token.secret) != 32:
            raise ValueError("it was not copied whole")
    except (ValueError, binascii.Error, msgspec.ValidationError, cbor2.CBORDecodeError) as problem:
        raise InvalidArgument(
            f"this is no join token: {problem}", next_step="ask for a new one: controlplane node invite"
        ) from None
    return token


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:CHECKSUM_LENGTH]


def void() -> UnknownKey:
    """Return what to say when nobody knows the key of a token."""
    return UnknownKey(
        "the token is void: it was used, it is too old, or it was taken back", next_step="ask for another one"
    )
