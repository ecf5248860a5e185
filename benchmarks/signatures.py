"""Signatures with the statistics of real ones, at any size: what the scan's benchmark ranks.

A few thousand texts go through the featurizer with a small trained model. A larger pool repeats their signatures, each
copy moved by noise of a length drawn for the row, so that every row is distinct, near-duplicates exist, and norms,
spectrum and the spread of scores stay those of text; white noise has none of them.
"""

import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.texts import text_of
from risedb.config import LoadConfig, ReadoutConfig, SketchConfig
from risedb.corpus import Fields, Row, read, read_python_docs
from risedb.database.signing import sign
from risedb.featurize import Featurizer, load_model
from risedb.signature import Signatures

CACHE = Path(tempfile.gettempdir()) / "risedb-benchmarks"
SOURCES = {"howdy/pool": 1200, "distractors/books_cc0": 900, "distractors/techspecs": 900}
NOISE = (0.1, 0.6)  # a copy's distance from its text's unit row: from a near-duplicate to a neighbour
TILE = 16_384
PARTS = ("rh", "gh", "norms")


def of_text(shared: Path, preset: str) -> tuple[Signatures, Signatures]:
    """Return signatures of 3,000 texts and of howdy's 100 queries, by tiny-neox."""

    def texts(sources: dict[str, int]) -> list[str]:
        return [
            text_of(row.values)
            for source, count in sources.items()
            for row in islice(read(shared / "data" / f"{source}.jsonl.zst"), count)
            if isinstance(row, Row)
        ]

    model = str(shared / "models" / "tiny-neox")
    return _kept(f"text-{preset}", preset, model, lambda: (texts(SOURCES), texts({"howdy/queries": 100})))


def of_python(preset: str) -> tuple[Signatures, Signatures]:
    """Return signatures of 500 passages of this Python's documentation and of 100 more, by the demo model."""

    def texts() -> tuple[list[str], list[str]]:
        passages = [row.values["text"] for row in islice(read_python_docs(), 600)]
        return passages[:500], passages[500:]

    return _kept(f"python-{preset}", preset, "demo", texts)


def _kept(
    name: str, preset: str, model: str, texts: Callable[[], tuple[list[str], list[str]]]
) -> tuple[Signatures, Signatures]:
    """Compute the signatures of a pool and of queries once, and keep them in the temporary folder."""
    kept = CACHE / f"{name}.npz"
    if not kept.exists():
        CACHE.mkdir(exist_ok=True)
        featurizer = Featurizer(
            load_model(model, LoadConfig(dtype="float32", device="cpu")),
            ReadoutConfig(seq_len=128),
            SketchConfig.parse(preset),
        )
        pool, queries = (sign(some, lambda: featurizer, Fields()) for some in texts())
        arrays = {
            f"{which}_{part}": getattr(each, part)
            for which, each in (("pool", pool), ("queries", queries))
            for part in PARTS
        }
        np.savez(kept, **arrays)
    with np.load(kept) as arrays:
        channels = [[arrays[f"{which}_{part}"] for part in PARTS] for which in ("pool", "queries")]
    pool, queries = (Signatures(tuple(map(str, range(len(each[0])))), *each) for each in channels)
    return pool, queries


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
