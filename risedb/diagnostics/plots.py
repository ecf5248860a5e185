"""The diagnosis drawn: one PNG a figure. The only module that needs matplotlib (``risedb[plots]``)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, PercentFormatter, StrMethodFormatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from risedb.diagnostics.report import Diagnosis

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.markersize": 4,
}


def draw(diagnosis: "Diagnosis", folder: Path) -> list[Path]:
    """Draw all figures into a folder that exists; return their paths."""
    figures = {
        "support": _support,
        "temperature": _temperature,
        "layers": _layers,
        "discriminativeness": _discriminativeness,
        "sketching": _sketching,
        "bias": _bias,
        "ranking": _ranking,
    }
    paths = []
    with mpl.rc_context(_STYLE):
        for name, drawn in figures.items():
            figure = drawn(diagnosis)
            path = folder / f"{name}.png"
            FigureCanvasAgg(figure).print_figure(path, dpi=150)
            paths.append(path)
    return paths


def _panels(count: int, title: str) -> tuple[Figure, list["Axes"]]:
    figure = Figure(figsize=(4.6 * count, 3.6), layout="constrained")
    figure.suptitle(title)
    return figure, [figure.add_subplot(1, count, i + 1) for i in range(count)]


def _only_ticks(axes: "Axes", values: "Sequence[float]") -> None:
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _plain_numbers(axes: "Axes") -> None:
    """Name the ticks of a logarithmic axis 0.02, not 2 x 10^-2."""
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))


def _support(diagnosis: "Diagnosis") -> Figure:
    sparsity = diagnosis.sparsity
    sizes, kept = list(sparsity.by_size), list(sparsity.by_size.values())
    figure, (left, right) = _panels(2, f"What the K largest logits and the target keep, τ = 1: {diagnosis.model}")
    left.plot(sizes, [one.full_energy for one in kept], "o-", label="residual energy")
    left.plot(sizes, [one.tail_energy for one in kept], "s-", label="energy without the target")
    left.plot(sizes, [one.mass for one in kept], "^-", label="probability mass")
    left.axhline(sparsity.adaptive.target_energy, color="gray", ls=":", label="energy of the target alone")
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    left.legend(loc="lower right")
    right.plot(sizes, [one.cosine for one in kept], "o-", label=f"{diagnosis.positions:,} positions")
    right.axhline(
        sparsity.adaptive.cosine,
        color="gray",
        ls=":",
        label=f"signatures: {sparsity.adaptive.support:.0f} tokens on average",
    )
    right.set_ylabel("cosine of sparse and dense GH")
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("K")
        _only_ticks(axes, sizes)
    return figure


def _temperature(diagnosis: "Diagnosis") -> Figure:
    sweep = diagnosis.sparsity.by_temperature
    taus, kept = list(sweep), list(sweep.values())
    figure, (left, right) = _panels(2, f"Temperature at K = 128: {diagnosis.model}")
    left.plot(taus, [one.cosine for one in kept], "o-", label="dense at the same τ")
    left.plot(taus, [one.cosine_tau_1 for one in kept], "s-", label="dense at τ = 1")
    left.set_ylabel("cosine of sparse GH with dense GH")
    right.plot(taus, [one.relative_error for one in kept], "o-", label="relative error, same τ")
    right.plot(taus, [one.mass for one in kept], "^-", label="probability mass")
    for axes in (left, right):
        axes.set_xlabel("τ")
        axes.legend()
        _only_ticks(axes, taus)
    return figure


def _layers(diagnosis: "Diagnosis") -> Figure:
    figure, panels = _panels(2, "Share of the gradient's energy by layer")
    for axes, kind in zip(panels, ("token", "document"), strict=True):
        for profile in diagnosis.layers:
            energy = getattr(profile, kind)
            places = [i / (len(profile.blocks) - 1) for i in range(len(profile.blocks))]
            label = f"{profile.model}: head {energy.share[-1]:.0%}, {energy.head_to_average:.1f} times a layer"
            axes.plot(places, energy.share, "o-", label=label)
        blocks = diagnosis.layers[0].blocks
        axes.set_title(f"loss of one {kind}")
        _name_places(axes, blocks)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend()
    return figure


def _discriminativeness(diagnosis: "Diagnosis") -> Figure:
    figure, (axes,) = _panels(1, "Variance of pairwise cosines of hidden states")
    for profile in diagnosis.layers:
        places = [i / (len(profile.states) - 1) for i in range(len(profile.states))]
        axes.plot(places, profile.discriminativeness, "o-", label=profile.model)
    _name_places(axes, diagnosis.layers[0].states)
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def _name_places(axes: "Axes", names: "Sequence[str]") -> None:
    """Name the places of the first model's blocks; of a deep one, not all."""
    step = max(len(names) // 8, 1)
    shown = [i for i in range(len(names)) if i in {0, len(names) - 1} or (i % step == 0 and i < len(names) - step)]
    axes.set_xticks([i / (len(names) - 1) for i in shown], [names[i] for i in shown])


def _sketching(diagnosis: "Diagnosis") -> Figure:
    figure, panels = _panels(2, f"Error of sketched inner products, no normalisation: {diagnosis.model}")
    for axes, (channel, results) in zip(
        panels, (("RH", diagnosis.sketching.rh), ("GH", diagnosis.sketching.gh)), strict=True
    ):
        ordered = sorted(results.items(), key=lambda item: item[1].numbers)
        places = range(len(ordered))
        axes.plot(places, [one.error for _, one in ordered], "o", label="measured, pairs of documents")
        axes.plot(places, [one.predicted for _, one in ordered], "_", ms=16, label="exact variance")
        axes.plot(
            places,
            [one.token_corrected for _, one in ordered],
            "^",
            mfc="none",
            label="one position each, Theorem D.1 corrected",
        )
        axes.plot(
            places,
            [one.token_printed for _, one in ordered],
            "v",
            mfc="none",
            label="one position each, Theorem D.1 as printed",
        )
        axes.set_title(f"{channel}, relative to the features' lengths")
        axes.set_yscale("log")
        _plain_numbers(axes)
        axes.set_xticks(
            places, [f"{name}\n{one.numbers:,}" for name, one in ordered], rotation=40, ha="right", fontsize=7
        )
    panels[0].legend(fontsize=7)
    return figure


def _bias(diagnosis: "Diagnosis") -> Figure:
    split = sorted(diagnosis.sketching.split.items(), key=lambda item: item[1].numbers)
    figure, (axes,) = _panels(1, f"RH against whole gradients: {diagnosis.model}")
    if not split:
        axes.text(0.5, 0.5, "whole gradients did not fit in 1 GiB", ha="center", transform=axes.transAxes)
        return figure
    places = range(len(split))
    for name, marker in (("sketching", "o-"), ("truncation", "s-"), ("structural", "^-"), ("total", "k.-")):
        axes.plot(places, [getattr(one, name) for _, one in split], marker, label=name)
    axes.axhline(split[0][1].signal, color="gray", ls=":", label="the inner products themselves")
    axes.plot(places, [one.tracin for _, one in split], "x--", color="tab:red", label="TracIn, as many numbers")
    axes.set_yscale("log")
    axes.set_ylabel("error relative to the gradients' lengths")
    axes.set_xticks(places, [f"{name}\n{one.numbers:,}" for name, one in split], rotation=40, ha="right", fontsize=7)
    _plain_numbers(axes)
    axes.legend(fontsize=7)
    return figure


def _ranking(diagnosis: "Diagnosis") -> Figure:
    figure, (axes,) = _panels(1, f"Spearman, against the unsketched score: {diagnosis.model}")
    ordered = sorted(diagnosis.ranking.items(), key=lambda item: item[1].numbers)
    places = range(len(ordered))
    medians = [one.median for _, one in ordered]
    spread = [
        [one.median - one.over_seeds[0] for _, one in ordered],
        [one.over_seeds[1] - one.median for _, one in ordered],
    ]
    axes.errorbar(places, medians, yerr=spread, fmt="o", capsize=3, label="median over queries; bar: five seeds")
    axes.plot(places, [one.lowest_tenth for _, one in ordered], "v", mfc="none", label="tenth of queries below")
    axes.axhline(diagnosis.advice.threshold, color="gray", ls=":", label=f"threshold {diagnosis.advice.threshold:g}")
    axes.set_xticks(places, [f"{name}\n{one.numbers:,}" for name, one in ordered], rotation=40, ha="right", fontsize=7)
    axes.set_ylim(top=1.01)
    axes.legend(loc="lower right", fontsize=7)
    return figure
