"""Token ids to signatures: forward pass, readout factors, sketches, outer products (Algorithm 2)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from risedb.config import HASH_VERSION, Identity, ReadoutConfig, SketchConfig
from risedb.errors import DeviceFailure, InvalidInput
from risedb.featurize.batches import fitting_tokens, plan_batches
from risedb.featurize.model import LanguageModel
from risedb.featurize.sketch import FactorSketches
from risedb.featurize.support import Support, active_support, checked_support
from risedb.featurize.tokens import Tokens

_LOGITS_BYTES = 64 * 2**20
_BATCH_TOKENS = 2048  # on a CPU, and of the batch by which a GPU is probed
Timer = Callable[[str], AbstractContextManager[None]]


def untimed(_stage: str) -> AbstractContextManager[None]:
    """Stand where a timer may: what runs inside is timed by nobody."""
    return nullcontext()


@dataclass(frozen=True, slots=True, eq=False)
class Phi:
    """Signatures of n documents before normalisation (arXiv:2604.16197v1, Eq. 2).

    Parameters
    ----------
    rh, gh
        (n, Kr * Kh) and (n, Kg * Kh) float32.
    positions
        (n,) int64: positions that counted. A document with none has a zero signature.
    finite
        (n,) bool: False where the model gave a NaN or infinite logit; such a row means nothing.
    """

    rh: NDArray[np.float32]
    gh: NDArray[np.float32]
    positions: NDArray[np.int64]
    finite: NDArray[np.bool_]


class Featurizer:
    """Computes signatures with one model and one set of numbers.

    Parameters
    ----------
    model
        The language model, on its device.
    readout, sketch
        The numbers of the signature.
    batch_tokens
        Most tokens in one forward pass, padding included; by default 2,048 on a CPU, and what fits on a GPU, which a
        small batch tells.

    Attributes
    ----------
    batch_tokens
        As above, or the default.
    timer
        Entered around each part of the work, by name: ``forward``, ``head`` (logits, top-K, supports), ``sketch``.

    Raises
    ------
    InvalidInput
        If seq_len is beyond the model's positions, or `batch_tokens` is no number of at least 1.
    UnsupportedModel
        If GH goes through the input embeddings, and they cannot be read.
    DeviceFailure
        If a GPU has not even memory for a small batch.
    """

    def __init__(
        self,
        model: LanguageModel,
        readout: ReadoutConfig,
        sketch: SketchConfig,
        *,
        batch_tokens: int | None = None,
    ) -> None:
        if model.max_positions is not None and readout.seq_len > model.max_positions:
            msg = (
                f"seq_len is {readout.seq_len}, and the model has {model.max_positions} positions; "
                f"give --seq-len {model.max_positions} or less"
            )
            raise InvalidInput(msg)
        if batch_tokens is not None and batch_tokens < 1:
            msg = f"batch_tokens is {batch_tokens}; it must be at least 1"
            raise InvalidInput(msg)
        self.model = model
        self.readout = readout
        embeddings = model.head if readout.gh_through == "head" else model.input_embeddings
        self.sketches = FactorSketches(model.head, sketch, factor_norm=readout.factor_norm, embeddings=embeddings)
        self.batch_tokens = _BATCH_TOKENS if batch_tokens is None else batch_tokens
        position_bytes = model.head.itemsize * len(model.head)
        self._chunk = max(_LOGITS_BYTES // position_bytes, 1)  # positions whose logits exist at once
        self._sketch = sketch
        self.timer: Timer = untimed
        devices = {parameter.device for parameter in model.network.parameters() if parameter.device.type == "cuda"}
        if batch_tokens is None and devices:
            self.batch_tokens = min(self._tokens_that_fit(devices))

    @property
    def identity(self) -> Identity:
        """All that an index made by this featurizer fixes."""
        return Identity(
            readout=self.readout,
            sketch=self._sketch,
            model=self.model.fingerprint,
            tokenizer=self.model.tokenizer.fingerprint(),
            hash_version=HASH_VERSION,
        )

    def phi(self, documents: Sequence[Tokens]) -> Phi:
        """Compute the signatures of some documents, in their order.

        Parameters
        ----------
        documents
            Token ids; what is longer than seq_len is cut or windowed as the readout says.

        Raises
        ------
        DeviceFailure
            If a GPU's memory is too small for a batch.
        """
        windows = [(row, window) for row, tokens in enumerate(documents) for window in tokens.windows(self.readout)]
        rh = torch.zeros(len(documents), self._sketch.rh_dim, device=self.model.device)
        gh = torch.zeros(len(documents), self._sketch.gh_dim, device=self.model.device)
        finite = torch.ones(len(documents), dtype=torch.bool, device=self.model.device)
        positions = np.zeros(len(documents), dtype=np.int64)
        for batch in plan_batches([len(window.ids) for _, window in windows], self.batch_tokens):
            rows = torch.tensor([windows[i][0] for i in batch], device=self.model.device)
            batch_rh, batch_gh, batch_finite = self._fitting_phi([windows[i][1] for i in batch])
            rh.index_add_(0, rows, batch_rh)
            gh.index_add_(0, rows, batch_gh)
            finite[rows[~batch_finite]] = False
        for row, window in windows:
            positions[row] += len(window.ids) - window.first_target
        return Phi(rh.cpu().numpy(), gh.cpu().numpy(), positions, finite.cpu().numpy())

    def _tokens_that_fit(self, devices: Iterable[torch.device]) -> Iterator[int]:
        """Run a small batch, and yield how many tokens would fit into the memory of each GPU that it used."""
        ids = np.arange(min(self.readout.seq_len, _BATCH_TOKENS)) % len(self.model.head)
        windows = [Tokens(ids)] * (_BATCH_TOKENS // len(ids))
        before = {device: torch.cuda.memory_allocated(device) for device in devices}
        for device in before:
            torch.cuda.reset_peak_memory_stats(device)
        self._fitting_phi(windows)
        for device, held in before.items():
            taken = torch.cuda.max_memory_allocated(device) - held
            free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - held
            yield fitting_tokens(free, taken / (len(windows) * len(ids)))

    def _fitting_phi(self, windows: Sequence[Tokens]) -> tuple[Tensor, Tensor, Tensor]:
        try:
            return self._batch_phi(windows)
        except torch.OutOfMemoryError as error:
            longest = max(len(window.ids) for window in windows)
            less = f"give --batch-tokens {len(windows) // 2 * longest}"
            if len(windows) == 1:
                less = "give a smaller --seq-len, or spread or quantise the model: --device-map auto, --quantize 8bit"
            msg = (
                f"{self.model.device} has not enough memory for a batch of {len(windows)} x {longest} tokens "
                f"(--batch-tokens is {self.batch_tokens}); {less}"
            )
            raise DeviceFailure(msg) from error

    @torch.inference_mode()
    def support(self, tokens: Tokens) -> Support:
        """Return the supports and residuals at one window's counted positions (for inspection)."""
        hidden, targets, _ = self._counted([tokens])
        return active_support(self.model.logits(hidden), targets, self.readout)

    @torch.inference_mode()
    def _batch_phi(self, windows: Sequence[Tokens]) -> tuple[Tensor, Tensor, Tensor]:
        """Return phi_RH (B, Kr * Kh), phi_GH (B, Kg * Kh) and which windows' logits were finite (B,)."""
        with self.timer("forward"):
            hidden, targets, counted = self._counted(windows)
        with self.timer("sketch"):
            hhat = self.sketches.hhat(hidden)  # (N, Kh)
        buffer = self.model.head.new_empty(min(self._chunk, len(hidden)), len(self.model.head))
        rhat, ghat, finite = [], [], []
        for some_hidden, some_targets in zip(hidden.split(self._chunk), targets.split(self._chunk), strict=True):
            with self.timer("head"):
                logits = self.model.raw_logits(some_hidden, out=buffer[: len(some_hidden)])  # (n, V)
                support, sound = checked_support(logits, some_targets, self.readout)
                finite.append(sound)
            with self.timer("sketch"):
                rhat.append(self.sketches.rhat(support))  # (n, Kr)
                ghat.append(self.sketches.ghat(support))  # (n, Kg)
        with self.timer("sketch"):
            phi_rh = _outer_sums(torch.cat(rhat), hhat, counted)
            phi_gh = _outer_sums(torch.cat(ghat), hhat, counted)
        broken = counted.nonzero()[:, 0][~torch.cat(finite)]
        window_finite = torch.ones(len(windows), dtype=torch.bool, device=hidden.device)
        window_finite[broken] = False
        return phi_rh, phi_gh, window_finite

    def _counted(self, windows: Sequence[Tokens]) -> tuple[Tensor, Tensor, Tensor]:
        """Run the body and keep what counts: hidden states (N, d), targets (N,), where they stood (B, T - 1)."""
        lengths = torch.tensor([len(window.ids) for window in windows])
        width = int(lengths.max())
        input_ids = torch.zeros(len(windows), width, dtype=torch.int64)
        for row, window in enumerate(windows):
            input_ids[row, : len(window.ids)] = torch.from_numpy(window.ids)
        first_targets = torch.tensor([window.first_target for window in windows])
        column = torch.arange(1, width)
        counted = (column >= first_targets[:, None]) & (column < lengths[:, None])  # (B, T - 1)
        attention_mask = (torch.arange(width) < lengths[:, None]).long()
        input_ids, counted = input_ids.to(self.model.device), counted.to(self.model.device)
        hidden = self.model.hidden(input_ids, attention_mask.to(self.model.device))  # (B, T, d)
        return hidden[:, :-1][counted], input_ids[:, 1:][counted], counted


def _outer_sums(factor: Tensor, hhat: Tensor, counted: Tensor) -> Tensor:
    """Sum factor_t (x) hhat_t over each window's positions: (N, K), (N, Kh) to (B, K * Kh)."""
    padded = [torch.zeros(*counted.shape, rows.shape[1], device=rows.device) for rows in (factor, hhat)]
    padded[0][counted], padded[1][counted] = factor, hhat
    return torch.einsum("btk,bth->bkh", *padded).flatten(1)
