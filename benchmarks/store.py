"""Add documents one at a time, each durable when the call returns, beside what the disk alone needs for it.

    python -m benchmarks.store

100,000 adds of one `compact` signature with a short record. The floor is LMDB committing 100 bytes on the same disk: no
durable add that LMDB commits can be faster. Then the same rows are scanned where they wait in the tail and where they
lie in a segment. Two minutes; keeps benchmarks/results/store.json.
"""

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter

import lmdb
import numpy as np

from benchmarks.machine import describe
from risedb.config import Identity, ReadoutConfig, ScoreConfig, SketchConfig, StoreConfig
from risedb.signature import Signatures
from risedb.storage import NewRows, Store
from risedb.topk import QueryVectors, scan

RESULT = Path(__file__).parent / "results" / "store.json"
SKETCH = SketchConfig.parse("compact")
TAIL_ROWS, REPEATS = 40_000, 15


def signatures(count: int) -> Signatures:
    rng = np.random.default_rng(0)
    phi = (rng.normal(size=(count, width)).astype(np.float32) for width in (SKETCH.rh_dim, SKETCH.gh_dim))
    return Signatures.from_phi([str(i) for i in range(count)], *phi)


def part(whole: Signatures, rows: slice, first: int) -> NewRows:
    some = Signatures(
        tuple(f"doc-{first + i}" for i in range(len(whole.rh[rows]))),
        whole.rh[rows], whole.gh[rows], whole.norms[rows],
    )  # fmt: skip
    records = [{"id": name, "text": "a short document " * 10, "source": "c4"} for name in some.ids]
    return NewRows(some, [name.encode().ljust(16)[:16] for name in some.ids], records)


def milliseconds(times: list[float]) -> dict[str, float]:
    return {
        "median": float(np.median(times)) * 1e3,
        "p99": float(np.percentile(times, 99)) * 1e3,
        "maximum": max(times) * 1e3,
        "mean": float(np.mean(times)) * 1e3,
    }


def floor(folder: Path, count: int) -> list[float]:
    """Time commits of 100 bytes."""
    environment = lmdb.open(str(folder), map_size=2**28)
    times = []
    for i in range(count):
        start = perf_counter()
        with environment.begin(write=True) as transaction:
            transaction.put(i.to_bytes(8), bytes(100))
        times.append(perf_counter() - start)
    environment.close()
    return times


def single_adds(folder: Path, count: int) -> dict[str, object]:
    whole = signatures(1000)
    identity = Identity(readout=ReadoutConfig(), sketch=SKETCH, model="-", tokenizer="-")
    store = Store.create(folder, identity, {}, StoreConfig())
    store.lock()
    times = []
    for i in range(count):
        rows = part(whole, slice(i % 1000, i % 1000 + 1), i)
        start = perf_counter()
        store.append(rows)
        times.append(perf_counter() - start)
    snapshot = store.snapshot()
    result = {
        "adds": count,
        "milliseconds": milliseconds(times),
        "segments": len(snapshot.segments),
        "files": sum(1 for file in folder.rglob("*") if file.is_file()),
        "tail_rows": snapshot.tail_rows,
        "tail_blocks": len(snapshot.tail),
    }
    store.close()
    return result


def tail_against_segment(folder: Path) -> dict[str, float]:
    """Scan the same rows where they wait and where they lie; medians, in milliseconds."""
    whole = signatures(TAIL_ROWS)
    identity = Identity(readout=ReadoutConfig(), sketch=SKETCH, model="-", tokenizer="-")
    store = Store.create(folder, identity, {}, StoreConfig(seal_bytes=2**30))
    store.lock()
    for start in range(0, TAIL_ROWS, 100):
        store.append(part(whole, slice(start, start + 100), start))
    score = ScoreConfig()
    queries = QueryVectors.of(part(whole, slice(7, 8), 7).signatures, score)
    result = {}
    for where in ("tail", "segment"):
        times, snapshot = [], store.snapshot()
        for _ in range(REPEATS + 1):
            start = perf_counter()
            scan(snapshot.blocks(), queries, score, k=100)
            times.append(perf_counter() - start)
        result[where] = float(np.median(times[1:])) * 1e3
        store.seal()
    store.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adds", type=int, default=100_000)
    count = parser.parse_args().adds
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        result = {
            "machine": describe(),
            "lmdb_commit_of_100_bytes_milliseconds": milliseconds(floor(Path(folder) / "lmdb", min(count, 2000))),
            "single_adds": single_adds(Path(folder) / "pool.rise", count),
            "scan_of_40000_rows_milliseconds": tail_against_segment(Path(folder) / "tail.rise"),
        }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
