"""``risedb plan``: what an add will take, before it is begun."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risedb.cli import options
from risedb.cli.render import print_json
from risedb.config import LoadConfig, ReadoutConfig

if TYPE_CHECKING:
    from risedb.database.planning import PoolPlan

_FILE_WIDTH = 100


@options.with_groups(load=options.loading, meaning=options.meaning)
def plan(
    *,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="The pool, in any format that add reads.", show_default=False),
    ],
    model: options.NewModel,
    sample: Annotated[int, typer.Option(min=1, help="Documents that are looked at, drawn at random.")] = 1000,
    seconds: Annotated[float, typer.Option(min=0.1, help="About how long each preset is timed.")] = 3.0,
    seq_len: options.SeqLen = 512,
    json: options.Json = False,
    load: LoadConfig,
    batch_tokens: options.BatchTokens = None,
    meaning: dict[str, Any],
) -> None:
    """Estimate tokens, disk, memory and time of an add, for each preset, by running a sample on this device.

    [dim]risedb plan pool.jsonl --model EleutherAI/pythia-160m[/dim]
    """
    from risedb.corpus import Fields, read_all

    rows = read_all(sources)  # bad names fail before the model loads
    fields = Fields(**meaning)
    readout = ReadoutConfig(seq_len=seq_len)
    from risedb.database.planning import plan as estimate
    from risedb.featurize import load_model

    loaded = load_model(model, load)
    about = estimate(rows, loaded, readout, fields, most=sample, seconds=seconds, batch_tokens=batch_tokens)
    if json:
        print_json(about.as_dict())
    else:
        _print(about, model)


def _print(about: "PoolPlan", model: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    spread = f" ± {about.tokens_spread:,}" if about.tokens_spread else ""
    looked = "all of them" if about.sampled == about.rows else f"{about.sampled:,} of them drawn at random"
    typer.echo(
        f"{about.rows:,} rows, {looked}; {about.tokens:,}{spread} tokens, {about.truncated:.1%} of documents cut"
    )
    if about.unusable:
        typer.echo(f"{about.unusable:,} of those drawn could not be added")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("preset")
    for name in ("time", "tokens/s", "disk", "memory"):
        table.add_column(name, justify="right")
    for one in about.presets:
        table.add_row(
            one.preset,
            _time(one.seconds),
            f"{one.tokens_per_second:,.0f}",
            _size(one.disk_bytes),
            _size(one.memory_bytes),
        )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _FILE_WIDTH, highlight=False).print(table)
    typer.echo(
        f"Timed on {about.device} in {about.dtype} with {about.timed_tokens:,} tokens a preset; memory is the most "
        "that was held so far. Reading, tokenizing and writing come to it."
    )


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def _size(count: float) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 2**20:,.1f} MiB"
