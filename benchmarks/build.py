"""The build beside the bare forward pass of the same batches, on random weights of real shapes; and beside bergson.

    python -m benchmarks.build ../shared --bergson PEERS/bin/bergson     # five minutes on two cores
    python -m benchmarks.build ../shared --small                         # under a minute, keeps nothing

Texts are those of ../shared by Pythia's own tokenizer; batches are taken from the plan of a window of 4,096 documents,
so that padding is what it is in a large pool. The build is ``db.add``: tokenizing, forward pass, signatures,
normalising, quantising, writing, the durable commit. The bare forward pass is ``model(input_ids,
attention_mask).logits`` on token ids that are ready. They take turns, so that what else the machine does falls on both;
medians are kept. Random weights are the worst case for what RISE adds: their flat predictions make every support nearly
as long as k_max.

bergson (its own environment: pip install --no-deps bergson==2.5.1 beside CPU torch, then what it imports, no
torchvision) runs as its command, on a few documents and on all; the difference leaves its start-up out. Keeps
results/build.json.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
import transformers
import zstandard

import risedb
from benchmarks.howdy import cosines
from benchmarks.machine import describe
from risedb.config import LoadConfig, ReadoutConfig
from risedb.corpus import Row, read
from risedb.featurize import LanguageModel, load_model
from risedb.featurize.batches import plan_batches

RESULT = Path(__file__).parent / "results" / "build.json"
SHAPES = {  # Pythia's: hidden size, layers, heads; and tokens to build, which take a few seconds on two cores
    "14M": ((128, 6, 4), 12_000),
    "70M": ((512, 6, 8), 6_000),
    "160M": ((768, 12, 12), 4_000),
    "410M": ((1024, 24, 16), 2_000),
}
SOURCES = {"distractors/books_cc0": 1700, "distractors/techspecs": 1700, "howdy/pool": 696}
SEQ_LEN, BATCH_TOKENS = 512, 2048


def save_model(shared: Path, shape: str, folder: Path) -> None:
    """Save random weights of a shape, with Pythia's tokenizer."""
    hidden, layers, heads = SHAPES[shape][0]
    torch.manual_seed(0)
    config = transformers.GPTNeoXConfig(
        vocab_size=50_304,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=2048,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    packed = (shared / "tokenizers" / "pythia_20B_tokenizer.json.zst").read_bytes()
    (folder / "tokenizer.json").write_bytes(zstandard.decompress(packed))
    special = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))


def texts(shared: Path) -> list[str]:
    """Return 4,096 texts of three sources, one after the other by turns."""
    columns = [
        [
            row.values.get("text") or "{prompt}\n{completion}".format(**row.values)
            for row in islice(read(shared / "data" / f"{source}.jsonl.zst"), count)
            if isinstance(row, Row)
        ]
        for source, count in SOURCES.items()
    ]
    return [text for column in columns for text in column]


def chosen_batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Take batches of the whole plan, evenly spread over its lengths, until they hold so many tokens."""
    plan = plan_batches(lengths, BATCH_TOKENS)
    count = max(round(tokens / BATCH_TOKENS), 1)
    return [plan[round((i + 0.5) * len(plan) / count - 0.5)] for i in range(count)]


def padding(lengths: Sequence[int], batches: list[list[int]]) -> float:
    """Return which share of the batches' tokens is padding."""
    cells = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths[i] for batch in batches for i in batch) / cells


@torch.inference_mode()
def bare_seconds(model: LanguageModel, ids: list[list[int]], batches: list[list[int]]) -> float:
    """Time ``model(input_ids, attention_mask).logits``, token ids at hand."""
    start = perf_counter()
    for batch in batches:
        rows = [torch.tensor(ids[i]) for i in batch]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = (torch.arange(padded.shape[1]) < torch.tensor([[len(row)] for row in rows])).long()
        _ = model.network(input_ids=padded, attention_mask=mask, use_cache=False).logits
    return perf_counter() - start


def build(path: Path, model: LanguageModel, rows: list[dict[str, str]]) -> tuple[float, risedb.RiseDB]:
    """Time an add into a new index."""
    db = risedb.open(path, model, create=True, readout=ReadoutConfig(seq_len=SEQ_LEN), batch_tokens=BATCH_TOKENS)
    _ = db.featurizer  # the head's sketch is made once for an index that is open, not for each document
    start = perf_counter()
    db.add(rows)
    return perf_counter() - start, db


def measured(folder: Path, dtype: Any, pool: list[str], tokens: int, repeats: int) -> tuple[dict[str, Any], Any]:
    """Build and run bare by turns; return the numbers, and the signatures."""
    model = load_model(str(folder), LoadConfig(dtype=dtype, device="cpu"))
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    encoded = [list(one.ids[:SEQ_LEN]) for one in model.tokenizer.encode(pool, [0] * len(pool))]
    lengths = [len(one) for one in encoded]
    batches = chosen_batches(lengths, tokens)
    rows = [{"id": str(i), "text": pool[i]} for batch in batches for i in batch]
    total = sum(lengths[i] for batch in batches for i in batch)
    times: dict[str, list[float]] = {"build": [], "bare": []}
    with tempfile.TemporaryDirectory() as indexes:
        build(Path(indexes, "warm"), model, rows[:8])[1].close()
        bare_seconds(model, encoded, batches[:1])
        for repeat in range(repeats):
            seconds, db = build(Path(indexes, str(repeat)), model, rows)
            times["build"].append(seconds)
            if repeat == 0:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            times["bare"].append(bare_seconds(model, encoded, batches))
            signatures = db.signatures([row["id"] for row in rows])
            db.close()
    rates = {name: total / median(seconds) for name, seconds in times.items()}
    result = {
        "tokens": total,
        "documents": len(rows),
        "padding": padding(lengths, batches),
        "padding_of_the_whole_window": padding(lengths, plan_batches(lengths, BATCH_TOKENS)),
        "tokens_per_second": rates,
        "ratio": median(bare / own for bare, own in zip(times["bare"], times["build"], strict=True)),
        "seconds": times,
        "peak_bytes": 1024 * peak,
        "peak_bytes_beyond_the_loaded_model": 1024 * (peak - loaded),
    }
    return result, signatures


