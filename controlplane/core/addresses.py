"""Addresses of this machine alone."""

import ipaddress


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
