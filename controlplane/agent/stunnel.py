"""The program that carries connections to workers on other machines: where it is, and what it is told.

stunnel 5 speaks TLS 1.3 between two unix sockets, asks both ends for certificates of one authority, admits the one name
that it is told, and takes new certificates and lists of revocations on SIGHUP without ending a connection.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from controlplane.records.tunnels import Tunnel, TunnelLine

EXECUTABLE_VARIABLE = "CONTROLPLANE_STUNNEL"
ASK_LIMIT_S = 10.0
MINOR_VERSION_MIN = 60
"""5.60 is the first that can be told not to resume sessions."""

HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}")
AUTHORITY, REVOCATIONS, CERTIFICATE, KEY = "ca.pem", "revocations.pem", "certificate.pem", "key.pem"

GLOBAL = """\
foreground = yes
pid =
syslog = no
debug = warning
"""
COMMON = """\
verifyChain = yes
sslVersionMin = TLSv1.3
sessionResume = no
libwrap = no
TIMEOUTconnect = 10
TIMEOUTidle = 315360000
TIMEOUTclose = 0
"""
"""A resumed session would not be asked for its certificate again; an idle one is as good as any."""

KEEP_ALIVE = """\
socket = {side}:SO_KEEPALIVE=1
socket = {side}:TCP_KEEPIDLE=10
socket = {side}:TCP_KEEPINTVL=5
socket = {side}:TCP_KEEPCNT=3
"""
"""The other machine is noticed to be gone after 25 seconds, also when nothing is sent."""


class Stunnel(NamedTuple):
    """stunnel as it is installed."""

    path: str
    version: str


def find_stunnel() -> Stunnel | None:
    """Return the installed stunnel, or None when there is none, or too old a one; the environment may name another."""
    named = os.environ.get(EXECUTABLE_VARIABLE)
    candidates = [named] if named is not None else ["stunnel", "stunnel4", "/usr/sbin/stunnel"]
    found = next((path for each in candidates if (path := shutil.which(each))), None)
    if found is None:
        return None
    try:
        said = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=ASK_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"^stunnel (5\.(\d+))", said.stderr + said.stdout, re.MULTILINE)
    return Stunnel(found, version[1]) if version and int(version[2]) >= MINOR_VERSION_MIN else None


def configuration(tunnel: Tunnel, lines: Iterable[TunnelLine], directory: Path) -> str:
    """Return what stunnel is told about one end of a tunnel; all lines have ports."""
    files = f"CAfile = {directory / AUTHORITY}\nCRLfile = {directory / REVOCATIONS}\n"
    files += f"cert = {directory / CERTIFICATE}\nkey = {directory / KEY}\n"
    services = []
    for line in lines:
        network, socket = f"{line.host}:{line.port}", line.socket
        if tunnel.side == "front":
            ends = f"client = yes\naccept = {socket}\nconnect = {network}\n" + KEEP_ALIVE.format(side="r")
        else:
            ends = f"accept = {network}\nconnect = {socket}\nrequireCert = yes\n" + KEEP_ALIVE.format(side="a")
        services.append(f"[r{line.router_oid.hex[:12]}]\n{ends}checkHost = {tunnel.peer_name}\n{files}{COMMON}")
    return GLOBAL + "\n" + "\n".join(services)


def is_usable(line: TunnelLine, sockets: Path) -> bool:
    """Say whether a line leads from or to this node's own sockets, and to something that can be a host."""
    path = Path(line.socket)
    return path.parent == sockets and path.name.isprintable() and HOST.fullmatch(line.host) is not None
