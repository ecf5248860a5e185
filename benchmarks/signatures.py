"""Signatures with the statistics of real ones, at any size: what the scan's benchmark ranks.

A few thousand texts go through the featurizer with a small trained model. A larger pool repeats their signatures, each
copy moved by noise of a length drawn for the row, so that every row is distinct, near-duplicates exist, and norms,
spectrum and the spread of scores stay those of text; white noise has none of them.
"""

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from risedb.config import LoadConfig, ReadoutConfig, SketchConfig
from risedb.corpus import Fields, Row, read
from risedb.signature import Signatures

CACHE = Path(tempfile.gettempdir()) / "risedb-benchmarks"
SOURCES = {"howdy/pool": 1200, "distractors/books_cc0": 900, "distractors/techspecs": 900}
TEMPLATE = "### Instruction:\n{prompt}\n### Response:\n{completion}"
NOISE = (0.1, 0.6)  # a copy's distance from its text's unit row: from a near-duplicate to a neighbour
TILE = 16_384


def of_text(shared: Path, preset: str) -> tuple[Signatures, Signatures]:
    """Return signatures of 3,000 texts and of howdy's 100 queries, computed once and kept in the temporary folder."""
    kept = CACHE / f"{preset}.npz"
    if not kept.exists():
        CACHE.mkdir(exist_ok=True)
        np.savez(kept, **_featurize(shared, preset))
    with np.load(kept) as arrays:
        pool, queries = (
            Signatures(tuple(map(str, range(len(arrays[f"{name}_rh"])))), *(arrays[f"{name}_{part}"] for part in PARTS))
            for name in ("pool", "queries")
        )
    return pool, queries


PARTS = ("rh", "gh", "norms")


def _featurize(shared: Path, preset: str) -> dict[str, Any]:
    from risedb.database.signing import sign
    from risedb.featurize import Featurizer, load_model

    model = load_model(str(shared / "models" / "tiny-neox"), LoadConfig(dtype="float32", device="cpu"))
    featurizer = Featurizer(model, ReadoutConfig(seq_len=128), SketchConfig.parse(preset))
    arrays = {}
    for name, sources in (("pool", SOURCES), ("queries", {"howdy/queries": 100})):
        texts = [
            row.values.get("text") or TEMPLATE.format(**row.values)
            for source, count in sources.items()
            for row in islice(read(shared / "data" / f"{source}.jsonl.zst"), count)
            if isinstance(row, Row)
        ]
        signatures = sign(texts, featurizer, Fields())
        arrays |= {f"{name}_{part}": getattr(signatures, part) for part in PARTS}
    return arrays


def tiled(texts: Signatures, rows: int, seed: int = 0) -> Iterator[Signatures]:
    """Yield `rows` signatures in parts of 16,384, from the signatures of some texts."""
    for number, start in enumerate(range(0, rows, TILE)):
        rng = np.random.default_rng([seed, number])
        n = min(TILE, rows - start)
        copied = rng.integers(0, len(texts), n)
        distance = rng.uniform(*NOISE, n).astype(np.float32)[:, None]
        channels = []
        for units in (texts.rh, texts.gh):
            noise = rng.standard_normal((n, units.shape[1]), np.float32) / np.sqrt(np.float32(units.shape[1]))
            moved = units[copied] + distance * noise
            channels.append(moved / np.linalg.norm(moved, axis=1, keepdims=True))
        norms = texts.norms[copied] * rng.uniform(0.9, 1.1, (n, 2)).astype(np.float32)
        yield Signatures(tuple(map(str, range(start, start + n))), *channels, norms)
