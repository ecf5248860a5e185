"""Small random models of many architectures, built from their configurations; nothing is downloaded."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 300

_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
ARCHITECTURES = {
    "GPTNeoX": {"tie_word_embeddings": False},
    "Llama": {"tie_word_embeddings": False},
    "Olmo2": {},
    "Olmo3": {},
    "Qwen3": {"tie_word_embeddings": True, "head_dim": 8},
    "Gemma2": {"final_logit_softcapping": 2.0, "head_dim": 8, "query_pre_attn_scalar": 8},
    "Gemma3": {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 8},
    "GPT2": {},
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Cohere": {"logit_scale": 0.25},
    "Granite": {"logits_scaling": 3.0},
    "Phi": {},
}
_CONFIGS = {"Gemma3": "Gemma3TextConfig"}
_GPT2_NAMES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
}


def random_model(name: str, *, seed: int = 0, scale: float = 0.2):
    """Build an architecture with weights large enough that its logits spread and its softcap bends them."""
    settings = {**_COMMON, **ARCHITECTURES[name]}
    if name == "GPT2":
        settings = {_GPT2_NAMES.get(key, key): value for key, value in settings.items()}
        settings = {**settings, "n_positions": 512}
        for key in ("num_key_value_heads", "intermediate_size", "max_position_embeddings"):
            settings.pop(key)
    config = getattr(transformers, _CONFIGS.get(name, f"{name}Config"))(**settings)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"  # the grouped kernel knows no float64, which the oracle needs
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model.eval()


def byte_tokenizer(**options):
    """Make a real fast tokenizer without training: one token a byte."""
    alphabet = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = {"bos_token": alphabet[0], "eos_token": alphabet[0], "pad_token": alphabet[0]}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special, **options)
