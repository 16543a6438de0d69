"""What must not be read later: secrets in what is written down are replaced by stars."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MASK = "***"
SECRET_WORDS = (
    "secret",
    "password",
    "passwd",
    "passphrase",
    "ticket",
    "token",
    "private",
    "privkey",
    "credential",
    "seed",
    "salt",
    "stored-key",
    "server-key",
    "api_key",
    "apikey",
    "cookie",
)
"""What stands under a name with one of these words in it is a secret, unless it is an object with names of its own."""

SECRET_OBJECTS = ("env", "files", "parameters")
"""Of objects under these names everything is a secret: nobody knows what the variables of an environment are for, or
what stands in the commands that workers are told to run."""

IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
DEPTH_MAX = 40
TEXT_LENGTH_MAX = 2_000


def masked(value: Any, depth: int = 0) -> Any:
    """Return a value without the secrets in it, and without what is too long to be sent."""
    if isinstance(value, dict | Mapping):  # Nearly all are, and `Mapping` alone takes ten times as long to say so.
        if depth >= DEPTH_MAX:
            return MASK
        return {key: _member(str(key), part, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [masked(part, depth + 1) for part in value] if depth < DEPTH_MAX else MASK
    if isinstance(value, str):
        text = IN_URL.sub(MASK, value)
        return text if len(text) <= TEXT_LENGTH_MAX else text[:TEXT_LENGTH_MAX] + "..."
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return f"an integer of {value.bit_length()} bits"  # No serializer carries it.
    return value


def _member(name: str, value: Any, depth: int) -> Any:
    if name in SECRET_OBJECTS and isinstance(value, Mapping):
        return dict.fromkeys(value, MASK)
    if value is not None and not isinstance(value, Mapping) and _is_secret(name):
        return MASK
    return masked(value, depth)


@lru_cache(maxsize=4_096)
def _is_secret(name: str) -> bool:
    lower = name.lower()
    return any(word in lower for word in SECRET_WORDS)
