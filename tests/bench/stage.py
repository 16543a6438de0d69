"""What benchmarks on real parts stand on: an installation, and processes beside it, all ended when it is over."""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.e2e.installation import Installation


@asynccontextmanager
async def installed(nodes: int = 0) -> AsyncIterator[Installation]:
    """Router, master and so many agents for as long as a benchmark takes."""
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder), nodes)
        try:
            await installation.start()
            yield installation
        finally:
            installation.stop()


async def quiet_admin(installation: Installation):
    """A session of the administrator that hears no events: those of what it changes are no part of a call."""
    installation.admin.leave()
    installation.admin = await installation.join()
    return installation.admin


@contextmanager
def process(module: str, *arguments: str) -> Iterator[subprocess.Popen]:
    """A Python process beside the installation; it has written a line when it is ready."""
    child = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.wait()


def echo(installation: Installation):
    """The procedure that returns its argument, through the same router."""
    state = installation.children.state
    return process("tests.bench.echo", f"unix:{state.master_socket}", str(state.master_key))


def directory(installation: Installation, name: str) -> Path:
    """A directory that nobody has used before."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=installation.directory))
