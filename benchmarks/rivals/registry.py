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
    """

    model: str
    scratch: Path
    encoder: str | None = None
    seq_len: int = 256

    @cached_property
    def causal(self) -> Causal:
        """The target model, loaded once for all methods."""
        return Causal.load(self.model, self.seq_len)


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


def _rise(**choices: float) -> Callable[[Setting], Rival]:
    def make(setting: Setting) -> Rival:
        from benchmarks.rivals.rise import Rise

        folder = Path(tempfile.mkdtemp(dir=setting.scratch)) / "pool.rise"
        return Rise(setting.model, folder, setting.seq_len, **choices)

    return make


METHODS: dict[str, Callable[[Setting], Rival]] = {
    "length": _length,
    "random": _chance,
    "bm25": _bm25,
    "embedding": _embedding,
    "hidden": _hidden,
    "input-embedding": _input_embedding,
    "rise": _rise(),
    "rise-rh": _rise(lambda_gh=0.0),
    "rise-gh": _rise(lambda_rh=0.0),
}
