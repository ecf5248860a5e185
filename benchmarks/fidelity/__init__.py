"""A run's numbers beside the paper's: what was claimed, whether it is so here, and the report that says it."""

from benchmarks.fidelity.claim import Claim
from benchmarks.fidelity.claims import claims
from benchmarks.fidelity.paper import Paper
from benchmarks.fidelity.report import report
from benchmarks.fidelity.run import Run

__all__ = ["Claim", "Paper", "Run", "claims", "report"]
