"""The scan on a GPU: what stays there, what is streamed to it, and what memory and bus allow, all in one run.

    python -m benchmarks.scan_device ../shared                    # on a CUDA machine: 1,005,000 rows, compact
    python -m benchmarks.scan_device --small --device cpu         # that it runs, anywhere; its times mean nothing

Beside RiseDB stand a torch user's matrix product and topk over float16 rows that stay on the device. Ids are compared
with a float64 ranking of everything. Times of the device are by CUDA events, those of whole queries from host to host,
page cache warm. Keeps benchmarks/results/scan-device-<preset>-<rows>.json, on CUDA only.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.machine import describe
from benchmarks.scan import RESULTS, SCORE, K, build, float64_answer, fused_rows, is_exact, some
from benchmarks.scan import Index as ScannedIndex
from benchmarks.signatures import CACHE, of_python, of_text, tiled
from risedb.config import DeviceConfig
from risedb.database.querying import Asking
from risedb.signature import Signatures
from risedb.topk.lanes import Lane
from risedb.topk.proposing import Proposer
from risedb.topk.scores import QueryVectors

BATCHES = (1, 8, 100)
PAPER = "112 s for 100 queries on a pool of a million, a 32B model making the queries (arXiv:2604.16197v1, Table 35)"
COPIED = 2**28  # bytes, to measure what memory and bus allow
MEMORY = 2**28


class Index(ScannedIndex):
    """An index that is scanned on one device."""

    def __init__(self, path: Path, device: str, cache: Any) -> None:
        super().__init__(path)
        self.asking = Asking(self.store.config, DeviceConfig(devices=(device,), cache=cache))

    @property
    def lane(self) -> Lane:
        """The device, once something was asked."""
        (lanes,) = self.asking._lanes.values()
        return lanes.lanes[0]

    def close(self) -> None:
        """Let go of the index, and of what stays on the device."""
        self.store.close()
        self.asking._lanes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def seconds_on(device: torch.device, work: Callable[[], Any], rounds: int) -> float:
    """Return the median time that a device takes for some work, which is already there when it begins."""
    work()
    times = []
    for _ in range(rounds):
        if device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1000)
        else:
            start = perf_counter()
            work()
            times.append(perf_counter() - start)
    return statistics.median(times)


def seconds(work: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return median and extremes of the time from calling to having the answer."""
    work()
    times = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return {"median": statistics.median(times), "low": min(times), "high": max(times)}


def bandwidths(device: torch.device, rounds: int) -> dict[str, float]:
    """Measure bytes a second: a copy on the device (read and written), and from pinned memory to it."""
    here = torch.empty(COPIED, dtype=torch.uint8, pin_memory=device.type == "cuda").fill_(1)
    there, other = (torch.empty(COPIED, dtype=torch.uint8, device=device) for _ in range(2))
    copying = seconds_on(device, lambda: other.copy_(there), rounds)
    bringing = seconds_on(device, lambda: there.copy_(here, non_blocking=True), rounds)
    return {"device_copy": 2 * COPIED / copying, "host_to_device": COPIED / bringing}


