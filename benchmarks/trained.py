"""A rivals' model, trained on some texts for as long as a with block lasts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.rivals.causal import Causal
from risedb.config import ReadoutConfig
from tools.finetune import Recipe, training


@contextmanager
def trained(causal: Causal, texts: Sequence[str], recipe: Recipe) -> Iterator[None]:
    """Continue training on the texts' first `seq_len` tokens; in the end the parameters are what they were."""
    start = {name: tensor.clone() for name, tensor in causal.model.state_dict().items()}
    readout = ReadoutConfig(seq_len=causal.seq_len)
    tokens = causal.language.tokenizer.encode(texts, [0] * len(texts))
    try:
        for _ in training(causal.model, [window for one in tokens for window in one.windows(readout)], recipe):
            pass
        yield
    finally:
        causal.model.load_state_dict(start)
