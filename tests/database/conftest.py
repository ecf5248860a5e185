import pytest

from risedb.featurize import load_model


@pytest.fixture(scope="session")
def model():
    return load_model("demo")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.rise"
