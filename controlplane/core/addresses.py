"""Addresses of this machine alone."""

import ipaddress
from functools import lru_cache

DEFAULT_ADDRESSES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_default(address: str) -> bool:
    """Say whether an address is what every machine calls itself, so that another one cannot mean it."""
    return address.lower() in DEFAULT_ADDRESSES


@lru_cache(maxsize=32_768)
def is_loopback(address: str) -> bool:
    """Say whether only this machine can reach the address; a host name is not looked up."""
    if address.lower() == "localhost":
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
