"""``risedb diagnose``: whether RISE holds for a model and a text, and which preset will do."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risedb.cli import options
from risedb.config import LoadConfig, ReadoutConfig

if TYPE_CHECKING:
    from risedb.diagnostics import Diagnosis


@options.with_groups(meaning=options.meaning)
def diagnose(
    *,
    model: options.NewModel,
    sample: Annotated[
        str, typer.Option(metavar="FILE", help="Documents in any format that add reads.", show_default=False)
    ],
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A second model beside it: after fine-tuning.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write diagnosis.json and PNG plots there.", show_default=False),
    ] = None,
    documents: Annotated[int, typer.Option(min=8, help="Most documents, drawn from the file at random.")] = 64,
    threshold: Annotated[
        float, typer.Option(min=-1, max=1, help="Median Spearman at which a ranking counts as kept.")
    ] = 0.95,
    seq_len: options.SeqLen = 512,
    json: options.Json = False,
    revision: options.Revision = None,
    dtype: options.DType = "auto",
    device: options.Device = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    meaning: dict[str, Any],
) -> None:
    """Measure on a sample what supports, sketches and the LM head keep of a model's gradients, and advise a preset.

    [dim]risedb diagnose --model EleutherAI/pythia-160m --sample pool.jsonl --out diagnosis[/dim]
    """
    from risedb.corpus import Fields, read
    from risedb.corpus.sample import draw
    from risedb.database.outfile import file_errors

    rows = read(sample)  # a bad name fails before the model loads
    if out is not None:
        with file_errors(out):
            out.mkdir(parents=True, exist_ok=True)
    fields = Fields(**meaning)
    load = LoadConfig(revision=revision, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    readout = ReadoutConfig(seq_len=seq_len)
    drawn, _ = draw(rows, documents)

    from risedb.database.signing import encode_rows
    from risedb.diagnostics import diagnose as run
    from risedb.featurize import load_model

    loaded, beside = load_model(model, load), None
    _, tokens = encode_rows(drawn, loaded.tokenizer, readout, fields)
    if against is not None:
        second = load_model(against, load)
        beside = (against, second, encode_rows(drawn, second.tokenizer, readout, fields)[1])
    diagnosis = run(
        model, loaded, tokens, readout=readout, threshold=threshold, against=beside,
        progress=lambda what: typer.echo(what, err=True),
    )  # fmt: skip
    if out is not None:
        _write(diagnosis, out)
    if json:
        sys.stdout.write(diagnosis.as_json())
    else:
        typer.echo(_summary(diagnosis))


def _write(diagnosis: "Diagnosis", folder: Path) -> None:
    from risedb.database.outfile import file_errors

    path = folder / "diagnosis.json"
    with file_errors(path):
        path.write_text(diagnosis.as_json(), encoding="utf-8")
    try:
        from risedb.diagnostics.plots import draw
    except ImportError:
        typer.echo(f"{path}; plots need pip install 'risedb[plots]'", err=True)
        return
    typer.echo(f"{path} and {len(draw(diagnosis, folder))} plots beside it", err=True)


def _summary(diagnosis: "Diagnosis") -> str:
    supports, layers = diagnosis.sparsity.adaptive, diagnosis.layers[0].token
    lines = {
        "sample": f"{diagnosis.documents:,} documents, {diagnosis.positions:,} positions",
        "supports": f"{supports.support:.0f} tokens of {diagnosis.sparsity.vocabulary:,}; they keep "
        f"{supports.full_energy:.1%} of the residual's energy, {supports.mass:.1%} of the mass",
        "GH": f"cosine {supports.cosine:.3f} of sparse with dense",
        "LM head": f"{layers.share[-1]:.0%} of a token's gradient energy, {layers.head_to_average:.1f} times a layer's",
    }
    table = [
        f"{name:<12} {one.numbers:>7,}   {one.median:.3f}   {one.over_seeds[0]:.3f} to {one.over_seeds[1]:.3f}"
        for name, one in diagnosis.ranking.items()
    ]
    return "\n".join(
        [
            *(f"{name:<12} {value}" for name, value in lines.items()),
            "",
            "sketch       numbers   Spearman with the unsketched score (median), over five seeds",
            *table,
            "",
            diagnosis.advice.sentence,
        ]
    )
