"""``risedb scores``: every document's score, for curation and evaluation by other tools."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from risedb.cli import options
from risedb.cli.render import output
from risedb.config import LoadConfig


def scores(
    index: options.Index,
    sources: options.Queries = None,
    text: options.QueryTexts = None,
    id_: options.QueryIds = None,
    minus: options.Minus = None,
    mean: options.Mean = False,
    where: options.Where = None,
    at: options.At = None,
    channel: options.Channel = "both",
    lambda_rh: options.LambdaRH = 0.7,
    lambda_gh: options.LambdaGH = 1.0,
    no_normalize: options.NoNormalize = False,
    center: options.Center = False,
    memory: options.Memory = "256MiB",
    out: Annotated[
        Path | None,
        typer.Option(
            help="scores.npy: a float64 array (documents, queries), the ids in scores.ids.json; any other name, or "
            "none: JSON lines.",
            show_default=False,
        ),
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
    """Score every document, exactly: a line or row each, in the order of insertion, a number for each query.

    [dim]risedb scores pool.rise queries.jsonl --mean --out scores.npy[/dim]

    Queries stand in the order: --id, --text, FILE.
    """
    import risedb
    from risedb.cli.queries import signed
    from risedb.corpus import read, read_all

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
    choices = options.score_of(channel, lambda_rh, lambda_gh, no_normalize, center, memory)
    choices |= {"pool": "mean" if mean else "each", "where": where}
    rows = read_all(sources or [])  # bad names fail before the model loads
    with risedb.open(index, models, weights=weights, load=load, batch_tokens=batch_tokens, at=at) as db:
        fields = options.fields_of(
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
