"""Filter a million rows by their columns, beside reading the same records as JSON.

    python benchmarks/where.py

The rows lie in the 22 segments that a million `compact` signatures make. Cold is a new process's first filter: the
files' pages are in memory, but nothing is mapped, checked or unpacked. Reading JSON instead is timed on one segment's
worth of records, without the disk, and multiplied. A minute; keeps benchmarks/results/where.json.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.machine import describe
from risedb.database.where import Where
from risedb.storage.checksum import crc32c
from risedb.storage.columns import Columns, columns_bytes

RESULT = Path(__file__).parent / "results" / "where.json"
ROWS, SEGMENTS, REPEATS = 1_000_000, 22, 20
FILTERS = (
    "source=c4",
    "source != c4 and label in (1, 2)",
    "score >= 0.9",
    'title = "document 77 of wikipedia"',
    "id in (doc-17, doc-500000, doc-999999)",
    "source=c4 and score < 0.25 and label=1",
)


def records(start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Yield records with a field of each kind: few values, many numbers, all different, now and then absent."""
    rng = random.Random(start)
    for i in range(start, stop):
        source = rng.choice(("c4", "wikipedia", "github", "books", "the stack"))
        record = {
            "id": f"doc-{i}",
            "source": source,
            "label": rng.randrange(4),
            "score": round(rng.random(), 6),
            "title": f"document {rng.randrange(10_000)} of {source}",
            "text": f"{i} " * 100,
        }
        if rng.random() < 0.5:
            record["split"] = "train"
        yield record


def open_columns(folder: Path) -> list[Columns]:
    """Map and check each file, as a segment does at first touch."""
    opened = []
    for file in sorted(folder.iterdir()):
        data = np.memmap(file, np.uint8, "r")
        crc32c(data)
        opened.append(Columns(data))
    return opened


def matching(columns: list[Columns], where: Where) -> int:
    """Count the rows that meet a filter."""
    count = 0
    for one in columns:
        masks = [one.mask(condition) for condition in where.conditions]
        count += int(np.count_nonzero(np.logical_and.reduce([mask for mask in masks if mask is not None])))
    return count


def cold(folder: Path, text: str) -> None:
    """Time a process's first filter, the import of pyarrow included, and print it."""
    begin = perf_counter()
    matching(open_columns(folder), Where.parse(text))
    print(perf_counter() - begin)


def write(folder: Path) -> dict[str, float]:
    """Write the segments' columns; say how long that took and how large they are."""
    seconds = 0.0
    size = 0
    bounds = np.linspace(0, ROWS, SEGMENTS + 1).astype(int).tolist()
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        rows = list(records(start, stop))
        begin = perf_counter()
        data = columns_bytes(rows)
        seconds += perf_counter() - begin
        (folder / f"{number:02}.arrow").write_bytes(data)
        size += len(data)
    return {"write_seconds": seconds, "bytes": size}


def spread(times: list[float]) -> dict[str, float]:
    return {"median": 1000 * median(times), "least": 1000 * min(times), "most": 1000 * max(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cold", nargs=2, metavar=("FOLDER", "WHERE"), help=argparse.SUPPRESS)
    if asked := parser.parse_args().cold:
        cold(Path(asked[0]), asked[1])
        return
    result: dict[str, Any] = {"machine": describe(), "rows": ROWS, "segments": SEGMENTS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result |= write(folder)
        lines = [json.dumps(record) for record in records(0, ROWS // SEGMENTS)]
        columns, result["milliseconds"] = open_columns(folder), {}
        for text in FILTERS:
            where = Where.parse(text)
            first = [
                float(subprocess.check_output([sys.executable, "-m", "benchmarks.where", "--cold", name, text]))
                for _ in range(5)
            ]
            rows = matching(columns, where)
            times = []
            for _ in range(REPEATS):
                begin = perf_counter()
                matching(columns, where)
                times.append(perf_counter() - begin)
            begin = perf_counter()
            for line in lines:
                where.matches(json.loads(line))
            parsing = 1000 * (perf_counter() - begin) * SEGMENTS
            result["milliseconds"][text] = {
                "rows": rows,
                "warm": spread(times),
                "cold": spread(first),
                "parsing_every_record_instead": parsing,
                "ratio_warm": parsing / spread(times)["median"],
            }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
