"""``risedb verify``: check an index against what was committed."""

from dataclasses import asdict
from typing import Annotated

import typer

from risedb.cli import options
from risedb.cli.render import print_json


def verify(
    index: options.Index,
    full: Annotated[
        bool,
        typer.Option("--full", help="Read every byte: all checksums, every row to its record and back."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Check an index. Exits 1 if something is wrong, and names it."""
    from risedb.database import verify as verify_index

    findings = verify_index(index, full=full)
    if json:
        print_json({"sound": not findings, "findings": [asdict(finding) for finding in findings]})
    elif findings:
        for finding in findings:
            typer.echo(f"{finding.place}: {finding.problem}")
    else:
        checked = "every checksum and every row" if full else "files and sizes; --full reads every byte"
        typer.echo(f"{index} is sound ({checked})")
    if findings:
        raise typer.Exit(1)
