"""``risedb backup``: a copy of an index that may be written meanwhile."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from risedb.cli import options
from risedb.cli.render import print_json


def backup(
    index: options.Index,
    target: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the copy goes; must not exist.", show_default=False)
    ],
    json: options.Json = False,
) -> None:
    """Copy an index as of its newest commit, whole, even while others add to it."""
    from risedb.storage import backup as copy_index

    commit = copy_index(index, target)
    if json:
        print_json({"commit": commit.number, "rows": commit.rows, "folder": str(target)})
    else:
        sys.stderr.write(f"{target} has the {commit.rows:,} documents of commit {commit.number}\n")
