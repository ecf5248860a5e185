"""Rank one pool with several methods and print one table.

    python -m benchmarks.rivals ../shared --pool howdy --rows 500 --queries 50 --methods bm25,length,hidden

The first rows of the pool and the first queries are taken; without --rows, all. Kept as
benchmarks/results/rivals-POOL-ROWS.json, where methods measured before keep their rows. Build and query times and bytes
are this run's; `full_build_seconds` is the build in proportion to the whole pool.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.rivals.measure import Measured
from benchmarks.rivals.registry import METHODS, Setting
from benchmarks.rivals.rival import Rival
from benchmarks.rivals.task import POOLS, Task
from risedb.evaluation import Ends, evaluate

RESULTS = Path(__file__).parents[1] / "results"


def row_of(rival: Rival, task: Task, cuts: tuple[int, ...]) -> dict[str, Any]:
    """Measure one method."""
    measured = Measured.of(rival, task.pool, task.queries)
    qualities = evaluate([Ends.of_scores(row, task.labels, max(cuts)) for row in measured.scores], cuts)
    return {
        **{f"auprc@{k}": quality.auprc for k, quality in qualities.items()},
        **{f"auroc@{k}": quality.auroc for k, quality in qualities.items()},
        **measured.costs,
        "full_build_seconds": measured.build_seconds * task.full_rows / len(task.pool),
        "rows": len(task.pool),
        "positives": int(task.labels.sum()),
        "queries": len(task.queries),
    }


def line(name: str, result: dict[str, Any]) -> str:
    """Return one row of the table."""
    if "not_installed" in result:
        return f"{name:<22}needs {result['not_installed']}, which is not installed"
    quality = "".join(f"{value:>8.3f}" for key, value in result.items() if key.startswith("auprc@"))
    numbers = (result["build_seconds"], result["query_milliseconds"], result["disk_bytes"] / 2**20)
    return f"{name:<22}{quality}{numbers[0]:>10.1f}{numbers[1]:>10.1f}{numbers[2]:>9.2f}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data/ and models/")
    parser.add_argument("--pool", choices=POOLS, default="howdy")
    parser.add_argument("--rows", type=int, help="first rows of the pool; by default all")
    parser.add_argument("--queries", type=int, help="first queries; by default all")
    parser.add_argument("--methods", default="length,random,bm25,hidden", help=f"any of {','.join(METHODS)}")
    parser.add_argument("--model", help="target model; by default models/tiny-neox of the shared folder")
    parser.add_argument("--encoder", help="sentence encoder, a folder or hub id; by default all-MiniLM-L6-v2")
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--permutations", type=int, default=32, help="of the Shapley methods")
    parser.add_argument("--out", type=Path, help="file for the results")
    given = parser.parse_args()
    if unknown := set(given.methods.split(",")) - set(METHODS):
        parser.error(f"no method is called {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    return given


def main() -> None:
    given = arguments()
    model = given.model or str(given.shared / "models" / "tiny-neox")
    task = Task.load(given.shared, given.pool, given.rows, given.queries)
    out = given.out or RESULTS / f"rivals-{given.pool}-{len(task.pool)}.json"
    kept = json.loads(out.read_text()) if out.exists() else {}
    cuts = POOLS[given.pool]
    size = f"{len(task.pool)} of {task.full_rows} documents ({task.labels.sum()} positives)"
    print(f"{given.pool}, {size}, {len(task.queries)} queries, {model}")
    print(f"{'':<22}" + "".join(f"{f'AP@{k}':>8}" for k in cuts) + f"{'build s':>10}{'query ms':>10}{'MiB':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        setting = Setting(model, Path(scratch), given.encoder, given.seq_len, given.permutations)
        for name in given.methods.split(","):
            try:
                result = row_of(METHODS[name](setting), task, cuts)
            except ImportError as error:
                result = {"not_installed": error.name}
            print(line(name, result), flush=True)
            kept[name] = {**result, "model": Path(model).name, "seq_len": given.seq_len, "machine": describe()}
            out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
