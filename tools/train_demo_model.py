"""Train the demo model that RiseDB ships: a small GPT-NeoX on the documentation of the Python that runs this.

    python -m tools.train_demo_model risedb/featurize/demo_model

The text is read at run time (:mod:`risedb.corpus.python_docs`) and never stored. A quarter of an hour on two CPU cores.
Writes config.json, model.safetensors (float16), tokenizer.json and tokenizer_config.json; README.md there is kept by
hand.
"""

import argparse
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from risedb.corpus.python_docs import read_python_docs
from tools.finetune import new_optimizer, take_step

END = "<|endoftext|>"
VOCABULARY = 4096
CONTEXT = 256
BATCH = 16
HELD_OUT = 20  # every 20th passage


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE without a prefix space: any text round-trips."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END)


def new_model() -> GPTNeoXForCausalLM:
    """3.4 M parameters: 4 layers of width 192, untied head."""
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=768,
        max_position_embeddings=512,
        hidden_dropout=0.1,
        attention_dropout=0.0,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    return GPTNeoXForCausalLM(config)


def stream(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    """All texts as one row of token ids, an end token between them."""
    end = tokenizer.eos_token_id
    return torch.tensor([token for text in texts for token in [*tokenizer(text)["input_ids"], end]])


def windows(tokens: torch.Tensor, offset: int) -> torch.Tensor:
    """Cut a stream into (n, CONTEXT) windows that start at ``offset``."""
    count = (len(tokens) - offset) // CONTEXT
    return tokens[offset : offset + count * CONTEXT].view(count, CONTEXT)


@torch.no_grad()
def held_out_loss(model: GPTNeoXForCausalLM, tokens: torch.Tensor) -> float:
    """Mean loss in nats a token."""
    model.eval()
    losses = [model(input_ids=rows, labels=rows).loss for rows in windows(tokens, 0).split(BATCH)]
    model.train()
    return float(torch.stack(losses).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    random.seed(arguments.seed)

    texts = [row.values["text"] for row in read_python_docs()]
    train = [text for i, text in enumerate(texts) if i % HELD_OUT]
    tokenizer = train_tokenizer(train)
    held_out = stream(tokenizer, texts[::HELD_OUT])
    model = new_model()
    print(f"{model.num_parameters():,} parameters, {len(stream(tokenizer, train)):,} tokens")

    steps = len(stream(tokenizer, train)) // (CONTEXT * BATCH) * arguments.epochs
    optimizer, schedule = new_optimizer(model, arguments.learning_rate, steps, warmup=100)
    start, best = time.monotonic(), math.inf
    for epoch in range(arguments.epochs):
        random.shuffle(train)
        rows = windows(stream(tokenizer, train), random.randrange(CONTEXT))
        for batch in rows[torch.randperm(len(rows))].split(BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(input_ids=batch, labels=batch).loss
            take_step(model, loss, optimizer, schedule)
        held = held_out_loss(model, held_out)
        minutes = (time.monotonic() - start) / 60
        print(
            f"epoch {epoch + 1}: train {loss:.3f}, held out {held:.3f}, {minutes:.1f} min",
            flush=True,
        )
        if held < best:
            best = held
            model.config.hidden_dropout = 0.0
            model.generation_config = None
            model.to(torch.float16).save_pretrained(arguments.folder)
            model.to(torch.float32)
            tokenizer.save_pretrained(arguments.folder)
    print(f"kept the epoch with {best:.3f} nats a token on held-out text")


if __name__ == "__main__":
    main()
