"""A causal language model as RISE reads it: final hidden states, the head, and what stands between head and logits.

The body runs until its output enters the LM head and no further, so no (batch x length x V) tensor is ever made. What
enters the head is caught there, whatever the architecture calls it; a probe at load shows that head and transforms give
the model's own logits. Loading from disk and the hub is in :mod:`risedb.featurize.checkpoint`.
"""

import threading
from collections.abc import Callable
from typing import Any

import torch
import xxhash
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from risedb.errors import UnsupportedModel
from risedb.featurize.tokens import Tokenizer

# What architectures do to logits after the head, by the configuration's name for it.
_TRANSFORMS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "logit_scale": lambda z, scale: z * scale,  # Cohere
    "logits_scaling": lambda z, scale: z / scale,  # Granite
    "lm_head_multiplier": lambda z, scale: z * scale,  # Falcon H1
    "final_logit_softcapping": lambda z, cap: cap * torch.tanh(z / cap),  # Gemma 2
}
_PROBE_SHAPE = (2, 12)
_READABLE = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


class _HeadReached(Exception):  # noqa: N818  a signal, not an error
    """Carries the head's input out of the forward pass, which ends there."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


_thread = threading.local()  # several may run the model at once, and each stops for itself


def _stop_at_head(_head: nn.Module, arguments: tuple[Any, ...]) -> None:
    if getattr(_thread, "stops_at_head", False):
        raise _HeadReached(arguments[0])


class LanguageModel:
    """A loaded model with its tokenizer, checked on a probe.

    Parameters
    ----------
    model
        Any causal LM of transformers whose output embeddings are a linear head.
    tokenizer
        Its tokenizer.
    fingerprint
        Hash of the checkpoint's files; without one, of the parameters.

    Attributes
    ----------
    head
        (V, d) the LM head W, tied or not, in the model's dtype; a copy in memory where the model leaves it on disk.
    device
        Where the head is; the body may be elsewhere, or on several devices.
    max_positions
        Most tokens that the model takes, where its configuration says so.

    Raises
    ------
    UnsupportedModel
        If the head is not linear or is quantised, or head and transforms do not reproduce the model's logits.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        fingerprint: str | None = None,
    ) -> None:
        self._model = model.eval()
        self._name = type(model).__name__
        self.tokenizer = Tokenizer(tokenizer)
        head = model.get_output_embeddings()
        if not isinstance(getattr(head, "weight", None), Tensor) or head.weight.dim() != 2:
            msg = f"{self._name} has no linear LM head to read ({type(head).__name__})"
            raise UnsupportedModel(msg)
        head.register_forward_pre_hook(_stop_at_head)
        self.head, self._bias = _resident(head)
        if self.head.dtype not in _READABLE:
            msg = (
                f"the LM head of {self._name} is stored as {str(self.head.dtype).removeprefix('torch.')}, and RiseDB "
                "reads its weights; quantise the model anew without its head (llm_int8_skip_modules=['lm_head'] for "
                "bitsandbytes), or load the unquantised one with --quantize 8bit or 4bit, which leave the head as it is"
            )
            raise UnsupportedModel(msg)
        self.device = self.head.device
        first: torch.device = model.get_input_embeddings().weight.device  # type: ignore[assignment]
        self._entrance = self.device if first.type == "meta" else first  # offloaded: accelerate sends it on
        settings = model.config.get_text_config()
        self.max_positions: int | None = getattr(settings, "max_position_embeddings", None)
        self._transforms = [
            (transform, float(value))
            for name, transform in _TRANSFORMS.items()
            if (value := getattr(settings, name, None)) is not None
        ]
        self._check_probe()
        self.fingerprint = fingerprint or _parameters_fingerprint(model)

    @property
    def network(self) -> PreTrainedModel:
        """The transformers model itself, for what needs more than hidden states: inner layers, gradients."""
        network: PreTrainedModel = self._model
        return network

    @property
    def input_embeddings(self) -> Tensor:
        """(V, d') a row for each of the head's tokens, as the model stores it: the head itself where the two are tied.

        Raises
        ------
        UnsupportedModel
            If some token has none, or they are quantised.
        """
        weight, _ = _resident(self._model.get_input_embeddings())
        if len(weight) < len(self.head) or weight.dtype not in _READABLE:
            stored = f"{tuple(weight.shape)} numbers of {str(weight.dtype).removeprefix('torch.')}"
            msg = (
                f"the input embeddings of {self._name} are {stored}, which are no row for each of the {len(self.head)} "
                "tokens of its LM head; send GH through the head"
            )
            raise UnsupportedModel(msg)
        return weight[: len(self.head)].to(self.device)

    @torch.inference_mode()
    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the hidden states that enter the LM head.

        Parameters
        ----------
        input_ids, attention_mask
            (B, T) int64, padded on the right, on any device.

        Returns
        -------
        Tensor
            (B, T, d) in the model's dtype, on the head's device.

        Raises
        ------
        UnsupportedModel
            If the forward pass never reaches the head.
        """
        _thread.stops_at_head = True
        try:
            self._model(
                input_ids=input_ids.to(self._entrance),
                attention_mask=attention_mask.to(self._entrance),
                use_cache=False,
            )
        except _HeadReached as reached:
            return reached.hidden.to(self.device)
        finally:
            _thread.stops_at_head = False
        msg = f"{self._name} computes its logits without calling its LM head"
        raise UnsupportedModel(msg)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """Return the model's own final logits of some positions: (N, d) to (N, V) float32."""
        return self.raw_logits(hidden).float()

    @torch.inference_mode()
    def raw_logits(self, hidden: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the same numbers in the head's own dtype, unless something after the head makes them float32.

        Parameters
        ----------
        hidden
            (N, d).
        out
            (N, V) memory in the head's dtype for what the head gives; new memory costs as much as a small head.
        """
        weight = self.head.T
        z = (
            torch.mm(hidden, weight, out=out)
            if self._bias is None
            else torch.addmm(self._bias, hidden, weight, out=out)
        )
        for transform, value in self._transforms:
            z = transform(z.float(), value)
        return z

    @torch.inference_mode()
    def _check_probe(self) -> None:
        generator = torch.Generator().manual_seed(0)
        probe = torch.randint(0, len(self.head), _PROBE_SHAPE, generator=generator).to(self.device)
        mask = torch.ones_like(probe)
        there = {"input_ids": probe.to(self._entrance), "attention_mask": mask.to(self._entrance)}
        own = self._model(**there, use_cache=False).logits.to(self.device).float()
        ours = self.logits(self.hidden(probe, mask).flatten(0, 1)).view_as(own)
        tolerance = 1e-4 if self.head.dtype == torch.float32 else 4 * torch.finfo(self.head.dtype).eps
        error, size = float((own - ours).abs().max()), float(own.abs().max())
        if not error <= tolerance * max(size, 1.0) and torch.isfinite(own).all():
            msg = (
                f"{self._name} does something between its LM head and its logits that RiseDB does not know: on a "
                f"probe they differ by {error:.3g} where logits reach {size:.3g}"
            )
            raise UnsupportedModel(msg)


def _resident(head: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of the head, which accelerate may keep elsewhere until its forward pass."""
    weight: Tensor = head.weight  # type: ignore[assignment]
    if not weight.is_meta:
        return weight.detach(), getattr(head, "bias", None)
    from accelerate.utils import align_module_device

    with align_module_device(head):
        own = dict(head.named_parameters())
        return own["weight"].detach().clone(), own["bias"].detach().clone() if "bias" in own else None


def _parameters_fingerprint(model: PreTrainedModel) -> str:
    digest = xxhash.xxh3_128()
    for name, parameter in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
