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

_POOL_ROWS = 2400
_QUESTIONS = (
    "Return True if the pathname refers to an existing file or directory.",
    "The for statement is used to iterate over the elements of a sequence.",
    "Wait until the lock can be acquired, then release it when the thread is done.",
)
_LATER = {
    "email",
    "ftplib",
    "http",
    "imaplib",
    "nntplib",
    "poplib",
    "smtplib",
    "ssl",
    "urllib",
    "xmlrpc",
}
_ASKED_AGAIN = "Open a connection to the mail server and send the message to all recipients."


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
    pool = [row for row, source in rows if source not in _LATER][:_POOL_ROWS]
    later = [row for row, source in rows if source in _LATER]
    temporary = tempfile.TemporaryDirectory(prefix="risedb-demo-")
    with nullcontext(keep.parent) if keep else temporary as folder:
        path = keep or Path(folder) / "python.rise"
        _say(f"$ risedb add {path.name} - --model demo       # {len(pool):,} passages of Python's documentation")
        start = perf_counter()
        with risedb.open(path, "demo", create=True) as db:
            _add(db, pool)
            tokens_time = perf_counter() - start
            _say(f"signed and committed in {tokens_time:.0f} s, on this machine alone\n")
            for question in _QUESTIONS:
                _ask(db, question)
            _ask(db, _ASKED_AGAIN)
            _say(f"$ risedb add {path.name} -                    # {len(later):,} more, on mail, web and network")
            _add(db, later)
            _say("nothing was refitted; the same question again:\n")
            _ask(db, _ASKED_AGAIN)
    if keep:
        _say(f'the index is kept: risedb query {keep} --text "…"')
    else:
        _say("Now your own: risedb add pool.rise pool.jsonl --model EleutherAI/pythia-160m")


def _add(db: "RiseDB", rows: "Sequence[Row | BadRow]") -> None:
    with add_progress(len(rows)) as progress:
        print_report(db.add(rows, progress=progress))


def _ask(db: "RiseDB", question: str) -> None:
    start = perf_counter()
    (ranking,) = db.query(question, k=4)
    seconds = perf_counter() - start
    _say(f'$ risedb query python.rise -k 4 --text "{question}"    # {1000 * seconds:.0f} ms')
    print_ranking(ranking, "", db.fields, sys.stdout)


def _say(line: str) -> None:
    typer.echo(line)
