"""The certificate of the router: made by an authority of our own, renewed before it ends, and shown.

Agents and consoles know the router by the fingerprint of its key. The next key lies ready beside the present one, and
everybody is given both fingerprints: so a new key locks nobody out. The authority's key never leaves this directory.
"""

import hashlib
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from controlplane import certificates
from controlplane.certificates import Authority, Description, write_private
from controlplane.core.addresses import is_loopback
from controlplane.errors import InvalidArgument, InvalidConfiguration

LIFETIME = timedelta(days=398)
ALWAYS = ("localhost", "127.0.0.1", "::1")
"""Names that every certificate of ours is good for, so that tools on the master's machine can connect to it."""

ANY_ADDRESS = ("", "0.0.0.0", "::")


class Listening(NamedTuple):
    """Where the router listens for agents and consoles, and what they call it."""

    interface: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    """Names and addresses by which it is reached; the first is told to others."""

    tls: bool | None = None
    """Whether to speak TLS; None for where it is needed."""

    certificate: Path | None = None
    """A certificate, with its chain, that somebody else issues and renews; None for our own."""

    key: Path | None = None

    @property
    def is_protected(self) -> bool:
        """Whether the router speaks TLS."""
        return not is_loopback(self.interface) if self.tls is None else self.tls

    @property
    def host(self) -> str:
        """What others call the router."""
        if self.hosts:
            return self.hosts[0]
        return socket.getfqdn() if self.interface in ANY_ADDRESS else self.interface

    @property
    def local_host(self) -> str:
        """What tools on the master's own machine connect to."""
        if self.certificate is not None:
            return self.host
        return "127.0.0.1" if self.interface in ("", "0.0.0.0") else "::1" if self.interface == "::" else self.interface

    def check(self) -> None:
        """Refuse what would let others listen or step between; raises `InvalidArgument`."""
        if not self.is_protected and not is_loopback(self.interface):
            raise InvalidArgument(
                f"without TLS the router may listen on loopback only, not on {self.interface or 'all addresses'}",
                next_step="leave --no-tls out: a certificate is made, or name one with --certificate and --key",
            )
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgument("a certificate needs its key, and a key its certificate", next_step="give both")
        if self.certificate is not None and not self.hosts:
            raise InvalidArgument(
                "the certificate is for some host, and it was not said for which",
                next_step="name it with --host, as agents and consoles will call it",
            )
        if self.certificate is not None and self.key is not None:
            endpoint_tls(None, self.certificate, self.key)
        if self.interface not in ANY_ADDRESS:
            try:
                ipaddress.ip_address(self.interface)
            except ValueError:
                raise InvalidArgument(
                    f"{self.interface!r} is no address to listen on", next_step="give an IP address, or :: for all"
                ) from None


class RouterCertificates:
    """The directory with the authority, the key and the certificate of a master's router."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = directory / "ca.crt"
        self.certificate = directory / "router.crt"
        self.key = directory / "router.key"
        self._authority_key = directory / "ca.key"
        self._next_key = directory / "router-next.key"
        self._known: tuple[tuple[int, ...], tuple[str, str]] | None = None

    @property
    def exist(self) -> bool:
        """Whether there is a certificate of our own."""
        return self.certificate.exists()

    def ensure(self, names: Iterable[str], now: datetime) -> None:
        """Make what is missing; the certificate is issued anew when it lacks a name or is due."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._authority_key.exists():
            made = certificates.make_authority(f"controlplane of {socket.gethostname()}", now)
            write_private(self.authority, made.certificate)
            write_private(self._authority_key, made.key)
        for key in (self.key, self._next_key):
            if not key.exists():
                write_private(key, certificates.make_key())
        wanted = tuple(dict.fromkeys((*names, *ALWAYS)))
        if self.exist:
            found = self.describe()
            if set(wanted) <= set(found.names) and not self._is_due(found, now):
                return
            wanted = tuple(dict.fromkeys((*wanted, *found.names)))
        self._issue(wanted, now)

    def renew(self, now: datetime, *, new_key: bool = False) -> None:
        """Issue the certificate anew, for the same names; with `new_key` for the key that lies ready."""
        names = self.describe().names
        if new_key:
            os.replace(self._next_key, self.key)
            write_private(self._next_key, certificates.make_key())
        self._issue(names, now)

    def renew_if_due(self, now: datetime) -> bool:
        """Renew the certificate when a third of its life is left or less, and say whether that was so."""
        if not self._is_due(self.describe(), now):
            return False
        self._issue(self.describe().names, now)
        return True

    def describe(self) -> Description:
        """Return what the certificate says; raises `InvalidConfiguration`."""
        return certificates.read_certificate(self.certificate)

    def fingerprints(self) -> tuple[str, str]:
        """Return the fingerprints of the present key and of the next: what a join token or a profile carries."""
        present, after = (certificates.key_fingerprint(key.read_bytes()) for key in (self.key, self._next_key))
        return present, after

    def known_by(self) -> tuple[str, ...]:
        """Return the fingerprints as `fingerprints` does, or nothing where there is no certificate of our own.

        Every agent asks when it attaches, so files are read again only when they were replaced.
        """
        try:
            written = tuple(key.stat().st_mtime_ns for key in (self.key, self._next_key))
        except FileNotFoundError:
            return ()
        if self._known is None or self._known[0] != written:
            self._known = (written, self.fingerprints())
        return self._known[1]

    def _is_due(self, found: Description, now: datetime) -> bool:
        return found.is_due(now) or found.fingerprint != certificates.key_fingerprint(self.key.read_bytes())

    def _issue(self, names: tuple[str, ...], now: datetime) -> None:
        authority = Authority(self._authority_key.read_bytes(), self.authority.read_bytes())
        public = certificates.public_half(self.key.read_bytes())
        issued = certificates.issue(authority, public, names, certificates.SERVER, now, LIFETIME)
        write_private(self.certificate, issued)


