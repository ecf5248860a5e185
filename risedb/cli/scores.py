"""``risedb scores``: every document's score, for curation and evaluation by other tools."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risedb.cli import options
from risedb.cli.render import output

if TYPE_CHECKING:
    from risedb.database import Choices


@options.with_groups(scoring=options.scoring, opening=options.opening, meaning=options.meaning)
def scores(
    *,
    index: options.Index,
    sources: options.Queries = None,
    text: options.QueryTexts = None,
    id_: options.QueryIds = None,
    minus: options.Minus = None,
    mean: options.Mean = False,
    scoring: "Choices",
    at: options.At = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="scores.npy: a float64 array (documents, queries), the ids in scores.ids.json; any other name, or "
            "none: JSON lines.",
            show_default=False,
        ),
    ] = None,
    opening: dict[str, Any],
    meaning: dict[str, Any],
) -> None:
    """Score every document, exactly: a line or row each, in the order of insertion, a number for each query.

    [dim]risedb scores pool.rise queries.jsonl --mean --out scores.npy[/dim]

    Queries stand in the order: --id, --text, FILE.
    """
    import risedb
    from risedb.cli.queries import signed
    from risedb.corpus import read, read_all

    choices: Choices = {"pool": "mean" if mean else "each", **scoring}
    rows = read_all(sources or [])  # bad names fail before the model loads
    with risedb.open(index, at=at, **opening) as db:
        fields = replace(db.fields, **meaning)
        if minus is not None:
            choices["minus"] = db.sign(read(minus), fields=fields)
        parts = [one for one, _ in signed(db, id_ or [], text or [], rows, fields)]
        queries = type(parts[0]).concatenate(parts)
        if out is not None and out.suffix == ".npy":
            count = db.save_scores(out, queries, **choices)
            sys.stderr.write(f"{count:,} x {1 if mean else len(queries):,} scores written to {out}\n")
            return
        with output(out) as file:
            for part in db.scores(queries, **choices):
                for name, row in zip(part.ids, part.scores.tolist(), strict=True):
                    file.write(json.dumps({"id": name, "scores": row}, ensure_ascii=False) + "\n")
