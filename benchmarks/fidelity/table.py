"""Markdown tables of numbers."""

from collections.abc import Mapping, Sequence

from benchmarks.fidelity.claim import Curve
from benchmarks.fidelity.methods import title


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> str:
    """Return a Markdown table; the first columns are text, the others are numbers."""
    lines = [head, [*["---"] * text, *["--:"] * (len(head) - text)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def beside(rows: Mapping[str, Curve], theirs: Mapping[str, Curve], columns: Mapping[str, str], digits: int = 3) -> str:
    """Return a table of this run's columns, by the paper's names for them, each followed by the paper's own."""
    head = [name for paper in columns.values() for name in (paper, f"paper: {paper}")]
    lines = []
    for method, row in rows.items():
        pairs = [(row.get(ours), theirs.get(method, {}).get(paper)) for ours, paper in columns.items()]
        lines.append([title(method), *(number(value, digits) for pair in pairs for value in pair)])
    return table(("", *head), lines)
