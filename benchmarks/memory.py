"""What a query allocates, seen from outside: a fresh process asks, this one watches its memory beyond mapped files.

    python -m benchmarks.memory POOL.rise QUERIES.npz --batch 100 --memory 64MiB

is the process that is watched. It opens the index, imports what a query will, says so, and asks when it is told to.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from risedb.cli.options import bytes_of
from risedb.config import ScoreConfig
from risedb.database.querying import Asking, Question
from risedb.database.where import Where
from risedb.signature import Block, Signatures
from risedb.storage import Store
from risedb.storage.codes import encode
from risedb.topk import Center, Plan, scan

PARTS = ("rh", "gh", "norms")


def watched(index: Path, queries: Path, *options: str) -> dict[str, float]:
    """Return MiB that a fresh process has beyond mapped files before it asks, and by how much they rise at most."""
    command = [sys.executable, "-m", "benchmarks.memory", str(index), str(queries), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        os.read(process.stdout.fileno(), 100)  # that it is ready
        before = peak = _anonymous(process.pid)
        os.write(process.stdin.fileno(), b"ask\n")
        while process.poll() is None:
            peak = max(peak, _anonymous(process.pid))
    if process.returncode:
        msg = f"{command} failed"
        raise RuntimeError(msg)
    return {"before_MiB": round(before / 2**20, 1), "rise_MiB": round((peak - before) / 2**20, 1)}


def _anonymous(process: int) -> int:
    """Return a process's resident bytes that are no file's; 0 once it is over."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 1024 * int(status.split("RssAnon:")[1].split()[0]) if "RssAnon:" in status else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("queries", type=Path, help="rh, gh and norms in a .npz")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--memory", default="256MiB")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--center", action="store_true")
    parser.add_argument("--torch", action="store_true", help="as where a model makes the queries")
    parser.add_argument("--repeat", type=int, default=5, help="ask so often, for who watches by sampling")
    choices = parser.parse_args()
    if choices.torch:
        import torch  # noqa: F401
    with np.load(choices.queries) as arrays:
        rows = [arrays[part][: choices.batch] for part in PARTS]
    question = Question(
        queries=Signatures(tuple(map(str, range(choices.batch))), *rows),
        where=Where(),
        score=ScoreConfig(),
        center=choices.center,
        memory_bytes=bytes_of(choices.memory),
    )
    store = Store(choices.index)
    asking, snapshot = Asking(store.config), store.snapshot()
    _load_code(question, asking._prepared(snapshot, replace(question, center=False))[2])
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(choices.repeat):
        asking.rank(snapshot, question, choices.k, bottom=False)
        asking._centers.clear()
    store.close()


def _load_code(question: Question, plan: Plan) -> None:
    """Ask the queries of themselves, so that what is imported and compiled is there."""
    own, dtype = question.queries, np.float16
    sequence, live = np.arange(len(own), dtype=np.uint64), np.ones(len(own), bool)
    rh, gh = own.rh.astype(dtype), own.gh.astype(dtype)
    codes = encode(rh, gh, own.norms)
    for mapped in (sequence, rh, gh, own.norms, codes.codes, codes.scale, codes.error):
        mapped.setflags(write=False)  # loops are compiled anew for arrays that may be written
    block = Block(sequence, rh, gh, own.norms, live, codes.codes, codes.scale, codes.error)
    center = Center.of(lambda: [block], question.score, plan) if question.center else None
    scan([block], question.vectors(center), question.score, k=1, center=center, plan=plan)


if __name__ == "__main__":
    main()
