"""What a scan allocates, watched from outside, on an index larger than what it may."""

import numpy as np
import pytest

from benchmarks.memory import watched
from risedb.config import Identity, ReadoutConfig, SketchConfig, StoreConfig
from risedb.signature import Signatures
from risedb.storage import NewRows, Store

SKETCH = SketchConfig.parse("base")
ROWS, LIMIT_MIB = 1_200, 16


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Give an index of 22 MiB, and 20 queries."""
    folder = tmp_path_factory.mktemp("memory")
    rng = np.random.default_rng(0)
    phi = rng.standard_normal((ROWS, SKETCH.rh_dim + SKETCH.gh_dim), np.float32)
    names = [str(i) for i in range(ROWS)]
    signatures = Signatures.from_phi(names, phi[:, : SKETCH.rh_dim], phi[:, SKETCH.rh_dim :])
    identity = Identity(readout=ReadoutConfig(), sketch=SKETCH, model="none", tokenizer="none")
    store = Store.create(folder / "pool.rise", identity, {}, StoreConfig(chunk_bytes=2**21))
    store.lock()
    store.append(NewRows(signatures, [bytes(16)] * ROWS, [{} for _ in names]))
    store.seal()
    assert len(store.snapshot().segments) == 1
    store.close()
    parts = {name: getattr(signatures, name)[:20] for name in ("rh", "gh", "norms")}
    np.savez(folder / "queries.npz", **parts)
    return folder


@pytest.mark.parametrize("more", [["--batch", "20"], ["--center"]], ids=" ".join)
def test_a_scan_stays_within_its_memory(pool, more):
    seen = watched(pool / "pool.rise", pool / "queries.npz", "--memory", f"{LIMIT_MIB}MiB", "--repeat", "5", *more)
    assert seen["before_MiB"] > 10
    assert seen["rise_MiB"] <= LIMIT_MIB
