"""What else ranks a million vectors by inner product: each as a function from queries to the ids of the k best.

Each gets the same fused unit signatures in float32, as its users would give them. One that is not installed is left
out: `pip install --group peers`.
"""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Search = Callable[[np.ndarray, int], np.ndarray]
SLOW = {"lancedb", "usearch exact", "numpy"}  # timed once, and not in batches of 100


def peers(rows: np.ndarray, chosen: str) -> Iterator[tuple[str, Search]]:
    """Yield name and search of all peers that are installed; `chosen` is ``all`` or ``faiss``."""
    yield from _faiss(rows)
    if chosen == "faiss":
        return
    yield "numpy", lambda queries, k: _top(queries @ rows.T, k)
    yield "torch", _torch(rows)
    if importlib.util.find_spec("usearch"):
        from usearch.index import MetricKind, search

        def exact(queries: np.ndarray, k: int) -> np.ndarray:
            return search(rows, queries, k, MetricKind.IP, exact=True, threads=cores()).keys.reshape(-1, k)

        yield "usearch exact", exact
    if importlib.util.find_spec("lancedb"):
        yield "lancedb", _lancedb(rows)


def cores() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0))


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    found = np.argpartition(-scores, k, axis=1)[:, :k]
    return np.take_along_axis(found, np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1), axis=1)


def _faiss(rows: np.ndarray) -> Iterator[tuple[str, Search]]:
    if not importlib.util.find_spec("faiss"):
        return
    if _has_avx512():  # an OpenBLAS older than the processor would take its oldest kernels
        os.environ.setdefault("OPENBLAS_CORETYPE", "SKYLAKEX")
    import faiss

    faiss.omp_set_num_threads(cores())
    width = rows.shape[1]
    quantisers = {"faiss fp16": faiss.ScalarQuantizer.QT_fp16, "faiss 8-bit": faiss.ScalarQuantizer.QT_8bit}
    flat = faiss.IndexFlatIP(width)
    indexes: dict[str, Any] = {"faiss flat": flat} | {
        name: faiss.IndexScalarQuantizer(width, kind, faiss.METRIC_INNER_PRODUCT) for name, kind in quantisers.items()
    }
    for name, index in indexes.items():
        index.train(rows[:50_000])
        index.add(rows)
        yield name, lambda queries, k, index=index: index.search(queries, k)[1]


def _has_avx512() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512f" in cpuinfo.read_text()


def _torch(rows: np.ndarray) -> Search:
    import torch

    stored = torch.from_numpy(rows)
    return lambda queries, k: (torch.from_numpy(queries) @ stored.T).topk(k).indices.numpy()


def _lancedb(rows: np.ndarray) -> Search:
    import lancedb
    import pyarrow as pa

    folder = tempfile.TemporaryDirectory()
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    table = pa.table({"id": pa.array(np.arange(len(rows))), "vector": vectors})
    stored = lancedb.connect(folder.name).create_table("pool", table)

    def search(queries: np.ndarray, k: int) -> np.ndarray:
        found = [
            stored.search(query).distance_type("dot").bypass_vector_index().select(["id"]).limit(k).to_arrow()
            for query in queries
        ]
        return np.stack([each["id"].to_numpy() for each in found])

    search.folder = folder  # type: ignore[attr-defined]  lives as long as the search
    return search
