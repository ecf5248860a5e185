"""The howdy pool from end to end: build it, query it, and compare bfloat16 with float32.

    python benchmarks/howdy.py ../shared

Every time is beside one of the same run: the build beside the bare forward pass of the same batches, a query beside
that of its own token ids, alone and in a batch of all 100, a scan beside the time that NumPy needs to copy the same
bytes. Ten minutes on two cores; keeps benchmarks/results/howdy.json.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np
import torch

import risedb
from benchmarks.machine import describe
from benchmarks.texts import TEMPLATE, text_of
from risedb.corpus import Fields, Row, read
from risedb.evaluation import CUTS, Ends, evaluate
from risedb.featurize.batches import plan_batches

RESULT = Path(__file__).parent / "results" / "howdy.json"


@torch.inference_mode()
def bare_logits(db: risedb.RiseDB, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Run ``model(input_ids).logits`` alone."""
    mask = torch.ones_like(ids) if mask is None else mask
    return db.featurizer.model.network(input_ids=ids, attention_mask=mask).logits


def bare_forward_seconds(db: risedb.RiseDB, documents: list[str]) -> float:
    """Time ``model(input_ids).logits`` alone on the batches that the build makes."""
    featurizer = db.featurizer
    tokens = [
        one.windows(featurizer.readout)[0] for one in featurizer.model.tokenizer.encode(documents, [0] * len(documents))
    ]
    seconds = 0.0
    for start in range(0, len(tokens), 256):
        window = tokens[start : start + 256]
        for batch in plan_batches([len(one.ids) for one in window], 2048):
            rows = [torch.from_numpy(window[i].ids) for i in batch]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            mask = (torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])).long()
            begin = perf_counter()
            bare_logits(db, ids, mask)
            seconds += perf_counter() - begin
    return seconds


def build(path: Path, pool: list[Row], model: str, dtype: Any) -> tuple[risedb.RiseDB, dict[str, float]]:
    """Build the index and time it, the model's loading apart."""
    db = risedb.open(
        path,
        model,
        create=True,
        readout=risedb.ReadoutConfig(seq_len=256),
        fields=Fields(template=TEMPLATE),
        load=risedb.LoadConfig(dtype=dtype),
    )
    tokens = [0]
    start = perf_counter()
    db.add(pool, progress=lambda progress: tokens.append(progress.tokens))
    seconds = perf_counter() - start
    size = db.info()["bytes"]
    return db, {"seconds": seconds, "tokens": tokens[-1], "tokens_per_second": tokens[-1] / seconds, "disk_bytes": size}


def ranking_quality(db: risedb.RiseDB, queries: list[Row]) -> dict[str, float]:
    """Average precision over the top K and the bottom K, mean over queries."""
    labels = np.array([record["label"] == 1 for _, records in db.documents() for record in records])
    scores = np.concatenate([part.scores for part in db.scores(queries)])
    measured = evaluate([Ends.of_scores(one, labels, max(CUTS)) for one in scores.T])
    return {f"auprc@{k}": quality.auprc for k, quality in measured.items()}


def query_latency(db: risedb.RiseDB, queries: list[Row]) -> dict[str, float]:
    """Median milliseconds of a query, its forward pass included, and of its parts; and a query's share of a batch.

    The parts: the bare forward pass of the same token ids, the scan alone, and NumPy's copy of the stored rows.
    """
    model, readout = db.featurizer.model, db.featurizer.readout
    ids = [
        one.windows(readout)[0].ids
        for one in model.tokenizer.encode([text_of(q.values) for q in queries], [0] * len(queries))
    ]
    for query in queries[:10]:
        db.query(query)  # warm
    times: dict[str, list[float]] = {name: [] for name in ("whole", "forward", "scan", "copy", "in_a_batch")}

    def timed(name: str, run: Callable[..., object], *arguments: Any) -> None:
        begin = perf_counter()
        run(*arguments)
        times[name].append(perf_counter() - begin)

    for query, one in zip(queries, ids, strict=True):
        timed("whole", db.query, query.values)
        timed("forward", bare_logits, db, torch.from_numpy(one)[None])
        timed("scan", db.query, db.sign(query.values))
    blocks = list(db._store.snapshot().blocks())
    for _ in range(20):
        timed("copy", lambda: [(block.rh.copy(), block.gh.copy()) for block in blocks])
    for _ in range(3):
        timed("in_a_batch", db.query, queries)
    times["in_a_batch"] = [seconds / len(queries) for seconds in times["in_a_batch"]]
    return {name: 1000 * median(seconds) for name, seconds in times.items()}


def cosines(one: risedb.Signatures, other: risedb.Signatures) -> np.ndarray:
    """Cosine of each document's fused signature in two indexes."""
    fused = [np.concatenate([0.7 * each.phi_rh, each.phi_gh], axis=1) for each in (one, other)]
    products = np.sum(fused[0] * fused[1], axis=1)
    return products / np.linalg.norm(fused[0], axis=1) / np.linalg.norm(fused[1], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data/howdy and models/tiny-neox")
    shared = parser.parse_args().shared
    model = str(shared / "models" / "tiny-neox")
    pool, queries = (
        [row for row in read(shared / "data" / "howdy" / f"{name}.jsonl.zst") if isinstance(row, Row)]
        for name in ("pool", "queries")
    )
    texts = [text_of(row.values) for row in pool]
    result: dict[str, Any] = {"machine": describe(), "sketch": "128/24/128", "seq_len": 256}
    with tempfile.TemporaryDirectory() as folder:
        exact, result["build_float32"] = build(Path(folder, "float32.rise"), pool, model, "float32")
        result["bare_forward_float32_seconds"] = bare_forward_seconds(exact, texts)
        half, result["build_bfloat16"] = build(Path(folder, "bfloat16.rise"), pool, model, "bfloat16")
        result["ranking"] = ranking_quality(exact, queries)
        result["query_milliseconds"] = query_latency(exact, queries)
        ids = [str(row.values["id"]) for row in pool]
        close = cosines(exact.signatures(ids), half.signatures(ids))
        same = [
            len({hit.id for hit in one} & {hit.id for hit in other}) / 10
            for one, other in zip(exact.query(queries, k=10), half.query(queries, k=10), strict=True)
        ]
        result["bfloat16_against_float32"] = {
            "top10_overlap": mean(same),
            "queries_with_the_same_ten": sum(overlap == 1 for overlap in same),
            "cosine_at_least_0.999": float(np.mean(close >= 0.999)),
            "cosine_minimum": float(close.min()),
        }
        exact.close()
        half.close()
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
