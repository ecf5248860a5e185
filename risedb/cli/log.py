"""``risedb log``: an index's history."""

from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer

from risedb.cli import options
from risedb.cli.render import print_json


def log(
    index: options.Index,
    most: Annotated[int, typer.Option("-n", min=1, help="Commits to show, newest first.")] = 20,
    json: options.Json = False,
) -> None:
    """Show the commits that can still be read with --at, newest first."""
    import risedb

    with risedb.open(index) as db:
        commits = list(islice(db.commits(), most))
    if json:
        print_json([asdict(commit) for commit in commits])
        return
    for commit in commits:
        time = commit.time[:19].replace("T", " ")
        change = f"{commit.added:+,}" + (f" -{commit.removed:,}" if commit.removed else "")
        typer.echo(f"{commit.number:>6}  {time}  {commit.what:<8} {change:>16}  {commit.rows:>10,} documents")
    if not commits:
        typer.echo("no commit yet")
