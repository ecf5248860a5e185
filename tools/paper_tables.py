"""Read the paper's tables of numbers out of its text, into benchmarks/paper_tables.json.

    python tools/paper_tables.py ../shared/paper/rise-2604.16197v1.txt

Each table becomes its columns and rows: first the names that a row goes by (none where the table leaves a place empty),
then numbers; null stands for out of memory, not a number, and not there. Sizes are in MB (1 GB = 1,000 MB), times in
seconds, shares in percent. Left out: Table 5 (notation) and Table 6 (hyperparameters, whose numbers the text runs
together with their typeset copies, `512512`).
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parents[1] / "benchmarks" / "paper_tables.json"

UNITS = {"MB": 1, "GB": 1e3, "TB": 1e6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "%": 1, "M": 1}
MISSING = "OOM|NaN|N/A"
NUMBER = r"-?(?:\d{1,3}(?:,\d{3})+|\d*\.?\d+)"
ATOM = rf"(?:{MISSING}|{NUMBER}(?: ?(?:{'|'.join(UNITS)})(?![A-Za-z]))?)"
BETWEEN = r"(?: |/|\[|, )+"

LOST = {  # what typesetting said and the text does not
    "Base Model 36.71": "Base Model N/A 36.71",  # a dash
    "N/A 0.271 .009": "N/A N/A N/A N/A 0.271 .009",  # one cell across two columns of mean and spread
}

MODEL = r"(?:Pythia|OLMo)-\S+"


@dataclass(frozen=True, slots=True)
class Table:
    """One table: how many rows, the columns of their names and of their numbers.

    Parameters
    ----------
    rows
        How many the table has.
    names
        Columns of names. Of two, the first is written in the first row of a group only.
    numbers
        Columns of numbers, in the order of the text.
    group
        Pattern of the first of two names.
    prose
        Whether words follow the numbers.
    """

    rows: int
    names: tuple[str, ...]
    numbers: tuple[str, ...]
    group: str = MODEL
    prose: bool = False


def at(*cuts: int) -> tuple[str, ...]:
    return tuple(f"{measure}@{k}" for k in cuts for measure in ("auPRC", "auROC"))


def spread(*names: str) -> tuple[str, ...]:
    return tuple(f"{name} {part}" for name in names for part in ("mu", "delta"))


HOWDY, BRAIN_ROT, ONE, TWO = at(5, 10, 50, 100), at(5, 10, 25, 50), ("method",), ("model", "method")
UNIFIED = spread("howdy", "finance-medical", "brain-rot", "overall")
SPARSE = ("GH cosine", "probability mass %", "support %")
COST = ("disk MB", "build s", "GPU MB", "query s")
LARGE = ("disk MB", "query s", "precision@10 %", "precision@100 %", "auPRC@10", "auPRC@100", "auROC@10", "auROC@100")

CONTENTS = {
    1: Table(7, ("candidate",), ("rank RH", "rank GH")),
    2: Table(11, TWO, (*COST, *at(5, 10, 50))),
    3: Table(28, TWO, UNIFIED),
    4: Table(6, ONE, ("purity %", "control perplexity", "junk perplexity", "RULER CWE", "ARC")),
    7: Table(3, ("task",), ("documents", "positives", "positives %"), prose=True),
    8: Table(4, ("model",), ("vocabulary", "hidden", "million parameters", "disk MB")),
    9: Table(6, ("pool", "method"), ("disk MB", *at(5, 50)), r"\S+"),
    10: Table(6, ("K",), SPARSE),
    11: Table(8, ("model", "state"), SPARSE),
    12: Table(7, ("tau",), ("GH cosine", "probability mass %", "relative error")),
    13: Table(9, TWO, at(100, 200)),
    14: Table(4, ONE, ("disk MB", *at(5, 10))),
    15: Table(6, ("projection", "pool"), ("Base", "UnitNorm", "Hessian", "Both"), "16|32"),
    16: Table(5, ONE, ("LDS", "low", "high")),
    17: Table(6, ("method", "pool"), ("MRR", "recall@10"), "TrackStar|RISE"),
    18: Table(6, TWO, ("auPRC@5", "auPRC@10", "auPRC@50", "GPU hours", "memory MB")),
    19: Table(4, ("method", "model"), ("disk MB", "seconds", *BRAIN_ROT[::2]), "RISE|LoGra|EK-FAC"),
    20: Table(30, ("model", "channels"), HOWDY),
    21: Table(30, ("model", "channels"), HOWDY),
    **dict.fromkeys((22, 23, 26, 27), Table(30, TWO, HOWDY)),
    **dict.fromkeys((24, 25), Table(14, TWO, HOWDY)),
    **dict.fromkeys((28, 29), Table(10, TWO, HOWDY)),
    **dict.fromkeys((30, 31), Table(30, TWO, BRAIN_ROT)),
    **dict.fromkeys((32, 33), Table(14, TWO, BRAIN_ROT)),
    34: Table(12, TWO, UNIFIED),
    35: Table(4, ("method", "pool"), LARGE, "RISE|BM25"),
}


def number(atom: str) -> float | None:
    """Return what one cell says, in the unit of its kind; None for a missing one."""
    if atom in MISSING.split("|"):
        return None
    digits, unit = re.fullmatch(r"(.*?) ?([A-Za-z%]*)", atom).groups()
    return float(f"{float(digits.replace(',', '')) * UNITS.get(unit, 1):.12g}")  # 0.0176, not 0.017600000000000001


def rows(table: Table, lines: list[str]) -> Iterator[list[Any]]:
    """Yield the rows that follow one another below a caption; lines above the first one are headings."""
    atoms = rf"((?:{BETWEEN}{ATOM}){{{len(table.numbers)}}})\]?"
    shape = re.compile(rf"(.*?){atoms}{'.*' if table.prose else ''}")
    group: str | None = None
    begun = False
    for line in lines:
        matched = shape.fullmatch(cleaned(line, len(table.numbers)))
        if not matched:
            if begun:
                return
            continue
        begun, names = True, [matched[1]]
        if len(table.names) == 2:
            first = re.match(rf"(?:{table.group})(?= )", matched[1])
            group = first[0] if first else group
            names = [group, matched[1].removeprefix(first[0] if first else "").strip()]
        yield [*names, *map(number, re.findall(rf"{BETWEEN}({ATOM})", matched[2]))]


def cleaned(line: str, numbers: int) -> str:
    """Leave out what is typeset twice, and say what was lost."""
    line = re.sub(r"\s?±\\pm", " ", line).replace(" \\downarrow", "").replace(" \\uparrow", "")
    for text, meant in LOST.items():
        line = line.replace(text, meant)
    return line.replace("Out of Memory", " ".join(["OOM"] * numbers))


def extract(text: str) -> dict[str, Any]:
    """Return every table of `CONTENTS`.

    Raises
    ------
    ValueError
        If a table has not the rows it should have.
    """
    lines = text.splitlines()
    tables = {}
    for name, table in sorted(CONTENTS.items()):
        (caption,) = [i for i, line in enumerate(lines) if line.startswith(f"Table {name}:")]
        found = list(rows(table, lines[caption + 1 : caption + 60]))
        if len(found) != table.rows:
            msg = f"Table {name} has {len(found)} rows that can be read, and should have {table.rows}"
            raise ValueError(msg)
        tables[str(name)] = {"columns": [*table.names, *table.numbers], "rows": found}
    return tables


def as_json(tables: dict[str, Any]) -> str:
    """Write one row a line."""
    parts = []
    for name, table in tables.items():
        body = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in table["rows"])
        parts.append(f'"{name}": {{\n "columns": {json.dumps(table["columns"])},\n "rows": [\n{body}\n ]\n}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    TABLES.write_text(as_json(extract(Path(sys.argv[1]).read_text())))
