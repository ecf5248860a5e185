"""Measure what the paper measured, as far as an hour on two cores goes, and write it beside the paper's numbers.

    python -m benchmarks.reproduce ../shared        # or: make reproduce

Each step is one of this repository's programs. What it found, how long it took and what it said are kept in a folder
(`reproduced/`), and a finished step is not run again. A step that would not fit into the hour any more, by the minutes
that it took when this was written, is left for the next call. `--only STEP` runs one, whatever it takes. The report is
written after every step: benchmarks/results/fidelity.md, with all numbers in fidelity.json.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.fidelity import report
from benchmarks.machine import describe
from benchmarks.texts import TEMPLATE

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SAMPLE = ("--rows", "500", "--queries", "50")  # as in Table 14
SMALLEST = ("--rows", "100", "--queries", "5", "--permutations", "8")
WHOLE = "length,random,bm25,embedding,input-embedding,hidden,rise"
SAMPLED = (
    f"{WHOLE},rise-rh,rise-gh,head-exact,sparse-rh-exact,grad-sketch,pca,tracin,tracin-cosine,rapidin,zo-inf,"
    "trackstar,trackstar-unit,logra,ek-fac"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One program, whose output goes where `--out` says.

    Parameters
    ----------
    name
        What its files are called.
    minutes
        What it took on two cores.
    command
        Module or file with arguments.
    needs
        A step that has to be finished before.
    """

    name: str
    minutes: float
    command: tuple[str, ...]
    needs: str | None = None


def steps(shared: Path, work: Path, model: str) -> list[Step]:
    """Return all steps, in the order in which an hour is spent."""

    def program(name: str, *options: str, tuned: str = model) -> tuple[str, ...]:
        return ("-m", f"benchmarks.{name}", str(shared), "--model", tuned, *options)

    def recall(pool: str, minutes: float) -> list[Step]:
        tuned, data = str(work / "models" / pool), str(shared / "data" / pool / "pool.jsonl.zst")
        how = ("--template", TEMPLATE, "--seq-len", "256", "--epochs", "3", "--lr", "5e-4", "--out", tuned)
        tune = Step(f"finetune-{pool}", 3 * minutes, ("tools/finetune.py", model, data, *how))
        norms = program("factor_norm", "--pool", pool, "--paradigm", "retrospective", tuned=tuned)
        rest = program("rivals", "--pool", pool, "--methods", "input-embedding,hidden", tuned=tuned)
        return [
            tune,
            Step(f"recall-{pool}", minutes, norms, tune.name),
            Step(f"recall-rivals-{pool}", minutes / 2, rest, tune.name),
        ]

    def predict(pool: str, minutes: float) -> list[Step]:
        rest = program("rivals", "--pool", pool, "--methods", WHOLE)
        return [
            Step(f"predict-{pool}", minutes, program("factor_norm", "--pool", pool)),
            Step(f"predict-rivals-{pool}", minutes, rest),
        ]

    def sample(pool: str, minutes: float, methods: str) -> Step:
        return Step(f"sample-{pool}", minutes, program("rivals", "--pool", pool, "--methods", methods, *SAMPLE))

    dearest = program("rivals", "--methods", "rise,zo-inf-own,tmc-shapley,g-shapley", *SMALLEST)
    facts = program("trex", "--methods", "random,bm25,hidden,rise,trackstar", "--rows", "1000", "--queries", "50")
    return [
        *predict("howdy", 4),
        *predict("brain-rot", 1.5),
        *predict("finance-medical", 6),
        sample("howdy", 11, SAMPLED),
        sample("brain-rot", 2, "rise,logra,ek-fac"),
        Step("diagnostics", 3, program("diagnostics")),
        Step("trex", 4, program("trex")),
        Step("trex-sample", 3, facts),
        *recall("brain-rot", 1.5),
        *recall("howdy", 4),
        Step("lds", 4, program("lds")),
        Step("closed-loop", 4, program("closed_loop")),
        Step("smallest-howdy", 6, dearest),
        *recall("finance-medical", 6),
    ]


def run(step: Step, work: Path, model: str) -> bool:
    """Run one step and keep what it found; False if it failed."""
    out = work / f"{step.name}.out.json"
    command = [sys.executable, *step.command]
    if "--out" not in command:
        command += ["--out", str(out)]
    start = monotonic()
    with (work / f"{step.name}.log").open("a") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        print(f"  failed, see {log.name}", file=sys.stderr)
        return False
    found = json.loads(out.read_text()) if out.exists() else None
    kept = {"model": Path(model).name, "seconds": monotonic() - start, "machine": describe(), "result": found}
    finished(step, work).write_text(json.dumps(kept, indent=1) + "\n")
    return True


def finished(step: Step, work: Path) -> Path:
    """Return the file that is there when a step is finished."""
    return work / f"{step.name}.json"


def write_report(everything: list[Step], work: Path) -> None:
    """Write what there is."""
    done = {step.name: finished(step, work) for step in everything}
    kept: dict[str, Any] = {name: json.loads(path.read_text()) for name, path in done.items() if path.exists()}
    (RESULTS / "fidelity.json").write_text(json.dumps(kept, indent=1) + "\n")
    (RESULTS / "fidelity.md").write_text(report(kept, [name for name in done if name not in kept]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with data/ and models/")
    parser.add_argument("--model", help="folder or hub id; by default models/tiny-neox of the shared folder")
    parser.add_argument("--work", type=Path, default=ROOT / "reproduced", help="folder for what steps leave")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", metavar="STEP", help="this one alone")
    given = parser.parse_args()
    work = given.work.resolve()
    model = given.model or str(given.shared.resolve() / "models" / "tiny-neox")
    everything = steps(given.shared.resolve(), work, model)
    if given.only and given.only not in {step.name for step in everything}:
        parser.error(f"no step is called {given.only}; there are {', '.join(step.name for step in everything)}")
    (work / "models").mkdir(parents=True, exist_ok=True)
    start, failed = monotonic(), False
    for step in everything:
        left = given.minutes - (monotonic() - start) / 60
        unready = step.needs and not (work / f"{step.needs}.json").exists()
        if finished(step, work).exists() or (given.only or step.name) != step.name or unready:
            continue
        if step.minutes > left and not given.only:
            print(f"{step.name} takes {step.minutes:g} minutes, {left:.0f} are left: run again to go on", flush=True)
            continue
        print(f"{step.name}, about {step.minutes:g} minutes", flush=True)
        failed |= not run(step, work, model)
        write_report(everything, work)
    write_report(everything, work)
    print(RESULTS / "fidelity.md")
    sys.exit(failed)


if __name__ == "__main__":
    main()
