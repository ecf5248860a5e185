import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder for the many examples of a property, which write their file anew each time."""
    return tmp_path_factory.mktemp("corpus")
