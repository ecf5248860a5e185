r"""Continue training a causal LM on a pool, so that scores against it are retrospective.

    python tools/finetune.py ../shared/models/tiny-neox ../shared/data/howdy/pool.jsonl.zst --seq-len 256 \
        --template '### Instruction:\n{prompt}\n### Response:\n{completion}' --out tiny-neox-howdy

What the model learns is what an index reads: the same tokens, cut at the same place, with the loss on the same
positions. Writes float32 safetensors and the tokenizer; 23 minutes for these 5,000 documents on one busy CPU core.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from risedb.cli.options import meaning
from risedb.config import LoadConfig, ReadoutConfig
from risedb.corpus import Fields, read_all
from risedb.database.signing import encode_rows
from risedb.errors import InvalidInput, RiseDBError
from risedb.featurize import Tokens, load_model
from risedb.featurize.batches import plan_batches

UNCOUNTED = -100  # what cross_entropy leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is trained."""

    epochs: int = 3
    """How often each document is seen."""
    learning_rate: float = 5e-4
    """At its height, after the warm-up."""
    batch_tokens: int = 2048
    """Most tokens in one step, padding included."""
    seed: int = 42
    """Of the batches' order, and of dropout."""


def training(model: PreTrainedModel, windows: Sequence[Tokens], recipe: Recipe) -> Iterator[float]:
    """Train a model in place, one epoch each time a loss is asked for.

    Windows of similar length share a batch; the batches' order, and which of equally long windows meet, is drawn anew
    in every epoch.

    Parameters
    ----------
    model
        Any causal LM of transformers, in float32.
    windows
        Non-empty, from :meth:`Tokens.windows`; the loss is on each one's tokens from `first_target` on.
    recipe
        What to do.

    Yields
    ------
    float
        Mean loss of the epoch's steps in nats a counted token, each before its step.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    plans = [shuffled_batches(windows, recipe.batch_tokens, rng) for _ in range(recipe.epochs)]
    steps = sum(map(len, plans))
    optimizer, schedule = new_optimizer(model, recipe.learning_rate, steps, warmup=math.ceil(steps / 20))
    for plan in plans:
        model.train()
        total = counted = 0.0
        for batch in plan:
            loss, positions = loss_of(model, [windows[i] for i in batch])
            take_step(model, loss, optimizer, schedule)
            total += loss.item() * positions
            counted += positions
        model.eval()
        yield total / counted


def loss_of(model: PreTrainedModel, windows: Sequence[Tokens]) -> tuple[Tensor, int]:
    """Return the mean loss, differentiable, over the positions that count, and how many they are."""
    ids = torch.zeros(len(windows), max(len(one.ids) for one in windows), dtype=torch.int64)
    mask, targets = torch.zeros_like(ids), torch.full_like(ids, UNCOUNTED)
    for row, one in enumerate(windows):
        known = torch.from_numpy(one.ids)
        ids[row, : len(known)] = known
        mask[row, : len(known)] = 1
        targets[row, one.first_target - 1 : len(known) - 1] = known[one.first_target :]
    logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False).logits
    loss = nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten().to(logits.device), ignore_index=UNCOUNTED
    )
    return loss, int((targets != UNCOUNTED).sum())


def new_optimizer(
    model: PreTrainedModel, learning_rate: float, steps: int, warmup: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with decay on matrices alone; a warm-up, then a cosine to a twentieth."""
    decay = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2),
    )
    return optimizer, schedule


def take_step(
    model: PreTrainedModel,
    loss: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Move the parameters against the gradient, clipped to length 1."""
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()


def shuffled_batches(windows: Sequence[Tokens], batch_tokens: int, rng: np.random.Generator) -> list[list[int]]:
    """Deal windows into batches of similar length, padded within a budget; each batch is a list of their numbers."""
    order = rng.permutation(len(windows))
    batches = plan_batches([len(windows[i].ids) for i in order], batch_tokens)
    return [[int(order[i]) for i in batches[number]] for number in rng.permutation(len(batches))]


def _finetune(given: argparse.Namespace) -> None:
    if (given.out / "config.json").exists():
        msg = f"{given.out} holds a model already; name another folder, or remove it"
        raise InvalidInput(msg)
    rows = read_all(given.pool)  # a bad name fails before the model loads
    fields = Fields(**meaning(template=given.template, loss_on=given.loss_on))
    readout = ReadoutConfig(seq_len=given.seq_len)
    language = load_model(given.model, LoadConfig(dtype="float32"))
    _, tokens = encode_rows(rows, language.tokenizer, readout, fields)
    windows = [window for one in tokens for window in one.windows(readout)]
    print(f"{len(tokens):,} documents, {sum(len(one.ids) for one in windows):,} tokens", flush=True)
    recipe = Recipe(epochs=given.epochs, learning_rate=given.lr, batch_tokens=given.batch_tokens, seed=given.seed)
    start = perf_counter()
    for epoch, loss in enumerate(training(language.network, windows, recipe), 1):
        print(f"epoch {epoch}: {loss:.4f} nats a token, {perf_counter() - start:.0f} s", flush=True)
    language.network.save_pretrained(given.out)
    language.tokenizer._tokenizer.save_pretrained(given.out)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="'demo', a folder, or a hub id")
    parser.add_argument("pool", nargs="+", help="documents in any format that risedb add reads")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--template", help="as of risedb add")
    parser.add_argument("--loss-on", choices=("all", "completion"), help="as of risedb add")
    parser.add_argument("--seq-len", type=int, default=512)
    recipe = Recipe()
    parser.add_argument("--epochs", type=int, default=recipe.epochs)
    parser.add_argument("--lr", type=float, default=recipe.learning_rate)
    parser.add_argument("--batch-tokens", type=int, default=recipe.batch_tokens)
    parser.add_argument("--seed", type=int, default=recipe.seed)
    try:
        _finetune(parser.parse_args(arguments))
    except RiseDBError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
