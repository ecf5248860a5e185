"""How results look: tables for people, JSON for programs. Text of documents is never interpreted as markup."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from risedb.corpus import Fields
    from risedb.database import AddReport, Ranking


_FILE_WIDTH = 120  # of a table that goes to a file or a pipe


def printable(text: str) -> str:
    """Return a text on one line, without control characters that a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str, width: int) -> str:
    """Return the beginning of a text, :func:`printable` and with single spaces."""
    line = " ".join(printable(text[: 4 * width]).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def document_text(record: "Mapping[str, Any]", fields: "Fields") -> str:
    """Return what was signed of a record, as far as the fields tell; else the record itself."""
    from risedb.corpus import Document, Row

    document = fields.document(Row("", record))
    if isinstance(document, Document) and document.text is not None:
        return document.text
    if isinstance(document, Document) and document.messages is not None:
        return " / ".join(str(message["content"]) for message in document.messages)
    return json.dumps(dict(record), ensure_ascii=False)


def print_ranking(ranking: "Ranking", title: str, fields: "Fields", out: IO[str]) -> None:
    """Print a ranking: rank, score, id, the beginning of the text, a line each."""
    width = shutil.get_terminal_size().columns if out.isatty() else _FILE_WIDTH
    if title:
        out.write(one_line(title, width) + "\n")
    id_width = min(max([2, *(len(one_line(hit.id, width)) for hit in ranking)]), width // 4)
    for hit in ranking:
        name = one_line(hit.id, id_width)
        start = f"{hit.rank:>4}  {hit.score:7.4f}  {name:<{id_width}}  "
        text = one_line(document_text(hit.record, fields), max(width - len(start), 20))
        out.write(start + text + "\n")
    if not len(ranking):
        out.write("      no document\n")
    out.write("\n")


@contextmanager
def output(path: Path | None) -> Iterator[IO[str]]:
    """Open a file for text, or stdout if there is no path.

    Raises
    ------
    InvalidInput, OutOfSpace
        If the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        return
    from risedb.database.outfile import file_errors

    with file_errors(path), path.open("w", encoding="utf-8") as file:
        yield file


def print_json(value: object, out: IO[str] | None = None, *, indent: int | None = 2) -> None:
    """Print one JSON value and flush it."""
    out = out or sys.stdout
    json.dump(value, out, ensure_ascii=False, indent=indent)
    out.write("\n")
    out.flush()


_STAGES = {
    "forward": "forward pass",
    "head": "head and top-K",
    "sketch": "sketch",
    "wait for tokens": "waiting for tokens",
    "wait for disk": "waiting for the disk",
    "read": "beside it: read",
    "tokenise": "beside it: tokenise",
    "write": "beside it: write",
}


def print_seconds(seconds: "Mapping[str, float]") -> None:
    """Print where the time of an add went, on stderr."""
    sys.stderr.write(f"{seconds['total']:.1f} s, of which\n")
    for stage, name in _STAGES.items():
        sys.stderr.write(f"{seconds[stage]:10.1f} s {seconds[stage] / seconds['total']:5.0%}  {name}\n")


def print_report(report: "AddReport") -> None:
    """Print what an add did, on stderr."""
    counts = [f"{report.added:,} added"]
    counts += [f"{report.unchanged:,} unchanged"] if report.unchanged else []
    counts += [f"{report.updated:,} updated"] if report.updated else []
    counts += [f"{report.truncated:,} truncated to seq_len"] if report.truncated else []
    counts += [f"{len(report.skipped):,} skipped"] if report.skipped else []
    sys.stderr.write(f"{', '.join(counts)}; {report.rows:,} documents in the index\n")
    for skipped in report.skipped[:20]:
        sys.stderr.write(f"  skipped {one_line(skipped.place, 200)}: {one_line(skipped.reason, 400)}\n")
    if len(report.skipped) > 20:
        sys.stderr.write(f"  … and {len(report.skipped) - 20:,} more; --json lists all\n")
    if report.seconds is not None:
        print_seconds(report.seconds)
