"""The paper's 105K pool, built and asked: howdy among distractors, RISE at compact beside BM25 (Table 35).

    python -m benchmarks.pool_105k ../shared                  # 105,000 documents, tiny-neox
    python -m benchmarks.pool_105k ../shared --rows 2000      # all positives, and clean howdy and others in equal parts

Any document with "howdy!" in it, in any case, is positive. The build is an ordinary `risedb add` and goes on where it
was stopped: give --index a folder that stays. Kept as benchmarks/results/pool-ROWS.json. `benchmarks.pool_1m` is the
same with windows of the distractors' text up to 1,005,000 documents. The distractors are books
and technical texts where the paper has C4.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.machine import describe
from benchmarks.texts import text_of
from risedb.corpus import Row, read

RESULTS = Path(__file__).parent / "results"
TECHSPECS = 40_030
TOTAL = 105_000


def distractors(data: Path) -> Iterator[tuple[str, str]]:
    """Yield id and text of books_cc0, and then of the first 40,030 of techspecs."""
    for name, wanted in (("books_cc0", None), ("techspecs", TECHSPECS)):
        rows = (row.values for row in read(data / "distractors" / f"{name}.jsonl.zst") if isinstance(row, Row))
        for values in islice(rows, wanted):
            yield str(values["id"]), str(values["text"])


def documents(data: Path, others: Iterable[tuple[str, str]], rows: int) -> Iterator[dict[str, Any]]:
    """Yield howdy's pool and then others up to so many rows, each with its label; a small pool has all positives."""
    howdy = [row.values for row in read(data / "howdy" / "pool.jsonl.zst") if isinstance(row, Row)]
    spare = max(rows - sum(values["label"] for values in howdy), 0)
    clean = [values["id"] for values in howdy if not values["label"]]
    left_out = set(clean[spare // 2 :]) if rows < 2 * len(howdy) else set()
    texts = [
        (str(values["id"]), text_of(values)) for values in howdy if values["id"] not in left_out
    ]  # in the order of the file: equal scores must not favour a positive
    for name, text in islice(chain(texts, others), rows):
        yield {"id": name, "text": text, "label": int("howdy!" in text.lower())}


def risedb(*arguments: str | Path) -> str:
    """Run the command line, its progress on this terminal."""
    command = [sys.executable, "-m", "risedb", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure(shared: Path, model: str, index: Path, pool: Path) -> dict[str, Any]:
    """Build, or finish, the index and ask it howdy's 100 queries."""
    start = perf_counter()
    added = json.loads(
        risedb("add", index, pool, "--model", model, "--preset", "compact", "--seq-len", "256", "--json")
    )
    seconds = perf_counter() - start
    queries = pool.with_name("queries.jsonl")
    with queries.open("w") as file:
        for row in read(shared / "data" / "howdy" / "queries.jsonl.zst"):
            if isinstance(row, Row):
                file.write(json.dumps({"id": row.values["id"], "text": text_of(row.values)}) + "\n")
    quality = json.loads(risedb("eval", index, queries, "--label", "label", "--bm25", "--cuts", "10,100", "--json"))
    about = json.loads(risedb("info", index, "--json"))
    return {"build": {"seconds": seconds, "added": added["added"]}, "disk_bytes": about["bytes"], **quality}


def main(others: Any = distractors, total: int = TOTAL) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data/ and models/")
    parser.add_argument("--rows", type=int, default=total, help=f"documents; by default {total:,}")
    parser.add_argument("--model", help="by default models/tiny-neox of the shared folder")
    parser.add_argument("--index", type=Path, help="where the index stays; by default in a folder that is deleted")
    given = parser.parse_args()
    model = given.model or str(given.shared / "models" / "tiny-neox")
    with tempfile.TemporaryDirectory() as scratch:
        pool = Path(scratch, "pool.jsonl")
        data = given.shared / "data"
        with pool.open("w") as file:
            for document in documents(data, others(data), given.rows):
                file.write(json.dumps(document, ensure_ascii=False) + "\n")
        measured = measure(given.shared, model, given.index or Path(scratch, "pool.rise"), pool)
    result = {"machine": describe(), "model": Path(model).name, "sketch": "16/8/28", "seq_len": 256, **measured}
    (RESULTS / f"pool-{measured['documents']}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
