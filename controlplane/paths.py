"""Places on the machine: short directories for unix sockets, what makes a machine one, and the files we ship."""

import hashlib
import os
import shutil
import socket
import stat
import sys
from pathlib import Path
from uuid import uuid4

from controlplane.errors import InvalidConfiguration

SOCKET_PATH_BYTES_MAX = 107
"""What fits into a unix socket's address on Linux, without the zero at its end."""

SOCKET_NAME_BYTES = 24
"""Room that a socket's own name takes in its directory."""


def short_directory(directory: Path) -> Path:
    """Return a directory for unix sockets: this one when its path is short enough, else one that belongs to it.

    It exists and is for its owner only: Crossbar.io makes its sockets accessible to everybody.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    resolved = directory.resolve()
    if len(os.fsencode(resolved)) + 1 + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES_MAX:
        os.chmod(resolved, 0o700)
        return resolved
    return _own(_runtime_directory() / hashlib.sha256(os.fsencode(resolved)).hexdigest()[:16])


def machine_identity() -> str:
    """Return what two agents have in common that can reach each other's unix sockets: machine, boot, user, files."""
    marker = _runtime_directory() / "machine"
    try:
        with open(marker, "x") as file:
            file.write(uuid4().hex)
    except FileExistsError:
        pass
    parts = (marker.read_text(), Path("/proc/sys/kernel/random/boot_id").read_text().strip(), str(os.getuid()))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def crossbar_config(name: str) -> Path:
    """Return a configuration of the router that is shipped with the program."""
    return _shipped("crossbar-config", name)


def contract_file(name: str) -> Path:
    """Return a part of the published contract."""
    return _shipped("schema", name)


def _shipped(folder: str, name: str) -> Path:
    beside = Path(__file__).resolve().parent.parent / folder / name
    installed = Path(sys.prefix) / "share" / "controlplane" / folder / name
    for path in (beside, installed):
        if path.exists():
            return path
    raise InvalidConfiguration(f"{folder}/{name} is not installed", next_step="install the package again")


def _runtime_directory() -> Path:
    return _own(Path(f"/tmp/controlplane-{os.getuid()}"))


def _own(directory: Path) -> Path:
    """Make sure that a directory is ours alone; one that somebody else made in our place is refused."""
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InvalidConfiguration(f"{directory} belongs to somebody else", next_step="remove it")
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.chmod(directory, 0o700)
    return directory


def crossbar_executable() -> str:
    """Return the crossbar command: what the environment names, else the one beside our Python, else one in the path."""
    named = os.environ.get("CONTROLPLANE_CROSSBAR")
    beside = Path(sys.executable).parent / "crossbar"
    found = named or (str(beside) if beside.exists() else shutil.which("crossbar"))
    if not found:
        raise InvalidConfiguration(
            "the program crossbar is not installed",
            next_step="install controlplane[router], or name it in CONTROLPLANE_CROSSBAR",
        )
    return found


def free_port(preferred: int) -> int:
    """Return a loopback TCP port that nobody listens on: this one if possible."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise InvalidConfiguration("there is no free port", next_step="end programs that listen")
