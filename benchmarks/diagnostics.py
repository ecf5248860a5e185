"""The diagnostics' bars on tiny-neox and howdy: supports, sketches and the controlled experiment.

    python -m benchmarks.diagnostics ../shared

A sample of 64 documents for `risedb diagnose`, and 40 queries against 200 documents for the ranking: sketched (seed 42)
against unsketched scores, Spearman per query, and what to expect of it by how far sketches move the scores. Three
minutes on two cores; keeps benchmarks/results/diagnostics.json.
"""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.texts import TEMPLATE
from risedb.config import LoadConfig, ReadoutConfig, ScoreConfig, SketchConfig
from risedb.corpus import Fields, Row, read
from risedb.database.signing import encode_rows
from risedb.diagnostics import diagnose
from risedb.diagnostics.factors import Factors
from risedb.diagnostics.positions import Positions
from risedb.diagnostics.ranking import rank_correlations
from risedb.diagnostics.report import PRESETS
from risedb.featurize import LanguageModel, Tokens, load_model

FIELDS = Fields(template=TEMPLATE)
READOUT = ReadoutConfig(seq_len=256)
RESULT = Path(__file__).parent / "results" / "diagnostics.json"


def drawn(path: Path, count: int, seed: int) -> list[Row]:
    rows = [row for row in read(path) if isinstance(row, Row)]
    return random.Random(seed).sample(rows, count)


def movement(exact: NDArray[np.floating], sketched: NDArray[np.floating]) -> dict[str, float]:
    """Say how far sketches move the scores of a pool, (queries, documents) twice, as medians over queries.

    Returns
    -------
    dict
        ``spread``, the standard deviation of a query's exact scores over the pool; ``error``, that of what sketching
        adds to them; ``expected``, what correlation noise of that size leaves which knows nothing of the scores.
    """
    spread, error = exact.std(axis=1), (sketched - exact).std(axis=1)
    measured = {"spread": spread, "error": error, "expected": spread / np.hypot(spread, error)}
    return {name: float(np.median(each)) for name, each in measured.items()}


def pool_rankings(model: LanguageModel, queries: list[Tokens], pool: list[Tokens]) -> dict[str, Any]:
    """Median Spearman over queries of each preset's scores of the pool with the unsketched ones, by channel."""
    factors = Factors.of(model, Positions.read(model, [*queries, *pool], READOUT), READOUT)
    exact = factors.unit().grams()
    channels = {
        "rh+gh": ScoreConfig(),
        "rh": ScoreConfig(lambda_rh=1.0, lambda_gh=0.0),
        "gh": ScoreConfig(lambda_rh=0.0, lambda_gh=1.0),
    }
    result: dict[str, Any] = {"queries": len(queries), "documents": len(pool)}
    for preset in PRESETS:
        sketched = factors.sketched_grams(SketchConfig.parse(preset), unit=True)
        result[preset] = {}
        for name, score in channels.items():
            rows = [grams.fused(score)[: len(queries), len(queries) :].numpy() for grams in (exact, sketched)]
            rho = rank_correlations(*rows)
            result[preset][name] = {"median": float(np.median(rho)), "lowest": float(rho.min()), **movement(*rows)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data/howdy and models/tiny-neox")
    parser.add_argument("--model", help="by default models/tiny-neox of the shared folder")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    howdy, name = given.shared / "data" / "howdy", given.model or str(given.shared / "models" / "tiny-neox")
    model = load_model(name, LoadConfig(dtype="float32"))

    def encoded(name: str, count: int, seed: int) -> list[Tokens]:
        return encode_rows(drawn(howdy / f"{name}.jsonl.zst", count, seed), model.tokenizer, READOUT, FIELDS)[1]

    result: dict[str, Any] = {"machine": describe()}
    result["pool_ranking"] = pool_rankings(model, encoded("queries", 40, 1), encoded("pool", 200, 1))
    print(json.dumps(result["pool_ranking"], indent=1), flush=True)
    diagnosis = diagnose(
        Path(name).name,
        model,
        encoded("pool", 64, 0),
        readout=READOUT,
        progress=lambda what: print(what, file=sys.stderr),
    )
    result["diagnosis"] = json.loads(diagnosis.as_json())
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    for candidate in diagnosis.controlled:
        print(
            f"{candidate.text:<28} RH {candidate.rh} (paper {candidate.paper_rh})  GH {candidate.gh} "
            f"(paper {candidate.paper_gh})"
        )
    at = diagnosis.sparsity.by_size[128]
    print(f"K = 128: GH cosine {at.cosine:.4f}, residual energy {at.full_energy:.5f}; {diagnosis.advice.sentence}")


if __name__ == "__main__":
    main()
