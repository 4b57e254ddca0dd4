import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache():
    """In place of the tests': MNIST is where builds keep it."""