def shape_result(shared: Path, shape: str, repeats: int) -> dict[str, Any]:
    """Measure one shape in both precisions, on one model."""
    pool, tokens = texts(shared), SHAPES[shape][1]
    result: dict[str, Any] = {}
    signatures = []
    with tempfile.TemporaryDirectory() as folder:
        save_model(shared, shape, Path(folder))
        for dtype in ("float32", "bfloat16"):
            result[dtype], own = measured(Path(folder), dtype, pool, tokens, repeats)
            signatures.append(own)
    close = cosines(*signatures)
    result["bfloat16_against_float32"] = {
        "cosine_at_least_0.999": float(np.mean(close >= 0.999)),
        "cosine_minimum": float(close.min()),
    }
    return result


def beside_bergson(shared: Path, bergson: Path, model: str, tokens: int, precisions: tuple[str, str]) -> dict[str, Any]:
    """Build the same documents with RiseDB and with bergson, by turns; tokens/s, start-up apart.

    `model` is a folder or a shape; precisions are RiseDB's and bergson's.
    """
    pool = texts(shared)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(model)
        if model in SHAPES:
            path = Path(folder, "model")
            save_model(shared, model, path)
        loaded = load_model(str(path), LoadConfig(dtype=precisions[0], device="cpu"))  # type: ignore[arg-type]
        lengths = [min(len(one.ids), SEQ_LEN) for one in loaded.tokenizer.encode(pool, [0] * len(pool))]
        batches = chosen_batches(lengths, tokens)
        parts = {"few": batches[:1], "all": batches}
        times: dict[str, list[float]] = {"risedb few": [], "risedb all": [], "bergson few": [], "bergson all": []}
        for repeat in range(2):
            for name, part in parts.items():
                some = [pool[i] for batch in part for i in batch]
                data = Path(folder, f"{name}.jsonl")
                data.write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
                rows = [{"id": str(i), "text": text} for i, text in enumerate(some)]
                seconds, db = build(Path(folder, f"risedb-{name}-{repeat}"), loaded, rows)
                db.close()
                times[f"risedb {name}"].append(seconds)
                command = [
                    bergson, "build", Path(folder, f"bergson-{name}-{repeat}"), "--model", path, "--dataset", data,
                    "--prompt_column", "text", "--truncation", "--precision", precisions[1], "--projection_dim", "16",
                    "--token_batch_size", min(BATCH_TOKENS, loaded.max_positions or BATCH_TOKENS),
                ]  # fmt: skip
                start = perf_counter()
                subprocess.run([*map(str, command)], check=True, capture_output=True)
                times[f"bergson {name}"].append(perf_counter() - start)
        counts = {name: sum(lengths[i] for batch in part for i in batch) for name, part in parts.items()}
    more = counts["all"] - counts["few"]
    rates = {name: more / (min(times[f"{name} all"]) - min(times[f"{name} few"])) for name in ("risedb", "bergson")}
    return {"tokens": counts, "tokens_per_second": rates, "ratio": rates["risedb"] / rates["bergson"], "seconds": times}


def in_its_own_process(shared: Path, *arguments: str) -> dict[str, Any]:
    """Run a part of this benchmark where no other part has used memory."""
    command = [sys.executable, "-m", "benchmarks.build", str(shared), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data and tokenizers")
    parser.add_argument("--small", action="store_true", help="one small shape, once")
    parser.add_argument("--bergson", type=Path, help="its command, in its own environment")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", choices=SHAPES, help="print the numbers of one shape, keep nothing")
    chosen = parser.parse_args()
    if chosen.shape:
        print(json.dumps(shape_result(chosen.shared, chosen.shape, chosen.repeats)))
        return
    if chosen.small:
        print(json.dumps(in_its_own_process(chosen.shared, "--shape", "14M", "--repeats", "1"), indent=1))
        return
    result: dict[str, Any] = {"machine": describe(), "sketch": "128/24/128", "seq_len": SEQ_LEN, "shapes": {}}
    for shape in SHAPES:
        repeats = str(chosen.repeats)
        result["shapes"][shape] = in_its_own_process(chosen.shared, "--shape", shape, "--repeats", repeats)
        print(shape, json.dumps(result["shapes"][shape]), file=sys.stderr, flush=True)
    if chosen.bergson:
        tiny = str(chosen.shared / "models" / "tiny-neox")
        result["bergson 2.5.1"] = {
            "160M, float32": beside_bergson(chosen.shared, chosen.bergson, "160M", 6_000, ("float32", "fp32")),
            "tiny-neox, defaults": beside_bergson(chosen.shared, chosen.bergson, tiny, 60_000, ("auto", "fp32")),
        }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