def endpoint_tls(directory: Path | None, certificate: Path, key: Path) -> dict[str, Any]:
    """Return what Crossbar.io needs to serve a certificate with its chain, which it wants in files of their own.

    They are written to the directory; without one it is only seen that certificate and key can be used.
    """
    found = certificates.read_certificate(certificate)
    text = certificate.read_bytes()
    try:
        belongs = certificates.key_fingerprint(key.read_bytes()) == found.fingerprint
    except (OSError, ValueError, TypeError) as problem:
        raise InvalidConfiguration(
            f"there is no key in {key}: {problem}", next_step="name a private key in PEM format, without a password"
        ) from problem
    if not belongs:
        raise InvalidConfiguration(f"the key in {key} is not that of {certificate}", next_step="name its own key")
    served: dict[str, Any] = {"key": str(key), "certificate": str(certificate)}
    chain = certificates.split_chain(text)[1:]
    if chain and directory is not None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        served["chain_certificates"] = []
        for number, each in enumerate(chain):
            path = directory / f"chain{number}.crt"
            write_private(path, each)
            served["chain_certificates"].append(str(path))
    return served


def served_files(config: Mapping[str, Any]) -> str:
    """Return a digest of the keys and certificates that a router with this configuration serves; "" without any."""
    digest = hashlib.sha256()
    files = [
        name
        for transport in config["workers"][0]["transports"]
        for kind in ("key", "certificate")
        if (name := transport["endpoint"].get("tls", {}).get(kind))
    ]
    for file in files:
        digest.update(Path(file).read_bytes())
    return digest.hexdigest() if files else ""


def refuse_open_listeners(config: Mapping[str, Any]) -> None:
    """Refuse a router's configuration that listens beyond this machine without TLS, or lets anybody in there.

    Raises `InvalidConfiguration`. The file may have been changed since `init` wrote it.
    """
    for transport in config["workers"][0]["transports"]:
        endpoint = transport["endpoint"]
        if endpoint["type"] == "unix":
            continue
        interface = endpoint.get("interface", "")
        if endpoint["type"] == "tcp" and is_loopback(interface):
            continue
        where = f"the transport {transport.get('id')!r} of the router, on {interface or 'all addresses'},"
        if "tls" not in endpoint:
            raise InvalidConfiguration(
                f"{where} has no TLS", next_step="run 'controlplane init' again with --listen, or listen on loopback"
            )
        if _admits_anybody(transport):
            raise InvalidConfiguration(
                f"{where} lets anybody in", next_step="take the method 'anonymous' out of it, or listen on loopback"
            )


def _admits_anybody(part: Any) -> bool:
    """Say whether some part of a transport has no authentication, or admits without it."""
    if isinstance(part, list | tuple):
        return any(_admits_anybody(each) for each in part)
    if not isinstance(part, dict):
        return False
    if part.get("type") in ("websocket", "rawsocket") and not part.get("auth"):
        return True
    return any(key in ("anonymous", "anonymous-proxy") or _admits_anybody(value) for key, value in part.items())
