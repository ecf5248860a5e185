"""How a pool ranks by each length of factors, by each channel, centred, and with GH through the input embeddings.

    python -m benchmarks.factor_norm ../shared --pool howdy --out benchmarks/results/factor_norm.json
    python -m benchmarks.factor_norm ../shared --pool howdy --paradigm retrospective --model tuned/howdy --out …

One pool and one model a run, added to what the file holds. The four indexes are built side by side, a few documents at
a time, and share the forward passes: three minutes a pool on two cores.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import risedb
from benchmarks.rivals.task import POOLS, Task
from risedb.evaluation import Ends, evaluate
from risedb.featurize import Featurizer, LanguageModel, load_model

SEQ_LEN = 256
CUTS = (5, 10, 25, 50, 100)  # of all pools together
SAMPLE = 100  # documents of a class whose residuals are looked at
READOUTS: Mapping[str, Mapping[str, Any]] = {
    "unit": {},
    "residual": {"factor_norm": "residual"},
    "none": {"factor_norm": "none"},
    "unit, input embeddings": {"gh_through": "input-embeddings"},
}
SCORES: Mapping[str, Mapping[str, Any]] = {
    "": {},
    ", centred": {"center": True},
    ", RH": {"lambda_gh": 0.0},
    ", GH": {"lambda_rh": 0.0},
}
_TOGETHER = 128  # documents: an add of so few is one window, which all indexes cut alike into batches


def remembering(hidden: Callable[[Tensor, Tensor], Tensor], kept: dict[bytes, Tensor]) -> Callable[..., Tensor]:
    """Return the same function, which runs the model only for token ids that are not kept."""

    def remembered(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        key = b"".join(part.cpu().numpy().tobytes() for part in (input_ids, attention_mask))
        if key not in kept:
            kept[key] = hidden(input_ids, attention_mask)
        return kept[key]

    return remembered


def measure(task: Task, model: LanguageModel) -> dict[str, dict[str, float]]:
    """Return auPRC at each K of each choice, by its name."""
    kept: dict[bytes, Tensor] = {}
    model.hidden = remembering(LanguageModel.hidden.__get__(model), kept)  # type: ignore[method-assign]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        indexes = {}
        for name, choice in READOUTS.items():
            readout = risedb.ReadoutConfig(seq_len=SEQ_LEN, **choice)
            indexes[name] = stack.enter_context(risedb.open(folder / name, model, create=True, readout=readout))
        rows = [{"id": str(number), "text": text} for number, text in enumerate(task.pool)]
        for start in range(0, len(rows), _TOGETHER):
            kept.clear()
            for index in indexes.values():
                index.add(rows[start : start + _TOGETHER])
        kept.clear()
        return {name + how: quality for name, index in indexes.items() for how, quality in qualities(index, task)}


def qualities(index: risedb.RiseDB, task: Task) -> list[tuple[str, dict[str, float]]]:
    """Return auPRC at each K by each way to score one index."""
    if len(index) != len(task.pool):
        msg = f"{len(task.pool)} texts, and {len(index)} documents in the index"
        raise ValueError(msg)
    queries = index.sign(task.queries)
    measured = []
    for how, choices in SCORES.items():
        scores = np.concatenate([part.scores for part in index.scores(queries, **choices)])
        at = evaluate([Ends.of_scores(one, task.labels, max(CUTS)) for one in scores.T], CUTS)
        measured.append((how, {f"auprc@{k}": quality.auprc for k, quality in at.items()}))
    return measured


def residual_energy(task: Task, model: LanguageModel) -> dict[str, float]:
    """Return the mean |r_t|^2 of a document's positions, as means over the first queries, positives and negatives."""
    featurizer = Featurizer(model, risedb.ReadoutConfig(seq_len=SEQ_LEN), risedb.SketchConfig.parse("compact"))

    def mean_energy(texts: list[str]) -> float:
        documents = model.tokenizer.encode(texts, [0] * len(texts))
        windows = [window for tokens in documents for window in tokens.windows(featurizer.readout)]
        energies = [featurizer.support(window).residual_norms().square().mean() for window in windows]
        return float(torch.stack(energies).mean())

    pool = np.array(task.pool, dtype=object)
    texts = {"queries": task.queries, "positives": pool[task.labels], "negatives": pool[~task.labels]}
    return {name: mean_energy(list(some[:SAMPLE])) for name, some in texts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data and models/tiny-neox")
    parser.add_argument("--pool", choices=POOLS, required=True)
    parser.add_argument("--model", help="the pretrained one if not given")
    parser.add_argument("--paradigm", choices=("prospective", "retrospective"), default="prospective")
    parser.add_argument("--rows", type=int, help="the first so many documents instead of all")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    model = load_model(asked.model or str(asked.shared / "models" / "tiny-neox"), risedb.LoadConfig(dtype="float32"))
    task = Task.load(asked.shared, asked.pool, asked.rows)
    energy = residual_energy(task, model)
    choices = measure(task, model)
    results = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    of_pool = results.setdefault(asked.pool, {})
    of_pool[asked.paradigm] = choices
    of_pool.setdefault("residual_energy", {})[asked.paradigm] = energy
    asked.out.write_text(json.dumps(results, indent=1) + "\n")
    print("mean |r|^2: " + ", ".join(f"{name} {value:.3f}" for name, value in energy.items()))
    for name, quality in choices.items():
        print(f"{name:<32}" + "".join(f"{value:>7.3f}" for value in quality.values()))


if __name__ == "__main__":
    main()
