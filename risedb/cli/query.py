"""``risedb query``: documents out, ranked."""

from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from risedb.cli import options
from risedb.cli.render import output, print_json, print_ranking
from risedb.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from risedb.corpus import BadRow, Row
    from risedb.database import Choices, Ranking, RiseDB

_OUTPUT = "Output"


@options.with_groups(scoring=options.scoring, opening=options.opening, meaning=options.meaning)
def query(
    *,
    index: options.Index,
    sources: options.Queries = None,
    text: options.QueryTexts = None,
    id_: options.QueryIds = None,
    minus: options.Minus = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Documents for each query.")] = 10,
    mean: options.Mean = False,
    bottom: Annotated[bool, typer.Option("--bottom", help="The least similar documents, least first.")] = False,
    scoring: "Choices",
    at: options.At = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="One JSON list, an object a query.", rich_help_panel=_OUTPUT),
    ] = False,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="An object a query and line, as they come.", rich_help_panel=_OUTPUT),
    ] = False,
    fields: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="JSON: only these of id and the record's fields.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write to a file instead of stdout.", rich_help_panel=_OUTPUT, show_default=False),
    ] = None,
    opening: dict[str, Any],
    meaning: dict[str, Any],
) -> None:
    """Rank the whole pool, exactly, by the prediction errors it shares with a query.

    [dim]risedb query pool.rise --text "The cat is sleeping on the blanket."[/dim]
    """
    import risedb
    from risedb.corpus import read, read_all

    if json and jsonl:
        msg = "--json and --jsonl are two outputs; use one of them"
        raise InvalidInput(msg)
    if fields is not None and not (json or jsonl):
        msg = "--fields chooses what --json and --jsonl write; use it with one of them"
        raise InvalidInput(msg)
    choices: dict[str, Any] = {
        "k": k,
        "pool": "mean" if mean else "each",
        "bottom": bottom,
        **scoring,
    }
    rows = read_all(sources or [])  # bad names fail before the model loads
    with risedb.open(index, at=at, **opening) as db, output(out) as file:
        choices["fields"] = replace(db.fields, **meaning)
        if minus is not None:
            choices["minus"] = db.sign(read(minus), fields=choices["fields"])
        rankings = _rankings(db, id_ or [], text or [], rows, choices)
        if json or jsonl:
            _print_json(rankings, fields, file, one_list=json)
        else:
            for title, ranking in rankings:
                print_ranking(ranking, title, db.fields, file)


def _rankings(
    db: "RiseDB", ids: list[str], texts: list[str], rows: "Iterator[Row | BadRow]", choices: dict[str, Any]
) -> "Iterator[tuple[str, Ranking]]":
    """Yield a title for people and the ranking, query by query, signing and scanning a chunk at a time."""
    from risedb.cli.queries import signed

    each = signed(db, ids, texts, rows, choices["fields"])
    if choices["pool"] == "mean":
        parts = [signatures for signatures, _ in each]
        (ranking,) = db.query(type(parts[0]).concatenate(parts), **choices)
        yield ranking.query, ranking
        return
    for signatures, shown in each:
        for ranking, text in zip_longest(db.query(signatures, **choices), shown):
            yield ranking.query + (f": {text}" if text else ""), ranking


def _print_json(
    rankings: "Iterator[tuple[str, Ranking]]", fields: str | None, file: IO[str], *, one_list: bool
) -> None:
    wanted = None if fields is None else {name.strip() for name in fields.split(",")}
    results = []
    for _, ranking in rankings:
        result = ranking.as_dict()
        if wanted is not None:
            for hit in result["hits"]:
                hit["record"] = {name: value for name, value in hit["record"].items() if name in wanted}
        if one_list:
            results.append(result)
        else:
            print_json(result, file, indent=None)
    if one_list:
        print_json(results, file)
