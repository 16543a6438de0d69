"""Ed25519 keys in files: made once, read by their owner only, and used to log in by WAMP-cryptosign.

A key file holds the 32 bytes of the private seed as 64 hexadecimal digits.
"""

import os
from pathlib import Path

from autobahn.wamp.cryptosign import CryptosignKey

from controlplane.errors import InvalidConfiguration

KEY_HEX_LENGTH = 64

KEY_FILE = "agent.key"
"""In the directory of a node."""


def make_key(path: Path) -> CryptosignKey:
    """Write a new key to a file that must not exist, for its owner only, and return it."""
    seed = os.urandom(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(seed.hex() + "\n")
    return CryptosignKey.from_bytes(seed)


def read_key(path: Path) -> CryptosignKey:
    """Return the key in a file; raises `InvalidConfiguration` when there is none."""
    try:
        text = path.read_text().strip()
        seed = bytes.fromhex(text)
    except (OSError, ValueError) as problem:
        raise InvalidConfiguration(
            f"the key file {path} cannot be read: {problem}", next_step="make one with 'controlplane init'"
        ) from problem
    if len(text) != KEY_HEX_LENGTH:
        raise InvalidConfiguration(
            f"the key file {path} holds no key of {KEY_HEX_LENGTH} hex digits",
            next_step="make one with 'controlplane init'",
        )
    return CryptosignKey.from_bytes(seed)


def ensure_key(path: Path) -> CryptosignKey:
    """Return the key in a file, which is made when it is not there."""
    return read_key(path) if path.exists() else make_key(path)


def public_key(key: CryptosignKey) -> str:
    """Return the public key, as nodes are paired by it."""
    return str(key.public_key())
