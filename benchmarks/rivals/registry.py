"""Every method by its name. A method is imported when it is asked for: not everybody has all of their packages."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.rivals.causal import Causal
from benchmarks.rivals.rival import Rival


@dataclass(frozen=True)
class Setting:
    """What methods are made with.

    Parameters
    ----------
    model
        Name of the target model.
    scratch
        Folder for what methods write while they run.
    encoder
        Folder or hub id of the sentence encoder; without one, the packaged all-MiniLM-L6-v2.
    seq_len
        Most tokens of a text that are read.
    permutations
        Of the Shapley methods.
    """

    model: str
    scratch: Path
    encoder: str | None = None
    seq_len: int = 256
    permutations: int = 32

    @cached_property
    def causal(self) -> Causal:
        """The target model, loaded once for all methods."""
        return Causal.load(self.model, self.seq_len)

    def folder(self) -> Path:
        """Make an empty folder among the scratch."""
        return Path(tempfile.mkdtemp(dir=self.scratch))


def _length(_: Setting) -> Rival:
    from benchmarks.rivals.length import Length

    return Length()


def _chance(_: Setting) -> Rival:
    from benchmarks.rivals.chance import Chance

    return Chance()


def _bm25(_: Setting) -> Rival:
    from benchmarks.rivals.bm25 import Bm25

    return Bm25()


def _embedding(setting: Setting) -> Rival:
    from benchmarks.rivals.embedding import Embedding, packaged_model

    return Embedding(setting.encoder or packaged_model(), setting.seq_len)


def _hidden(setting: Setting) -> Rival:
    from benchmarks.rivals.hidden import HiddenState

    return HiddenState(setting.causal)


def _input_embedding(setting: Setting) -> Rival:
    from benchmarks.rivals.hidden import InputEmbedding

    return InputEmbedding(setting.causal)


def _rapidin(setting: Setting) -> Rival:
    from benchmarks.rivals.rapidin import RapidIn

    return RapidIn(setting.causal)


def _exact_head(setting: Setting) -> Rival:
    from benchmarks.rivals.head_gradient import ExactHead

    return ExactHead(setting.causal)


def _exact_sparse_rh(setting: Setting) -> Rival:
    from benchmarks.rivals.head_gradient import ExactSparseRH

    return ExactSparseRH(setting.causal)


def _grad_sketch(setting: Setting) -> Rival:
    from benchmarks.rivals.head_gradient import GradSketch

    return GradSketch(setting.causal)


def _pca(setting: Setting) -> Rival:
    from benchmarks.rivals.pca import Pca

    return Pca(setting.causal)


def _tracin(*, cosine: bool) -> Callable[[Setting], Rival]:
    def make(setting: Setting) -> Rival:
        from benchmarks.rivals.tracin import TracIn

        return TracIn(setting.causal, cosine=cosine)

    return make


def _zo_inf(*, own: bool) -> Callable[[Setting], Rival]:
    def make(setting: Setting) -> Rival:
        from benchmarks.rivals.zo_inf import ZoInf

        return ZoInf(setting.causal, own=own)

    return make


def _shapley(*, sequential: bool) -> Callable[[Setting], Rival]:
    def make(setting: Setting) -> Rival:
        from benchmarks.rivals.shapley import Shapley

        return Shapley(setting.causal, sequential=sequential, permutations=setting.permutations)

    return make


def _rise(**choices: float) -> Callable[[Setting], Rival]:
    def make(setting: Setting) -> Rival:
        from benchmarks.rivals.rise import Rise

        return Rise(setting.model, setting.folder() / "pool.rise", setting.seq_len, **choices)

    return make


def _trackstar(*, cosine: bool) -> Callable[[Setting], Rival]:
    def make(setting: Setting) -> Rival:
        from benchmarks.rivals.trackstar import TrackStar

        return TrackStar(setting.causal, setting.folder(), cosine=cosine)

    return make


def _ek_fac(setting: Setting) -> Rival:
    from benchmarks.rivals.ek_fac import EkFac

    return EkFac(setting.causal, setting.folder())


def _logra(setting: Setting) -> Rival:
    from benchmarks.rivals.logra import LoGra

    return LoGra(setting.causal, setting.folder())


METHODS: dict[str, Callable[[Setting], Rival]] = {
    "length": _length,
    "random": _chance,
    "bm25": _bm25,
    "embedding": _embedding,
    "hidden": _hidden,
    "input-embedding": _input_embedding,
    "head-exact": _exact_head,
    "sparse-rh-exact": _exact_sparse_rh,
    "grad-sketch": _grad_sketch,
    "pca": _pca,
    "tracin": _tracin(cosine=False),
    "tracin-cosine": _tracin(cosine=True),
    "rapidin": _rapidin,
    "zo-inf": _zo_inf(own=False),
    "zo-inf-own": _zo_inf(own=True),
    "tmc-shapley": _shapley(sequential=False),
    "g-shapley": _shapley(sequential=True),
    "trackstar": _trackstar(cosine=False),
    "trackstar-unit": _trackstar(cosine=True),
    "ek-fac": _ek_fac,
    "logra": _logra,
    "rise": _rise(),
    "rise-rh": _rise(lambda_gh=0.0),
    "rise-gh": _rise(lambda_rh=0.0),
}
