"""``risedb add``: documents in."""

import sys
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from risedb.cli import options
from risedb.cli.progress import add_progress
from risedb.cli.render import print_json, print_report
from risedb.config import ReadoutConfig, SketchConfig
from risedb.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from risedb.corpus import BadRow, Fields, Row

_NUMBERS = "Numbers of the signature (fixed when the index is made)"


def _number(help_text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=help_text, rich_help_panel=_NUMBERS, show_default=False)
    return option


@options.with_groups(opening=options.opening, meaning=options.meaning)
def add(
    *,
    index: options.Index,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="jsonl, json, csv, txt (also .gz, .zst), parquet, a folder of .txt files, a saved Hugging Face "
            "dataset, hf://NAME, or - for JSON lines from stdin.",
            show_default=False,
        ),
    ],
    opening: dict[str, Any],
    devices: Annotated[
        str | None,
        typer.Option(
            help="Several devices, a process and a model on each: 0,1,2,3 or cuda:0,cuda:1.",
            rich_help_panel="Model",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        Literal["compact", "small", "base", "large"] | None,
        _number("Sketch widths by name: 16/8/28, 64/12/64, 128/24/128, 256/192/128 (default: base)."),
    ] = None,
    dims: Annotated[str | None, _number("Sketch widths Kr/Kh/Kg, such as 24/8/35.")] = None,
    seq_len: Annotated[int | None, _number("Most tokens of a document (default: 512).")] = None,
    long: Annotated[
        Literal["truncate", "sum"] | None,
        _number("Longer documents: cut, or add up windows of seq_len (default: truncate)."),
    ] = None,
    tau: Annotated[float | None, _number("Temperature (default: 1).")] = None,
    rho: Annotated[float | None, _number("Cumulative probability of the support (default: 0.92).")] = None,
    min_keep: Annotated[int | None, _number("Fewest tokens in a support (default: 4).")] = None,
    k_max: Annotated[int | None, _number("Most candidate tokens (default: 256).")] = None,
    seed: Annotated[int | None, _number("Seed of the hashes (default: 42).")] = None,
    factor_norm: Annotated[
        Literal["unit", "residual", "none"] | None,
        _number("Lengths of a position's sketched factors: all 1, the residual's, or as they are (default: unit)."),
    ] = None,
    gh_through: Annotated[
        Literal["head", "input-embeddings"] | None,
        _number("What the GH channel projects the residual with (default: head)."),
    ] = None,
    meaning: dict[str, Any],
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(help="At a row that cannot be used: stop, or list it and go on."),
    ] = "stop",
    commit_every: Annotated[
        str, typer.Option(metavar="COUNT|TIME", help="Documents in a commit, or a time between two: 1000, 30s, 5min.")
    ] = "10s",
    profile: Annotated[bool, typer.Option("--profile", help="Tell where the time went.")] = False,
    json: options.Json = False,
) -> None:
    """Add documents to an index, and make the index if it is not there.

    A known, unchanged document is not computed again: an add that was stopped goes on when it is run again.

    [dim]risedb add pool.rise pool.jsonl --model EleutherAI/pythia-160m[/dim]
    """
    import risedb
    from risedb.corpus import Fields, read_all
    from risedb.database.writing import CommitEvery

    rows = read_all(sources)  # what is wrong at once fails before the model loads and the index is made
    _ = CommitEvery.parse(commit_every)
    names = [f"cuda:{name}" if name.isdigit() else name for name in (devices or "").replace(" ", "").split(",") if name]
    if names:
        opening["load"] = replace(opening["load"], device=names[0])
    numbers = {
        "seq_len": seq_len, "long": long, "tau": tau, "rho_cum": rho, "min_keep": min_keep, "k_max": k_max,
        "factor_norm": factor_norm, "gh_through": gh_through,
    }  # fmt: skip
    changes = {name: value for name, value in numbers.items() if value is not None}
    fields, readout, sketch = Fields(), ReadoutConfig(), SketchConfig()
    if (index / "FORMAT").exists():
        with risedb.open(index) as known:
            fields, readout, sketch = known.fields, known.identity.readout, known.identity.sketch
    fields = replace(fields, **meaning)
    if on_error == "stop":
        rows = _usable(rows, fields)
    db = risedb.open(
        index,
        create=True,
        readout=replace(readout, **changes),  # type: ignore[arg-type]
        sketch=_sketch(preset, dims, seed, sketch),
        fields=fields,
        **opening,
    )
    with db:
        before = len(db)
        try:
            with add_progress(_count(sources, len(getattr(db, "children", [db])))) as progress:
                report = db.add(
                    rows,
                    fields=fields,
                    on_error=on_error,
                    commit_every=commit_every,
                    devices=names,
                    progress=progress,
                    profile=profile,
                )
        except KeyboardInterrupt:
            kept = len(db) - before
            sys.stderr.write(
                f"\nstopped: {kept:,} new documents were committed and stay, {len(db):,} are in the index. "
                "Run the same command again to go on.\n"
            )
            raise typer.Exit(130) from None
    if json:
        print_json(report.as_dict())
    else:
        print_report(report)


def _usable(rows: "Iterator[Row | BadRow]", fields: "Fields") -> "Iterator[Row | BadRow]":
    """Return the rows, if the first can be used: where it cannot, its fields are most often called otherwise."""
    from risedb.corpus import BadRow
    from risedb.database.reading import as_document

    first = next(rows)
    if isinstance(bad := as_document(first, "row 1", fields), BadRow):
        msg = f"{bad.place}: {bad.reason}"
        raise InvalidInput(msg)
    return chain([first], rows)


def _count(sources: list[str], times: int) -> int | None:
    """Count the rows for the time left, if somebody will see it; each counts once for every checkpoint."""
    from risedb.corpus import count_rows

    counts = [count_rows(source) if sys.stderr.isatty() else None for source in sources]
    return None if None in counts else times * sum(count for count in counts if count is not None)


def _sketch(preset: str | None, dims: str | None, seed: int | None, base: SketchConfig) -> SketchConfig:
    if preset is not None and dims is not None:
        msg = "--preset and --dims both give the sketch widths; use one of them"
        raise InvalidInput(msg)
    widths = preset or dims
    sketch = base if widths is None else SketchConfig.parse(widths, seed=base.seed)
    return sketch if seed is None else replace(sketch, seed=seed)
