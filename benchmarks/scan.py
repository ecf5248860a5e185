"""The scan of a sealed index beside what else searches exactly, all in one run.

    python -m benchmarks.scan ../shared --preset compact --rows 1005000
    python -m benchmarks.scan --small            # make bench: the demo model, no shared data, under a minute

Signatures are those of real texts, tiled with noise to size (benchmarks/signatures.py), in an index on disk that is
read through its maps, page cache warm. The contenders take turns, so that what else the machine does falls on all;
medians are kept, with quartiles. RiseDB's ids are checked against a float64 ranking of everything, and the peers'
recall of it is reported. Keeps benchmarks/results/scan-<preset>-<rows>.json.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe
from benchmarks.memory import PARTS, watched
from benchmarks.peers import SLOW, cores, peers
from benchmarks.signatures import CACHE, of_python, of_text, tiled
from risedb.config import Identity, ReadoutConfig, ScoreConfig, SketchConfig, StoreConfig
from risedb.database.querying import Asking, Question
from risedb.database.where import Where
from risedb.signature import Signatures, widened
from risedb.storage import NewRows, Store
from risedb.storage.segment import Segment
from risedb.topk import Ranked
from risedb.topk.scores import QueryVectors, channel_weights

RESULTS = Path(__file__).parent / "results"
K = 100
BATCHES = (1, 8, 100)
PAUSE = 0.2  # seconds, in which the threads of whoever came before stop waiting for more
SCORE = ScoreConfig()


def build(path: Path, preset: str, parts: Any) -> None:
    """Write an index of signatures without documents."""
    identity = Identity(readout=ReadoutConfig(), sketch=SketchConfig.parse(preset), model="none", tokenizer="none")
    store = Store.create(path, identity, {}, StoreConfig(seal_bytes=256 * 2**20))
    store.lock()
    for part in parts:
        store.append(NewRows(part, [bytes(16)] * len(part), [{"id": name} for name in part.ids]))
    store.seal()
    store.close()


class Index:
    """An open index, asked for the ids of the k best."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self.asking = Asking(self.store.config)

    def rank(self, queries: Signatures, memory_bytes: int = 2**28) -> list[Ranked]:
        """Return the k best for each query."""
        question = Question(queries=queries, where=Where(), score=SCORE, memory_bytes=memory_bytes)
        return self.asking.rank(self.store.snapshot(), question, K, bottom=False)


def some(queries: Signatures, count: int) -> Signatures:
    part = slice(count)
    return Signatures(queries.ids[part], queries.rh[part], queries.gh[part], queries.norms[part])


def fused_rows(index: Index) -> np.ndarray:
    """Return the pool as its peers want it: (n, D) float32 of unit length."""
    snapshot = index.store.snapshot()
    parts = []
    for block in snapshot.blocks():
        block.check(None)
        weights = channel_weights(block.norms, SCORE).astype(np.float32)
        parts.append(np.concatenate([widened(block.rh) * weights[:, :1], widened(block.gh) * weights[:, 1:]], axis=1))
    return np.concatenate(parts)


def float64_answer(index: Index, vectors: QueryVectors) -> tuple[np.ndarray, np.ndarray]:
    """Rank everything in float64 by matrix products of the stored rows: (m, k) ids and scores."""
    ids = np.empty((len(vectors), 0), np.int64)
    scores = np.empty((len(vectors), 0))
    start = 0
    for block in index.store.snapshot().blocks():
        for at in range(0, len(block), 8192):
            part = block.part(slice(at, at + 8192))
            weights = channel_weights(part.norms, SCORE)
            new = vectors.rh @ (part.rh.astype(np.float64) * weights[:, :1]).T
            new += vectors.gh @ (part.gh.astype(np.float64) * weights[:, 1:]).T
            numbers = np.broadcast_to(np.arange(start, start + len(part)), new.shape)
            scores, ids = np.concatenate([scores, new], axis=1), np.concatenate([ids, numbers], axis=1)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
            scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
            start += len(part)
    return ids, scores


def is_exact(ranked: list[Ranked], sequences: np.ndarray, truth: tuple[np.ndarray, np.ndarray]) -> bool:
    """Compare with the float64 answer; two rows within its rounding may stand either way round."""
    for one, ids, scores in zip(ranked, *truth, strict=True):
        differ = one.sequence != sequences[ids]
        if np.abs(one.scores - scores).max() > 1e-12 or (differ & (np.abs(one.scores - scores) > 1e-14)).any():
            return False
    return True


