"""Real stores of random rows."""

import numpy as np

from risedb.config import Identity, ReadoutConfig, SketchConfig, StoreConfig
from risedb.signature import Signatures
from risedb.storage import NewRows, Store

SKETCH = SketchConfig(kr=4, kh=3, kg=5)
IDENTITY = Identity(readout=ReadoutConfig(), sketch=SKETCH, model="model", tokenizer="tokenizer")


def new_store(path, **config):
    return Store.create(path, IDENTITY, {"model": "demo"}, StoreConfig(**config))


def new_rows(ids, seed=0, version=0):
    rng = np.random.default_rng([seed, version, *(sum(name.encode()) for name in ids)])
    signatures = Signatures.from_phi(
        ids, rng.normal(size=(len(ids), SKETCH.rh_dim)), rng.normal(size=(len(ids), SKETCH.gh_dim))
    )
    hashes = [bytes([version % 256]) * 16 for _ in ids]
    return NewRows(signatures, hashes, [{"id": name, "version": version} for name in ids])


def contents(store):
    """Return what a reader sees: id to (rh, gh, norms, record), and the order of insertion."""
    seen, order = {}, []
    for block in store.snapshot().blocks():
        block.check(None)
        live = np.flatnonzero(block.live)
        records = store.records(block.sequence[live].tolist())
        for row, (name, record) in zip(live, records, strict=True):
            assert name not in seen, "an id has one live row"
            seen[name] = (
                block.rh[row].tolist(),
                block.gh[row].tolist(),
                block.norms[row].tolist(),
                record,
            )
            order.append(name)
    return seen, order


def expected(rows, dtype="float16"):
    """Return what should be seen of rows after they were committed."""
    s = rows.signatures
    return {
        name: (
            s.rh[i].astype(dtype).tolist(),
            s.gh[i].astype(dtype).tolist(),
            s.norms[i].tolist(),
            rows.records[i],
        )
        for i, name in enumerate(s.ids)
    }
