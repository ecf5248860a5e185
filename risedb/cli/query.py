"""``risedb query``: documents out, ranked."""

from itertools import zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from risedb.cli import options
from risedb.cli.render import output, print_json, print_ranking
from risedb.config import LoadConfig
from risedb.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from risedb.corpus import BadRow, Row
    from risedb.database import Ranking, RiseDB

_OUTPUT = "Output"


def query(
    index: options.Index,
    sources: options.Queries = None,
    text: options.QueryTexts = None,
    id_: options.QueryIds = None,
    minus: options.Minus = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Documents for each query.")] = 10,
    mean: options.Mean = False,
    bottom: Annotated[bool, typer.Option("--bottom", help="The least similar documents, least first.")] = False,
    where: options.Where = None,
    at: options.At = None,
    channel: options.Channel = "both",
    lambda_rh: options.LambdaRH = 0.7,
    lambda_gh: options.LambdaGH = 1.0,
    no_normalize: options.NoNormalize = False,
    center: options.Center = False,
    memory: options.Memory = "256MiB",
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
    model: options.Models = None,
    checkpoint_weights: options.CheckpointWeights = None,
    revision: options.Revision = None,
    dtype: options.DType = "auto",
    device: options.Device = "auto",
    device_map: options.DeviceMap = None,
    offload_folder: options.OffloadFolder = None,
    quantize: options.Quantize = None,
    batch_tokens: options.BatchTokens = None,
    trust_remote_code: options.TrustRemoteCode = False,
    text_field: options.TextField = None,
    id_field: options.IdField = None,
    prompt_field: options.PromptField = None,
    completion_field: options.CompletionField = None,
    messages_field: options.MessagesField = None,
    template: options.Template = None,
    loss_on: options.LossOn = None,
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
    models, weights = options.one_or_several(model), options.weights_of(checkpoint_weights)
    load = LoadConfig(
        revision=revision,
        dtype=dtype,
        device=device,
        device_map=device_map,
        offload_folder=offload_folder,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )
    choices: dict[str, Any] = {
        "k": k,
        "pool": "mean" if mean else "each",
        "bottom": bottom,
        "where": where,
        **options.score_of(channel, lambda_rh, lambda_gh, no_normalize, center, memory),
    }
    rows = read_all(sources or [])  # bad names fail before the model loads
    with (
        risedb.open(index, models, weights=weights, load=load, batch_tokens=batch_tokens, at=at) as db,
        output(out) as file,
    ):
        choices["fields"] = options.fields_of(
            db.fields,
            text_field,
            id_field,
            prompt_field,
            completion_field,
            messages_field,
            template,
            loss_on,
        )
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
