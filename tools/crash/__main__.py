"""``python -m tools.crash kill|states|faults|load``: print what was found as JSON; exit 1 if a promise was broken."""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import machine
from tools.crash import faults, kill, load, process, states

_GROWTH = 32  # MiB that a process may grow from a quarter of its time on: what is cached varies


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.crash", description=__doc__)
    verbs = parser.add_subparsers(required=True, dest="verb")
    killing = verbs.add_parser("kill", help="kill writers at every system call that changes the disk")
    killing.set_defaults(run=_kill)
    killing.add_argument("--operations", type=int, default=12, help="of each seed, after the history")
    killing.add_argument("--most", type=int, default=10_000, help="kills at system calls, of each seed")
    killing.add_argument("--random", type=int, default=50, help="kills at random times, of each seed")
    cutting = verbs.add_parser("states", help="check what a power cut may leave after each call of a writer")
    cutting.set_defaults(run=_states)
    cutting.add_argument("--operations", type=int, default=12, help="of each seed, after the history")
    cutting.add_argument("--most", type=int, default=10_000, help="states of each seed")
    cutting.add_argument("--random", type=int, default=3, help="random states after each call")
    failing = verbs.add_parser("faults", help="let LMDB's writes and syncs fail one at a time")
    failing.set_defaults(run=_faults)
    failing.add_argument("--operations", type=int, default=12, help="of each seed, after the history")
    failing.add_argument("--most", type=int, default=10_000, help="faults of each seed")
    loading = verbs.add_parser("load", help="one writer and many readers at once")
    loading.set_defaults(run=_load, most=0)
    loading.add_argument("--seconds", type=float, default=600)
    loading.add_argument("--readers", type=int, default=8)
    for verb in (killing, cutting, failing):
        verb.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
        verb.add_argument("--jobs", type=int, default=2, help="processes that kill")
    for verb in (killing, cutting, failing, loading):
        verb.add_argument("--json", type=Path, help="a file that keeps the newest result of each verb")
    options = parser.parse_args()
    if options.most and (reason := process.why_not()):
        print(reason, file=sys.stderr)
        return 2
    begun = time.monotonic()
    result = options.run(options)
    result = {"machine": machine.describe(), "seconds": round(time.monotonic() - begun), **result}
    if options.json:
        kept = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(kept | {options.verb: result}, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 1 if result["failures"] else 0


def _kill(options: argparse.Namespace) -> dict[str, Any]:
    arguments = [(seed, options.operations, options.most, options.random) for seed in options.seeds]
    table: dict[str, dict[str, int]] = defaultdict(lambda: {"kills": 0, "too_late": 0, "failures": 0})
    failures = []
    for outcome in _in_processes(kill.run, arguments, options.jobs):
        row = table[outcome.kill.name]
        row["kills" if outcome.killed else "too_late"] += 1
        if outcome.problems:
            row["failures"] += 1
            failures.append({"kill": str(outcome.kill), "problems": outcome.problems})
    return {
        "seeds": options.seeds,
        "operations": options.operations,
        "kills": sum(row["kills"] for row in table.values()),
        "calls": dict(sorted(table.items())),
        "failures": failures,
    }


def _states(options: argparse.Namespace) -> dict[str, Any]:
    arguments = [(seed, options.operations, options.most, options.random) for seed in options.seeds]
    outcomes = list(_in_processes(states.run, arguments, options.jobs))
    return {
        "operations": options.operations,
        "checked": sum(outcome.checked for outcome in outcomes),
        "seeds": [
            {"seed": one.seed, "calls": one.calls, "states": one.states, "checked": one.checked} for one in outcomes
        ],
        "failures": [problem for one in outcomes for problem in one.problems],
    }


def _faults(options: argparse.Namespace) -> dict[str, Any]:
    arguments = [(seed, options.operations, options.most) for seed in options.seeds]
    outcomes = list(_in_processes(faults.run, arguments, options.jobs))
    table: dict[str, dict[str, int]] = defaultdict(lambda: {"faults": 0, "refused": 0, "failures": 0})
    for outcome in outcomes:
        row = table[f"{outcome.fault.name} {outcome.fault.error}"]
        row["faults"] += 1
        row["refused"] += bool(outcome.refused)
        row["failures"] += bool(outcome.problems)
    return {
        "seeds": options.seeds,
        "operations": options.operations,
        "faults": len(outcomes),
        "refused": sum(row["refused"] for row in table.values()),
        "calls": dict(sorted(table.items())),
        "failures": [f"{outcome.fault}: {outcome.problems}" for outcome in outcomes if outcome.problems],
    }


def _load(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="risedb-load-") as folder:
        writer, readers = load.run(Path(folder, "pool.rise"), options.seconds, options.readers)
    early, late = zip(*(one.memory_mib for one in (writer, *readers)), strict=True)
    grown = [f"a process grew from {a:.0f} to {b:.0f} MiB" for a, b in zip(early, late, strict=True) if b > a + _GROWTH]
    return {
        "readers": len(readers),
        "changes": writer.rounds,
        "snapshots": sum(one.rounds for one in readers),
        "rows_checked": sum(one.rows for one in readers),
        "memory_mib": {"writer": writer.memory_mib, "readers": [one.memory_mib for one in readers]},
        "failures": [problem for one in readers for problem in one.problems] + grown,
    }


def _in_processes(function: Any, arguments: list[tuple[Any, ...]], jobs: int) -> Iterable[Any]:
    """Yield what a function's calls return, made in processes that open nothing themselves, since they fork."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for results in pool.map(function, *zip(*arguments, strict=True)):
            yield from results


if __name__ == "__main__":
    sys.exit(main())
