import pytest

from tests.drivers.engines import NoEngine, start_engine


@pytest.fixture(scope="session")
def engine():
    """A container engine; where none can run, the tests that need it are skipped, with the reason."""
    try:
        made = start_engine()
    except NoEngine as problem:
        pytest.skip(f"no container engine: {problem}")
    yield made
    made.end()
