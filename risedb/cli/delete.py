"""``risedb delete``: documents out for good."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from risedb.cli import options
from risedb.cli.render import one_line, print_json
from risedb.errors import InvalidInput

_SHOWN = 20  # ids that a person is shown


def delete(
    index: options.Index,
    id_: Annotated[
        list[str] | None,
        typer.Option("--id", help="A document to delete; may be repeated.", show_default=False),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A text file of ids, one a line; - is stdin.", show_default=False),
    ] = None,
    where: options.Where = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Delete documents: no query sees them any more. `risedb compact` gives their space back.

    [dim]risedb delete pool.rise --where "source=scraped and score < 0.2" --dry-run[/dim]
    """
    import risedb

    if not (id_ or ids or where):
        msg = "nothing says what to delete; give --id, --ids or --where"
        raise InvalidInput(msg)
    named = [*(id_ or []), *(_lines(ids) if ids else ())]
    with risedb.open(index) as db:
        deleted = db.delete(named, where=where, preview=dry_run)
        rows = len(db)
    unknown = sorted(set(named) - set(deleted))
    if json:
        print_json({"deleted": deleted, "unknown": unknown, "rows": rows, "dry_run": dry_run})
        return
    will = "would be deleted" if dry_run else "deleted"
    sys.stderr.write(f"{len(deleted):,} {will}; {rows:,} documents in the index\n")
    _show("  ", deleted if dry_run else [])
    if unknown:
        sys.stderr.write(f"{len(unknown):,} of the ids are not in the index:\n")
        _show("  ", unknown)


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(sys.stdin.fileno(), closefd=False) if str(path) == "-" else path.open(encoding="utf-8") as file:
            yield from (line.rstrip("\r\n") for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as a text file of ids: {error}"
        raise InvalidInput(msg) from error


def _show(indent: str, names: list[str]) -> None:
    for name in names[:_SHOWN]:
        sys.stderr.write(f"{indent}{one_line(name, 200)}\n")
    if len(names) > _SHOWN:
        sys.stderr.write(f"{indent}… and {len(names) - _SHOWN:,} more; --json lists all\n")
