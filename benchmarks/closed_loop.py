"""Closed-loop selection (Table 4): what each method selects from a pool of junk, and what a model learns from it.

    python -m benchmarks.closed_loop ../shared --methods random,bm25,hidden,rise

From brain-rot, clickbait with a tenth of genuine control texts: every method ranks the pool by its mean score over half
of the control queries, the model goes on training on the tenth that ranks first, and its perplexity is measured on the
other half and on junk that was kept out of the pool. What differs between runs is the selection alone. The paper takes
5,000 of 50,000 texts and trains for twenty epochs; here it is 490 of 4,900 and three epochs, four minutes on two cores.
Kept as benchmarks/results/closed-loop.json.

Source: arXiv:2604.16197v1, Section 3.3. Its RULER and ARC need data that is no part of the shared folder: whoever has
it adds a function to ``EVALUATIONS``.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.rivals.causal import Causal
from benchmarks.rivals.registry import METHODS, Setting
from benchmarks.rivals.task import Task
from benchmarks.trained import trained
from tools.finetune import Recipe

RESULT = Path(__file__).parent / "results" / "closed-loop.json"
RECIPE = Recipe(batch_tokens=1024)
SELECTED = 0.1  # of the pool, as in the paper
HELD_OUT_JUNK = 100


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """The brain-rot pool, its queries parted.

    Parameters
    ----------
    pool
        Texts to select from.
    control
        (n,) bool: which of them are genuine.
    queries
        Control texts by which methods select.
    held_out
        Texts that nothing selects by or trains on, by name.
    """

    pool: list[str]
    control: NDArray[np.bool_]
    queries: list[str]
    held_out: dict[str, list[str]]

    @classmethod
    def load(cls, shared: Path) -> "Loop":
        """Read the pool but for its last junk texts; every second query selects, the others measure."""
        task = Task.load(shared, "brain-rot")
        junk = np.flatnonzero(~task.labels)[-HELD_OUT_JUNK:]
        rest = np.setdiff1d(np.arange(len(task.pool)), junk)
        held_out = {"control": task.queries[1::2], "junk": [task.pool[i] for i in junk]}
        return cls([task.pool[i] for i in rest], task.labels[rest], task.queries[::2], held_out)


def perplexity(causal: Causal, texts: Sequence[str]) -> float:
    """Return the exponential of the mean loss over all predicted tokens of the texts."""
    predicted = [max(len(ids) - 1, 0) for ids in causal.ids(texts)]
    return float(np.exp(np.average(causal.losses(texts).numpy(), weights=predicted)))


EVALUATIONS: dict[str, Callable[[Causal, Loop], float]] = {
    "control_perplexity": lambda causal, loop: perplexity(causal, loop.held_out["control"]),
    "junk_perplexity": lambda causal, loop: perplexity(causal, loop.held_out["junk"]),
}
"""What is asked of each trained model, by its name in the result: ``causal.model`` is the model of transformers. A
benchmark with data of its own, such as RULER's common words or ARC, goes here."""


def selection(scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Return the documents of highest mean score over queries, (m, n) to (count,); ties in the pool's order."""
    return np.argsort(-scores.mean(axis=0), kind="stable")[:count]


def run(shared: Path, out: Path, methods: Sequence[str], model: str | None = None) -> dict[str, Any]:
    """Select, train and evaluate with each method, and write the result.

    Parameters
    ----------
    shared
        Folder with data/brain-rot, and models/tiny-neox unless another model is named.
    out
        File for the result.
    methods
        Names in ``benchmarks.rivals.registry.METHODS``.
    model
        Selects and learns; a folder or hub id.
    """
    model = model or str(shared / "models" / "tiny-neox")
    loop = Loop.load(shared)
    count = round(SELECTED * len(loop.pool))
    result: dict[str, Any] = {
        "machine": describe(),
        "model": Path(model).name,
        "pool": len(loop.pool),
        "control": int(loop.control.sum()),
        "selected": count,
        "recipe": asdict(RECIPE),
        "methods": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(model, Path(scratch))
        causal = setting.causal
        result["methods"]["base"] = _evaluated(causal, loop)
        for name in methods:
            start = perf_counter()
            rival = METHODS[name](setting)
            rival.fit(loop.pool)
            chosen = selection(rival.score(loop.queries), count)
            texts = [loop.pool[i] for i in chosen]
            with trained(causal, texts, RECIPE):
                result["methods"][name] = {
                    "purity": float(loop.control[chosen].mean()),
                    **_evaluated(causal, loop),
                    "tokens": sum(map(len, causal.ids(texts))),
                    "seconds": perf_counter() - start,
                }
            print(name, result["methods"][name], flush=True)
            out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def _evaluated(causal: Causal, loop: Loop) -> dict[str, float]:
    return {name: evaluation(causal, loop) for name, evaluation in EVALUATIONS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data/ and models/")
    parser.add_argument("--methods", default="random,bm25,hidden,rise", help=f"any of {','.join(METHODS)}")
    parser.add_argument("--model", help="by default models/tiny-neox of the shared folder")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    run(given.shared, given.out, given.methods.split(","), given.model)


if __name__ == "__main__":
    main()
