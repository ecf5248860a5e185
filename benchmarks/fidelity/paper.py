"""The paper's tables as numbers (tools/paper_tables.py reads them out of its text)."""

import json
from pathlib import Path
from typing import Any

from benchmarks.fidelity.claim import Curve, Pair

TABLES = Path(__file__).parents[1] / "paper_tables.json"


class Paper:
    """Rows by their names.

    Parameters
    ----------
    tables
        By default the kept ones.
    """

    def __init__(self, tables: dict[str, Any] | None = None) -> None:
        self.tables = tables or json.loads(TABLES.read_text())

    def row(self, table: int, *names: str | None) -> Curve:
        """Return one row's numbers by column, without those that are missing; empty if there is no such row."""
        columns = self.tables[str(table)]["columns"][len(names) :]
        for row in self.tables[str(table)]["rows"]:
            if tuple(row[: len(names)]) == names:
                values = zip(columns, row[len(names) :], strict=True)
                return {column: value for column, value in values if value is not None}
        return {}

    def curve(self, table: int, *names: str | None) -> Curve:
        """Return one row's auPRC by K."""
        return by_k(self.row(table, *names))

    def models(self, table: int) -> list[str]:
        """Return whose rows a table has."""
        return list(dict.fromkeys(row[0] for row in self.tables[str(table)]["rows"] if row[0]))

    def every(self, table: int, method: str) -> list[Curve]:
        """Return a method's auPRC for each model; what needs no model has one row for all."""
        return [self.curve(table, model, method) or self.curve(table, None, method) for model in self.models(table)]

    def pairs(self, table: int, first: str, second: str) -> list[Pair]:
        """Return two methods' auPRC for each model that has both."""
        return [pair for pair in zip(self.every(table, first), self.every(table, second), strict=True) if all(pair)]


def by_k(row: dict[str, float]) -> Curve:
    """Return the auPRC of a row by K, whether its columns are called ``auPRC@5`` or ``auprc@5``."""
    return {f"K = {key[6:]}": value for key, value in row.items() if key.lower().startswith("auprc@")}
