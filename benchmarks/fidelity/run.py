"""What the finished steps of benchmarks.reproduce found."""

from collections.abc import Mapping
from typing import Any

from benchmarks.fidelity.claim import Curve
from benchmarks.fidelity.machines import Machines
from benchmarks.fidelity.paper import by_k
from benchmarks.rivals.task import POOLS

PARADIGMS = {"predict": "prospective", "recall": "retrospective"}
NEEDS_NO_MODEL = ("length", "random", "bm25", "embedding")


class Run:
    """Results by step.

    Parameters
    ----------
    kept
        Of each finished step its ``result``, ``seconds`` and ``machine``.

    Attributes
    ----------
    machines
        What the steps ran on.
    """

    def __init__(self, kept: Mapping[str, Mapping[str, Any]]) -> None:
        self.kept = kept
        self.machines = Machines(step["machine"] for step in kept.values())

    def result(self, step: str) -> dict[str, Any]:
        """Return what a step wrote; empty if it has not run or writes nothing."""
        return self.kept.get(step, {}).get("result") or {}

    def ran_on(self, step: str) -> str:
        """Say on which machine a step ran, with how many threads and how busy it was in the end."""
        machine = self.kept[step]["machine"]
        busy = ", ".join(f"{key} {machine[key]}" for key in ("threads", "load") if key in machine)
        return f"machine {self.machines.letter(machine)}" + (f" ({busy})" if busy else "")

    def methods(self, step: str) -> dict[str, dict[str, float]]:
        """Return the rows of a step that has one for each method."""
        return self.result(step).get("methods", {})

    def largest(self, method: str) -> str:
        """Say how many documents a method ranked at most, and for how many queries."""
        ranked = [self.result(step).get(method, {}) for step in self.kept]
        sizes = [(row["rows"], row["queries"]) for row in ranked if "rows" in row]
        traced = [self.result(step) for step in ("trex", "trex-sample") if method in self.methods(step)]
        sizes += [(found["pool"], found["queries"]) for found in traced]
        return "{:,} documents, {} queries".format(*max(sizes)) if sizes else "not measured"

    def curve(self, step: str, method: str) -> Curve:
        """Return one rival's auPRC by K; empty if it was not measured."""
        return by_k(self.result(step).get(method, {}))

    def choices(self, pool: str, paradigm: str) -> dict[str, Curve]:
        """Return RISE's auPRC at the pool's K by each choice of its identity and of the query."""
        rows = self.result(f"{paradigm}-{pool}").get(pool, {}).get(PARADIGMS[paradigm], {})
        wanted = [f"K = {k}" for k in POOLS[pool]]
        return {name: {key: by_k(row)[key] for key in wanted} for name, row in rows.items()}

    def energy(self, pool: str, paradigm: str) -> dict[str, float]:
        """Return the mean |r_t|^2 in queries, positives and negatives; empty if it was not measured."""
        return self.result(f"{paradigm}-{pool}").get(pool, {}).get("residual_energy", {}).get(PARADIGMS[paradigm], {})

    def rival(self, pool: str, paradigm: str, method: str) -> Curve:
        """Return a rival's auPRC on a whole pool, the same in both paradigms where it reads no model."""
        measured = "predict" if method in NEEDS_NO_MODEL else paradigm
        return self.curve(f"{measured}-rivals-{pool}", method)
