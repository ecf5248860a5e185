"""``risedb repair``: a sound index from what is left of a damaged one."""

import sys
from dataclasses import asdict

import typer

from risedb.cli import options
from risedb.cli.render import one_line, print_json


def repair(index: options.Index, json: options.Json = False) -> None:
    """Rebuild the catalog from sound files. Damaged ones are set aside in IDX/damaged; nothing is deleted.

    Exits 1 if anything was lost, and names it.
    """
    from risedb.storage import repair as repair_index

    report = repair_index(index)
    if json:
        print_json(asdict(report))
    elif not report.changed:
        typer.echo(f"{index} is sound; nothing was done")
    else:
        sys.stderr.write(f"repaired; {report.rows:,} documents in the index\n")
        for aside in report.set_aside:
            sys.stderr.write(f"  set aside: {aside['now']} ({one_line(aside['problem'], 200)})\n")
        for lost in report.lost:
            sys.stderr.write(f"  lost: {one_line(lost, 400)}\n")
    if report.lost:
        raise typer.Exit(1)
