"""``risedb info``: what an index is."""

from dataclasses import fields
from typing import Any

import typer

from risedb.cli import options
from risedb.cli.render import print_json
from risedb.config import ReadoutConfig


def info(index: options.Index, json: options.Json = False) -> None:
    """Show how many documents an index holds, in how many bytes, and the numbers they were signed with."""
    import risedb

    with risedb.open(index) as db:
        about = db.info()
    if json:
        print_json(about)
        return
    if "checkpoints" in about:
        typer.echo(f"{'documents':<13}{about['rows']:,}, which all checkpoints have")
        typer.echo(f"{'disk':<13}{about['bytes'] / 2**20:,.1f} MiB")
        for child in about["checkpoints"]:
            typer.echo(f"\n{child['path']}\n{'weight':<13}{child['weight']:g}")
            _print(child)
    else:
        _print(about)


def _print(about: dict[str, Any]) -> None:
    identity = about["identity"]
    lines = {
        "documents": f"{about['rows']:,}",
        "segments": f"{about['segments']:,}, and {about['tail_rows']:,} rows in the tail",
        "commit": f"{about['commit']:,}, {about['dead_rows']:,} dead rows until risedb compact",
        "disk": f"{about['bytes'] / 2**20:,.1f} MiB"
        + (f" ({about['bytes'] / about['rows']:,.0f} bytes a document)" if about["rows"] else ""),
        "model": f"{about['model']}" + (f" @ {about['revision']}" if about["revision"] else ""),
        "sketch": f"{identity['kr']}/{identity['kh']}/{identity['kg']}, seed {identity['seed']}, {about['dtype']}",
        "readout": ", ".join(f"{one.name} {identity[one.name]}" for one in fields(ReadoutConfig)),
        "fingerprints": f"model {identity['model']}, tokenizer {identity['tokenizer']}",
        "fields": ", ".join(f"{name} {value!r}" for name, value in about["fields"].items()),
    }
    for name, value in lines.items():
        typer.echo(f"{name:<13}{value}")
