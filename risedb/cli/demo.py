"""``risedb demo``: the whole of RiseDB on this machine, with no network."""

import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from risedb.cli.progress import add_progress
from risedb.cli.render import print_ranking, print_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from risedb.corpus import BadRow, Row
    from risedb.database import RiseDB

_QUESTIONS = (
    "Encode the bytes-like object using Base64 and return the encoded bytes.",
    "Copy the file from src to dst. If follow_symlinks is false and src is a symlink, a new symlink is created.",
    "Turn right and move. Example (for a Turtle instance named turtle): >>> turtle.right(45) >>> turtle.heading()",
)
_LATER = {"email", "ftplib", "http", "imaplib", "nntplib", "poplib", "smtplib", "ssl", "urllib", "xmlrpc"}
_ASKED_AGAIN = "Return the message's header value, encoded with the charset as base64 or quoted-printable."


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(help="Make the index here and keep it.", metavar="IDX", show_default=False),
    ] = None,
) -> None:
    """Sign this machine's own Python documentation, ask, add more, ask again. No network is used."""
    import risedb
    from risedb.corpus import read_python_docs

    rows = [(row, str(row.values["source"])) for row in read_python_docs()]
    pool = [row for row, source in rows if source not in _LATER]
    later = [row for row, source in rows if source in _LATER]
    temporary = tempfile.TemporaryDirectory(prefix="risedb-demo-")
    with nullcontext(keep.parent) if keep else temporary as folder:
        path = keep or Path(folder) / "python.rise"
        start = perf_counter()
        _say(f"{len(pool):,} passages of this Python's documentation, signed by the model that RiseDB carries:\n")
        _say(f"$ risedb add {path.name} passages.jsonl --model demo")
        with risedb.open(path, "demo", create=True) as db:
            _add(db, pool)
            _say(f"{perf_counter() - start:.0f} s, {db.info()['bytes'] / 2**20:.0f} MiB in one folder\n")
            for question in (*_QUESTIONS, _ASKED_AGAIN):
                _ask(db, question)
            _say(f"{len(later):,} passages more, on mail, web and networks; nothing is refitted:\n")
            _say(f"$ risedb add {path.name} more.jsonl")
            _add(db, later)
            _say("\nThe last question again:\n")
            _ask(db, _ASKED_AGAIN)
    _say("This model has 3.4 M parameters and knows Python's documentation; its first hits mean more than its third.")
    _say("Your own: risedb add pool.rise pool.jsonl --model EleutherAI/pythia-160m")
    if keep:
        _say(f'The index is kept: risedb query {keep} --text "…"')


def _add(db: "RiseDB", rows: "Sequence[Row | BadRow]") -> None:
    with add_progress(len(rows)) as progress:
        print_report(db.add(rows, progress=progress))


def _ask(db: "RiseDB", question: str) -> None:
    _say(f'$ risedb query {db.path.name} -k 3 --text "{question}"')
    start = perf_counter()
    (ranking,) = db.query(question, k=3)
    seconds = perf_counter() - start
    print_ranking(ranking, f"{1000 * seconds:.0f} ms", db.fields, sys.stdout)


def _say(line: str) -> None:
    typer.echo(line)
