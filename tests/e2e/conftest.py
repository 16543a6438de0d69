import pytest
import pytest_twisted

from tests.e2e.installation import Installation, running
from tests.e2e.upstream import installed_crossbar


@pytest_twisted.async_yield_fixture(scope="module")
async def installation(tmp_path_factory):
    """Router, master and two agents, for the tests of one module."""
    async with running(Installation(tmp_path_factory.mktemp("plane"))) as made:
        yield made


@pytest.fixture(scope="session")
def crossbar():
    """The program of Crossbar.io as it comes from PyPI, for tests of its unmodified edge nodes and its shell."""
    found = installed_crossbar()
    if isinstance(found, str):
        pytest.skip(found)
    assert not list(found.parents[1].glob("lib/python*/site-packages/*controlplane*"))
    return found


@pytest.fixture(scope="session", autouse=True)
def _quiet():
    from controlplane.quiet import leave_out_bjdata

    leave_out_bjdata()
