import pytest
import pytest_twisted

from tests.e2e.installation import Installation, processes_of


@pytest_twisted.async_yield_fixture(scope="module")
async def installation(tmp_path_factory):
    """Router, master and two agents, for the tests of one module."""
    made = Installation(tmp_path_factory.mktemp("plane"))
    try:
        await made.start()
        yield made
    finally:
        made.stop()
        left = processes_of(made.directory)
        for process in left:
            process.kill()
        assert not left, f"left running: {left}"


@pytest.fixture(scope="session", autouse=True)
def _quiet():
    from controlplane.quiet import leave_out_bjdata

    leave_out_bjdata()
