import pytest

from risedb.config import LoadConfig
from risedb.featurize import load_model


@pytest.fixture(scope="session")
def model():
    return load_model("demo", LoadConfig(dtype="float32"))  # what is compared comes from other batches


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.rise"