def proposing(index: Index, queries: Signatures, rounds: int) -> dict[str, float]:
    """Measure how fast resident codes are read: the products alone, and with bounds and what keeps the highest."""
    lane, vectors = index.lane, QueryVectors.of(queries, SCORE)
    pieces = [lane.piece(block, None) for block in index.store.snapshot().blocks()]
    nbytes = sum(piece.matrices[0].nbytes for piece in pieces)

    def propose() -> None:
        proposer = Proposer(lane, vectors, SCORE, 2 * (K + 156), MEMORY // 4)
        for piece in pieces:
            proposer.take(piece)
        proposer.select()

    proposer = Proposer(lane, vectors, SCORE, 2 * (K + 156), MEMORY // 4)
    proposer.take(pieces[0])
    kind = proposer.kind(pieces[0])

    def multiply() -> None:
        for piece in pieces:
            kind.products(piece, slice(0, len(piece)))

    return {
        "codes_bytes": nbytes,
        "products_bytes_a_second": nbytes / seconds_on(lane.device, multiply, rounds),
        "proposing_bytes_a_second": nbytes / seconds_on(lane.device, propose, rounds),
    }


def naive(index: Index, device: torch.device) -> Callable[[torch.Tensor], Any]:
    """Return what a torch user writes: a matrix product and topk, rows in float16 (on a CPU float32) on the device."""
    rows = torch.from_numpy(fused_rows(index)).to(device, torch.float16 if device.type == "cuda" else torch.float32)
    return lambda queries: [one.cpu() for one in (queries.to(device, rows.dtype) @ rows.T).topk(K, dim=1)]


def same(ranked: list[Any], other: list[Any]) -> bool:
    """Compare ids and scores, bit by bit."""
    return all(
        (a.sequence == b.sequence).all() and (a.scores == b.scores).all() for a, b in zip(ranked, other, strict=True)
    )


def measure(path: Path, queries: Signatures, device: str, rounds: int) -> dict[str, Any]:
    """Ask the index with all of it on the device, with nothing of it there, and with half of it."""
    there = torch.device(device)
    result: dict[str, Any] = {"bandwidth_bytes_a_second": bandwidths(there, rounds)}
    on_host = ScannedIndex(path).rank(queries)
    resident = Index(path, device, 2**62)
    answer = resident.rank(queries)
    snapshot = resident.store.snapshot()
    sequences = torch.cat([torch.from_numpy(block.sequence.astype("i8")) for block in snapshot.blocks()]).numpy()
    vectors = QueryVectors.of(queries, SCORE)
    result |= {
        "rows": snapshot.rows,
        "ids_equal_float64": is_exact(answer, sequences, float64_answer(resident, vectors)),
        "same_bits_as_host": same(answer, on_host),
        "resident_bytes": resident.lane.kept_bytes,
        "capacity": resident.asking._lanes[(device,)].capacity,
        "proposing_batch_1": proposing(resident, some(queries, 1), rounds),
    }
    fused = torch.cat([torch.from_numpy(vectors.rh), torch.from_numpy(vectors.gh)], dim=1)
    search = naive(resident, there)
    result["seconds"] = {
        f"batch {batch}": {
            "risedb, resident": seconds(partial(resident.rank, some(queries, batch)), rounds),
            "torch matmul and topk, resident, not exact": seconds(partial(search, fused[:batch]), rounds),
        }
        for batch in BATCHES
    }
    del search
    kept = resident.lane.kept_bytes
    resident.close()
    for name, cache in (("nothing resident", 0), ("half resident", kept // 2)):
        index = Index(path, device, cache)
        result["seconds"]["batch 1"][f"risedb, {name}"] = seconds(partial(index.rank, some(queries, 1)), rounds)
        before = index.lane.brought_bytes
        index.rank(some(queries, 1))
        result[name] = {
            "brought_bytes": index.lane.brought_bytes - before,
            "resident_bytes": index.lane.kept_bytes,
            "same_bits_as_host": same(index.rank(queries), on_host),
        }
        index.close()
    return result | {"bars": bars(result)}


def bars(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Set what was measured beside what it has to be; on a CPU it means nothing."""
    bandwidth, times = result["bandwidth_bytes_a_second"], result["seconds"]
    streamed = result["nothing resident"]["brought_bytes"] / times["batch 1"]["risedb, nothing resident"]["median"]
    products = result["proposing_batch_1"]["products_bytes_a_second"]
    return {
        "products at batch 1, part of the device's copy bandwidth": {
            "is": products / bandwidth["device_copy"],
            "at_least": 0.6,
        },
        "streaming, part of the bus's bandwidth": {"is": streamed / bandwidth["host_to_device"], "at_least": 0.8},
        "batch 1, milliseconds": {"is": 1000 * times["batch 1"]["risedb, resident"]["median"], "at_most": 3},
        "batch 100, milliseconds": {"is": 1000 * times["batch 100"]["risedb, resident"]["median"], "at_most": 15},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, nargs="?", help="folder with data and models/tiny-neox")
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--rows", type=int, default=1_005_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="20,000 rows of this Python's documentation")
    choices = parser.parse_args()
    if not choices.small and choices.shared is None:
        parser.error("the folder with data and models is missing; or use --small")
    rows = 20_000 if choices.small else choices.rows
    texts, queries = of_python(choices.preset) if choices.small else of_text(choices.shared, choices.preset)
    on_cuda = choices.device.startswith("cuda")
    result = {
        "machine": describe(),
        "device": torch.cuda.get_device_name(choices.device) if on_cuda else "cpu: these times are of no GPU",
        "preset": choices.preset,
        "paper": PAPER,
    }
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        path = Path(folder, "pool.rise")
        build(path, choices.preset, tiled(texts, rows))
        result |= measure(path, queries, choices.device, choices.rounds)
    if on_cuda and not choices.small:
        (RESULTS / f"scan-device-{choices.preset}-{rows}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
