"""``risedb export``: documents and vectors for other tools."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from risedb.cli import options
from risedb.cli.render import print_json


def export(
    index: options.Index,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".parquet: ids, records, norms and vectors; .jsonl: the records, as they were added.",
            show_default=False,
        ),
    ],
    where: options.Where = None,
    at: options.At = None,
    json: options.Json = False,
) -> None:
    """Write the documents of an index to a file.

    [dim]risedb export pool.rise pool.parquet --where "label=1"[/dim]
    """
    import risedb
    from risedb.database.exporting import export as export_documents

    with risedb.open(index, at=at) as db:
        rows = export_documents(db.documents(where=where), out)
    if json:
        print_json({"rows": rows, "file": str(out)})
    else:
        sys.stderr.write(f"{rows:,} documents written to {out}\n")
