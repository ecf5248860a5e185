"""Gradients of a loss, block by block: the one place where RiseDB runs a model backwards, and only to look at it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from risedb.errors import UnsupportedModel
from risedb.featurize import LanguageModel, Tokens


class LossGradients:
    """Gradients of a causal LM's loss for one window at a time, in blocks: embedding, layers, head, rest.

    The loss is cross entropy at temperature 1, summed over positions (arXiv:2604.16197v1, Eq. 5). The head's gradient
    is delta_z (x) h, summed (Assumption C.1), with delta_z as autograd has it behind every transform of the logits;
    where head and embedding are one tied matrix, it is subtracted from that matrix's gradient to give the embedding's.
    Position embeddings count with the embedding; the rest is final norms and the head's bias.

    Parameters
    ----------
    model
        The language model. Its parameters' ``grad`` and ``requires_grad`` are left as they were.

    Attributes
    ----------
    layers
        How many transformer layers it has, L.

    Raises
    ------
    UnsupportedModel
        If it has no list of as many layers as its configuration says, or layers are not in memory.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        network = model.network
        self.layers = int(network.config.get_text_config().num_hidden_layers)
        stacks = [part for part in network.modules() if isinstance(part, nn.ModuleList) and len(part) == self.layers]
        if not stacks:
            msg = f"{type(network).__name__} has no list of {self.layers} layers whose gradients could be told apart"
            raise UnsupportedModel(msg)
        if any(p.is_meta for p in network.parameters()):
            msg = f"gradients need all of {type(network).__name__} in memory, and a device map left layers on disk"
            raise UnsupportedModel(msg)
        stack = max(stacks, key=lambda part: sum(p.numel() for p in part.parameters()))
        blocks = {id(p): 0 for part in network.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
        blocks |= {id(p): layer for layer, part in enumerate(stack, 1) for p in part.parameters()}
        self._head: Any = network.get_output_embeddings()
        self._is_tied = id(self._head.weight) in blocks
        apart = set() if self._is_tied else {id(self._head.weight)}
        self._parameters = [p for p in network.parameters() if p.is_floating_point() and id(p) not in apart]
        self._blocks = [blocks.get(id(p), self.layers + 2) for p in self._parameters]

    @property
    def size(self) -> int:
        """Numbers in a whole gradient, |theta|, the head's and the embedding's both where they are tied."""
        return sum(p.numel() for p in self._parameters) + self._model.head.numel()

    def of(self, window: Tokens, position: int | None = None) -> list[list[Tensor]]:
        """Return the gradients of embedding, layers 1 to L, head and the rest, a list of tensors each.

        Parameters
        ----------
        window
            Token ids, not longer than the model takes.
        position
            Index of the one token whose loss it is; by default all that count.
        """
        ids = torch.from_numpy(window.ids).to(self._model.device)
        targets = torch.arange(window.first_target, len(ids)) if position is None else torch.tensor([position])
        with _requiring_grad(self._parameters), torch.enable_grad(), _watched(self._head) as seen:
            logits = self._model.network(input_ids=ids[None], use_cache=False).logits[0].float()
            loss = nn.functional.cross_entropy(logits[targets - 1], ids[targets], reduction="sum")
            delta, *parts = torch.autograd.grad(
                loss, [seen["z"], *self._parameters], allow_unused=True, materialize_grads=True
            )
        head = delta.flatten(0, -2).float().T @ seen["h"].detach().flatten(0, -2).float()  # (V, d)
        gradients: list[list[Tensor]] = [[] for _ in range(self.layers + 3)]
        for block, parameter, part in zip(self._blocks, self._parameters, parts, strict=True):
            is_tied = self._is_tied and parameter is self._head.weight
            gradients[block].append(part.float() - head if is_tied else part.float())
        gradients[self.layers + 1].append(head)
        return gradients

    def flat(self, window: Tokens) -> tuple[Tensor, Tensor]:
        """Return the whole gradient (|theta|,) and the head's (V * d,), float32; the whole has a tied matrix once."""
        blocks = self.of(window)
        head = blocks[self.layers + 1][0]
        if self._is_tied:
            place = next(i for i, p in enumerate(self._order(0)) if p is self._head.weight)
            blocks[0][place] = blocks[0][place] + head
            blocks[self.layers + 1] = []
        return torch.cat([part.flatten() for parts in blocks for part in parts]), head.flatten()

    def _order(self, block: int) -> list[nn.Parameter]:
        return [p for p, own in zip(self._parameters, self._blocks, strict=True) if own == block]


@contextmanager
def _requiring_grad(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let all parameters have a gradient for a while; those of a merged adapter's base have none."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


@contextmanager
def _watched(head: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Keep what enters the head, h, and what leaves it, z."""
    seen: dict[str, Tensor] = {}

    def keep(_head: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        seen["h"], seen["z"] = arguments[0], output

    with head.register_forward_hook(keep):
        yield seen
