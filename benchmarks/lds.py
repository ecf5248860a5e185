"""Linear Datamodeling Score (Table 16): whether a method's scores add up to what training on a subset does.

    python -m benchmarks.lds ../shared --pool brain-rot --methods random,bm25,hidden,rise --subsets 48 --seeds 1

A sample of the pool is scored once. Then a model is trained on each of several random halves of it, and for every query
minus its loss after training is compared, by Spearman's correlation over the halves, with the sum of the scores of the
documents that were in. The mean over queries is the score, with a bootstrap interval over halves and queries. The paper
has 2,000 documents, 128 halves and three seeds; by default here it is 500, 48 and one, and four minutes on two cores.
Kept as benchmarks/results/lds-POOL.json.

Source: Ilyas et al., arXiv:2202.00622; Park et al., arXiv:2303.14186, Definition 2.3; arXiv:2604.16197v1, Table 16.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.rivals.causal import Causal
from benchmarks.rivals.registry import METHODS, Setting
from benchmarks.rivals.task import POOLS, Task
from benchmarks.trained import trained
from risedb.diagnostics.ranking import rank_correlations
from tools.finetune import Recipe

RESULTS = Path(__file__).parent / "results"
RECIPE = Recipe(epochs=1, batch_tokens=1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is trained."""

    pool: str = "brain-rot"
    """Which of the shared pools."""
    documents: int = 500
    """The pool's first, whose order is random."""
    subsets: int = 48
    alpha: float = 0.5
    """Part of the documents in a subset."""
    seeds: int = 1
    """Trainings on each subset, whose losses are averaged."""


def draw_subsets(documents: int, size: Size) -> NDArray[np.bool_]:
    """Return who is in, (subsets, documents); every subset has the same number."""
    rng = np.random.default_rng(0)
    inside = np.arange(documents) < round(size.alpha * documents)
    return np.stack([rng.permutation(inside) for _ in range(size.subsets)])


def outcomes(causal: Causal, task: Task, members: NDArray[np.bool_], seeds: int) -> NDArray[np.float64]:
    """Return minus each query's mean loss after training on each subset, (queries, subsets), averaged over seeds."""
    utilities = np.zeros((len(task.queries), len(members)))
    for number, inside in enumerate(members):
        texts = [task.pool[i] for i in np.flatnonzero(inside)]
        for seed in range(seeds):
            with trained(causal, texts, replace(RECIPE, seed=seed)):
                utilities[:, number] -= causal.losses(task.queries).numpy() / seeds
    return utilities


def predictions(scores: NDArray[np.floating], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Add up the scores of who is in, (queries, documents) and (subsets, documents) to (queries, subsets)."""
    return scores.astype(np.float64) @ members.T


def correlations(predicted: NDArray[np.floating], utilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return Spearman's correlation over subsets, (queries, subsets) twice to (queries,).

    It is 0 for a method that predicts the same for all subsets.
    """
    return np.nan_to_num(rank_correlations(predicted, utilities))


def interval(predicted: NDArray[np.floating], utilities: NDArray[np.floating], draws: int = 500) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the mean correlation, queries and subsets drawn with replacement.

    Queries share the subsets: queries drawn alone, as if each had subsets of its own, would promise too much.
    """
    rng = np.random.default_rng(0)
    means = []
    for _ in range(draws):
        drawn = np.ix_(*(rng.integers(count, size=count) for count in utilities.shape))
        means.append(correlations(predicted[drawn], utilities[drawn]).mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def run(
    shared: Path, out: Path, methods: Sequence[str], size: Size | None = None, model: str | None = None
) -> dict[str, Any]:
    """Train on every subset, compare each method's scores with what that did, and write the result.

    Parameters
    ----------
    shared
        Folder with data/, and models/tiny-neox unless another model is named.
    out
        File for the result.
    methods
        Names in ``benchmarks.rivals.registry.METHODS``.
    size
        How much is trained.
    model
        Scores and learns; a folder or hub id.
    """
    model, size = model or str(shared / "models" / "tiny-neox"), size or Size()
    task = Task.load(shared, size.pool, size.documents)
    members = draw_subsets(len(task.pool), size)
    result: dict[str, Any] = {
        "machine": describe(),
        "model": Path(model).name,
        **asdict(size),
        "queries": len(task.queries),
        "recipe": asdict(RECIPE),
        "methods": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(model, Path(scratch))
        start = perf_counter()
        utilities = outcomes(setting.causal, task, members, size.seeds)
        result["training_seconds"] = perf_counter() - start
        for name in methods:
            rival = METHODS[name](setting)
            rival.fit(task.pool)
            predicted = predictions(rival.score(task.queries), members)
            lds = float(correlations(predicted, utilities).mean())
            low, high = interval(predicted, utilities)
            result["methods"][name] = {"lds": lds, "low": low, "high": high}
            print(f"{name:<12}{lds:>8.3f} [{low:.3f}, {high:.3f}]", flush=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    default = Size()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data/ and models/")
    parser.add_argument("--methods", default="random,bm25,hidden,rise", help=f"any of {','.join(METHODS)}")
    parser.add_argument("--pool", choices=POOLS, default=default.pool)
    parser.add_argument("--documents", type=int, default=default.documents)
    parser.add_argument("--subsets", type=int, default=default.subsets)
    parser.add_argument("--alpha", type=float, default=default.alpha, help="part of the documents in a subset")
    parser.add_argument("--seeds", type=int, default=default.seeds, help="trainings on each subset")
    parser.add_argument("--model", help="by default models/tiny-neox of the shared folder")
    parser.add_argument("--out", type=Path, help="file for the result")
    given = vars(parser.parse_args())
    shared, methods, model, out = (given.pop(name) for name in ("shared", "methods", "model", "out"))
    size = Size(**given)
    run(shared, out or RESULTS / f"lds-{size.pool}.json", methods.split(","), size, model)


if __name__ == "__main__":
    main()