def milliseconds(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Time all in turns; a slow one only in the first."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name, run in contenders.items():
            if turn and name in SLOW:
                continue
            sleep(PAUSE)
            begin = perf_counter()
            run()
            times[name].append(1000 * (perf_counter() - begin))
    return {
        name: dict(zip(("median", "low", "high"), np.percentile(each, [50, 25, 75]).round(2).tolist(), strict=True))
        for name, each in times.items()
    }


def read_codes(index: Index, pool: ThreadPoolExecutor) -> Callable[[], Any]:
    """Return what reads all codes once, by all cores: the floor under a scan."""
    words = []
    for block in index.store.snapshot().blocks():
        flat = np.ascontiguousarray(block.codes).reshape(-1)
        words += np.array_split(flat[: len(flat) // 8 * 8].view(np.int64), cores())
    return lambda: list(pool.map(np.sum, words))


def opening(path: Path, queries: Signatures, warm: float, *, cold: bool) -> dict[str, float]:
    """Time an index's opening and first query; what is beyond a warm scan is the overhead."""
    Segment._maps.clear()
    if cold:
        for file in path.rglob("*"):
            if file.is_file():
                with file.open("rb") as data:
                    os.posix_fadvise(data.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begin = perf_counter()
    index = Index(path)
    opened = perf_counter()
    index.rank(queries)
    first = 1000 * (perf_counter() - opened)
    index.store.close()
    opened_ms = 1000 * (opened - begin)
    return {"open": round(opened_ms, 2), "first_query": round(first, 2), "overhead": round(opened_ms + first - warm, 2)}


def measure(path: Path, queries: Signatures, chosen: str, rounds: int) -> dict[str, Any]:
    index = Index(path)
    rows = index.store.snapshot().rows
    vectors = QueryVectors.of(queries, SCORE)
    fused_queries = np.concatenate([vectors.rh, vectors.gh], axis=1).astype(np.float32)
    kept = path.with_name("queries.npz")
    np.savez(kept, **{part: getattr(queries, part) for part in PARTS})
    for batch in BATCHES:
        index.rank(some(queries, batch))  # maps, checks, compiles
    sequences = np.concatenate([block.sequence for block in index.store.snapshot().blocks()])
    truth = float64_answer(index, vectors)
    result: dict[str, Any] = {
        "rows": rows,
        "numbers_a_row": fused_queries.shape[1],
        "k": K,
        "ids_equal_float64": is_exact(index.rank(queries), sequences, truth),
        "pool_MiB": round(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20),
        "anonymous_memory_of_a_fresh_process": {
            " ".join(options): watched(path, kept, *options)
            for options in (
                ["--memory", "64MiB", "--batch", "1"],
                ["--memory", "64MiB", "--batch", "100", "--torch"],
                ["--memory", "64MiB", "--batch", "1", "--center"],
                ["--memory", "256MiB", "--batch", "100", "--torch"],
            )
        },
        "milliseconds": {},
        "recall": {},
    }
    fused = fused_rows(index) if chosen != "none" else np.empty((0, 0))
    searches = dict(peers(fused, chosen)) if chosen != "none" else {}
    for name, search in searches.items():
        count = 8 if name in SLOW else len(queries)
        found = search(fused_queries[:count], K)
        same = [len(np.intersect1d(a, b)) / K for a, b in zip(found, truth[0], strict=False)]
        result["recall"][name] = round(float(np.mean(same)), 4)
    with ThreadPoolExecutor(cores()) as pool:
        floor = read_codes(index, pool)
        for batch in BATCHES:
            contenders: dict[str, Callable[[], Any]] = {"risedb": partial(index.rank, some(queries, batch))}
            if batch == 1:
                contenders["reading the codes once"] = floor
            contenders |= {
                name: partial(search, fused_queries[:batch], K)
                for name, search in searches.items()
                if batch <= 8 or name not in SLOW
            }
            result["milliseconds"][f"batch {batch}"] = milliseconds(contenders, rounds if batch > 1 else 5 * rounds)
    warm = result["milliseconds"]["batch 1"]["risedb"]["median"]
    index.store.close()
    first = some(queries, 1)
    result["opening_milliseconds"] = {
        "warm page cache": [opening(path, first, warm, cold=False) for _ in range(3)],
        "cold page cache": opening(path, first, warm, cold=True),
    }
    result["ratios"] = {
        batch: {name: round(each["median"] / times["risedb"]["median"], 2) for name, each in times.items()}
        for batch, times in result["milliseconds"].items()
    }
    return result


def summary(result: dict[str, Any]) -> str:
    """Say in a few lines what was measured."""
    lines = [f"{result['rows']:,} x {result['numbers_a_row']}, top-{result['k']}; median milliseconds"]
    for batch, times in result["milliseconds"].items():
        lines.append(f"  {batch}: " + ", ".join(f"{name} {each['median']:g}" for name, each in times.items()))
    opening = result["opening_milliseconds"]
    lines.append(f"  first query beyond a later one: {median(one['overhead'] for one in opening['warm page cache']):g}")
    lines.append(f"  the same, nothing in the page cache: {opening['cold page cache']['overhead']:g}")
    for options, seen in result["anonymous_memory_of_a_fresh_process"].items():
        lines.append(f"  MiB allocated by {options}: {seen['rise_MiB']:g}")
    lines.append(
        f"  ids are those of a float64 ranking of everything: {'yes' if result['ids_equal_float64'] else 'NO'}"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, nargs="?", help="folder with data and models/tiny-neox")
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--rows", type=int, default=1_005_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", choices=["all", "faiss", "none"], default="all")
    parser.add_argument("--small", action="store_true", help="20,000 rows of this Python's documentation")
    choices = parser.parse_args()
    rows = 20_000 if choices.small else choices.rows
    if not choices.small and choices.shared is None:
        parser.error("the folder with data and models is missing; or use --small")
    torch.set_num_threads(cores())
    texts, queries = of_python(choices.preset) if choices.small else of_text(choices.shared, choices.preset)
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        path = Path(folder, "pool.rise")
        begin = perf_counter()
        build(path, choices.preset, tiled(texts, rows))
        result = {"machine": describe(), "preset": choices.preset, "build_seconds": round(perf_counter() - begin, 1)}
        result |= measure(path, queries, choices.peers, choices.rounds)
    if not choices.small:
        (RESULTS / f"scan-{choices.preset}-{rows}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(summary(result))


if __name__ == "__main__":
    main()
