"""Hidden states, head and transforms against the models' own logits, and whole signatures against the oracle."""

from itertools import islice

import numpy as np
import pytest
import torch

from risedb.config import LoadConfig, ReadoutConfig, SketchConfig
from risedb.corpus import Row, read
from risedb.errors import UnsupportedModel
from risedb.featurize import Featurizer, LanguageModel, Tokens, load_model
from tests import oracle
from tests.featurize.models import ARCHITECTURES, byte_tokenizer, random_model

PRESETS = ["compact", "small", "base", "large"]
OTHER_NUMBERS = [
    ReadoutConfig(tau=0.6),
    ReadoutConfig(tau=2.5, rho_cum=0.5),
    ReadoutConfig(rho_cum=1.0, k_max=40),
    ReadoutConfig(min_keep=30, rho_cum=0.2),
    ReadoutConfig(k_max=2),
    ReadoutConfig(k_max=5, min_keep=2),
    ReadoutConfig(k_max=100_000),
    ReadoutConfig(factor_norm="residual"),
    ReadoutConfig(factor_norm="none"),
    ReadoutConfig(gh_through="input-embeddings"),
    ReadoutConfig(gh_through="input-embeddings", factor_norm="none", rho_cum=0.5),
]


def random_tokens(lengths, first_targets=None, seed=1):
    rng = np.random.default_rng(seed)
    firsts = first_targets or [1] * len(lengths)
    return [Tokens(rng.integers(1, 300, n), first) for n, first in zip(lengths, firsts, strict=True)]


def oracle_signatures(model, documents, readout, sketch):
    """Run the model in float64, one document at a time, all logits whole, and hand every position to the loops."""
    double = model.double()
    head = double.get_output_embeddings()
    caught = []
    hook = head.register_forward_pre_hook(lambda _module, arguments: caught.append(arguments[0]))
    numbers = {name: getattr(readout, name) for name in ("tau", "rho_cum", "min_keep", "k_max", "factor_norm")}
    rows = head if readout.gh_through == "head" else double.get_input_embeddings()
    signatures = []
    for tokens in documents:
        ids = torch.from_numpy(tokens.ids)[None]
        with torch.no_grad():
            logits = double(input_ids=ids, use_cache=False).logits[0].numpy()
        hidden = caught.pop()[0].detach().numpy()
        counted = np.arange(tokens.first_target, len(tokens.ids))
        phi = oracle.signature(
            hidden[counted - 1], logits[counted - 1], tokens.ids[counted],
            rows.weight.detach().numpy(), widths=(sketch.kr, sketch.kh, sketch.kg), seed=sketch.seed, **numbers,
        )  # fmt: skip
        signatures.append(phi)
    hook.remove()
    return [np.stack(channel) for channel in zip(*signatures, strict=True)]


def assert_agrees(model, documents, readout, sketch):
    featurizer = Featurizer(LanguageModel(model, byte_tokenizer()), readout, sketch, batch_tokens=64)
    phi = featurizer.phi(documents)
    for ours, exact in zip((phi.rh, phi.gh), oracle_signatures(model, documents, readout, sketch), strict=True):
        error = np.linalg.norm(ours - exact, axis=1) / np.linalg.norm(exact, axis=1)
        assert error.max() < 1e-3, error


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_signature_of_architecture_agrees_with_the_oracle(architecture):
    documents = random_tokens([13, 5, 2, 30], [1, 3, 1, 11])
    assert_agrees(random_model(architecture), documents, ReadoutConfig(), SketchConfig())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_agrees_with_the_oracle(preset):
    assert_agrees(random_model("Llama"), random_tokens([20, 7]), ReadoutConfig(), SketchConfig.parse(preset))


@pytest.mark.parametrize("readout", OTHER_NUMBERS, ids=str)
def test_numbers_away_from_their_defaults_agree_with_the_oracle(readout):
    sketch = SketchConfig(kr=31, kh=7, kg=9, seed=2**63 + 11)
    assert_agrees(random_model("GPTNeoX"), random_tokens([20, 7]), readout, sketch)


def test_gh_through_tied_embeddings_is_gh_through_the_head():
    model = LanguageModel(random_model("Qwen3"), byte_tokenizer())
    through = ReadoutConfig(gh_through="input-embeddings")
    one, other = (
        Featurizer(model, each, SketchConfig()).phi(random_tokens([9])) for each in (ReadoutConfig(), through)
    )
    np.testing.assert_array_equal(one.gh, other.gh)


def test_gh_through_embeddings_of_fewer_tokens_is_refused():
    model = LanguageModel(random_model("Llama"), byte_tokenizer())
    model.network.set_input_embeddings(torch.nn.Embedding(299, 32))
    with pytest.raises(UnsupportedModel, match=r"are \(299, 32\) numbers of float32"):
        Featurizer(model, ReadoutConfig(gh_through="input-embeddings"), SketchConfig())


def test_head_with_a_bias_agrees_with_the_oracle():
    model = random_model("Phi")
    assert model.get_output_embeddings().bias is not None
    assert_agrees(model, random_tokens([15]), ReadoutConfig(), SketchConfig())


def test_softcap_and_scale_are_applied():
    for name in ("Gemma2", "Cohere", "Granite"):
        model = random_model(name)
        wrapped = LanguageModel(model, byte_tokenizer())
        ids = torch.arange(1, 20)[None]
        hidden = wrapped.hidden(ids, torch.ones_like(ids))
        linear = (hidden @ wrapped.head.T)[0]
        own = model(input_ids=ids).logits[0].detach()
        assert not torch.allclose(linear, own, rtol=0.05)  # the transform does something here
        torch.testing.assert_close(wrapped.logits(hidden[0]), own, rtol=1e-4, atol=1e-4)


def test_model_that_bends_its_logits_in_an_unknown_way_is_refused_by_class():
    model = random_model("Llama")
    forward = model.forward

    def bent(*arguments, **options):
        output = forward(*arguments, **options)
        output.logits = output.logits * 1.01
        return output

    model.forward = bent
    with pytest.raises(UnsupportedModel, match="LlamaForCausalLM"):
        LanguageModel(model, byte_tokenizer())


def test_model_without_a_linear_head_is_refused_by_class():
    model = random_model("GPTNeoX")
    model.set_output_embeddings(torch.nn.Sequential(model.get_output_embeddings()))
    with pytest.raises(UnsupportedModel, match="GPTNeoXForCausalLM"):
        LanguageModel(model, byte_tokenizer())


def cosine(a, b):
    return np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_signature_does_not_depend_on_its_batch(architecture):
    model = LanguageModel(random_model(architecture), byte_tokenizer())
    documents = random_tokens([40, 3, 17, 25, 9, 2, 31])
    together = Featurizer(model, ReadoutConfig(), SketchConfig(), batch_tokens=4096).phi(documents)
    alone = Featurizer(model, ReadoutConfig(), SketchConfig(), batch_tokens=1).phi(documents)
    assert cosine(together.rh, alone.rh).min() >= 0.99999
    assert cosine(together.gh, alone.gh).min() >= 0.99999


@pytest.mark.parametrize("architecture", ["GPTNeoX", "GPT2", "Llama"])
def test_signature_does_not_depend_on_its_neighbours(architecture):
    model = LanguageModel(random_model(architecture), byte_tokenizer())
    featurizer = Featurizer(model, ReadoutConfig(), SketchConfig())
    (document,), some, others = (random_tokens(lengths, seed=i) for i, lengths in enumerate(([11], [30, 4], [12, 60])))
    one, other = featurizer.phi([document, *some]), featurizer.phi([*others, document])
    assert cosine(one.rh[:1], other.rh[2:]).min() >= 0.99999
    assert cosine(one.gh[:1], other.gh[2:]).min() >= 0.99999


@pytest.mark.parametrize("architecture", ["GPTNeoX", "GPT2", "Llama"])
def test_signature_does_not_depend_on_the_tokenizers_padding_side(architecture):
    texts = ["A cat sleeps on a blanket in the sun.", "Rain.", "The stock market fell on Friday."]
    phis = []
    for side in ("right", "left"):
        model = LanguageModel(random_model(architecture), byte_tokenizer(padding_side=side))
        documents = model.tokenizer.encode(texts, [0] * len(texts))
        phis.append(Featurizer(model, ReadoutConfig(), SketchConfig()).phi(documents))
    alone = Featurizer(model, ReadoutConfig(), SketchConfig(), batch_tokens=1).phi(documents)
    for phi in phis:
        assert cosine(phi.rh, alone.rh).min() >= 0.99999
        assert cosine(phi.gh, alone.gh).min() >= 0.99999


@pytest.mark.shared
def test_signatures_of_a_trained_model_do_not_depend_on_their_batch(shared):
    model = load_model(str(shared / "models" / "tiny-neox"), LoadConfig(dtype="float32", device="cpu"))
    rows = [row for row in islice(read(shared / "data" / "howdy" / "pool.jsonl.zst"), 24) if isinstance(row, Row)]
    documents = model.tokenizer.encode([row.values["completion"] for row in rows], [0] * len(rows))
    together = Featurizer(model, ReadoutConfig(seq_len=128), SketchConfig(), batch_tokens=4096).phi(documents)
    alone = Featurizer(model, ReadoutConfig(seq_len=128), SketchConfig(), batch_tokens=1).phi(documents)
    assert cosine(together.rh, alone.rh).min() >= 0.99999
    assert cosine(together.gh, alone.gh).min() >= 0.99999


def test_logits_chunk_does_not_change_the_signature():
    model = LanguageModel(random_model("Llama"), byte_tokenizer())
    whole = Featurizer(model, ReadoutConfig(), SketchConfig())
    pieces = Featurizer(model, ReadoutConfig(), SketchConfig())
    pieces._chunk = 3
    documents = random_tokens([20, 8])
    np.testing.assert_allclose(pieces.phi(documents).rh, whole.phi(documents).rh, atol=1e-5)


def test_windows_of_a_long_document_add_up_to_their_own_signatures():
    model = LanguageModel(random_model("Llama"), byte_tokenizer())
    readout = ReadoutConfig(seq_len=8, long="sum")
    featurizer = Featurizer(model, readout, SketchConfig())
    (document,) = random_tokens([23])
    parts = [Tokens(document.ids[start : start + 8]) for start in (0, 7, 14, 21)]
    assert [len(part.ids) for part in parts] == [8, 8, 8, 2]
    whole, single = featurizer.phi([document]), featurizer.phi(parts)
    np.testing.assert_allclose(whole.rh[0], single.rh.sum(axis=0), atol=1e-5)
    assert whole.positions[0] == 22 == single.positions.sum()  # every token but the first, once


def test_truncation_reads_the_beginning_only():
    model = LanguageModel(random_model("Llama"), byte_tokenizer())
    featurizer = Featurizer(model, ReadoutConfig(seq_len=8), SketchConfig())
    (document,) = random_tokens([23])
    np.testing.assert_array_equal(featurizer.phi([document]).gh, featurizer.phi([Tokens(document.ids[:8])]).gh)


def test_nan_logits_are_told_for_the_document_that_has_them():
    model = random_model("Llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[299] = float("nan")
    featurizer = Featurizer(LanguageModel(model, byte_tokenizer(), fingerprint="x"), ReadoutConfig(), SketchConfig())
    good = Tokens(np.array([1, 2, 3]))
    phi = featurizer.phi([good, Tokens(np.array([1, 299, 3])), good])
    assert phi.finite.tolist() == [True, False, True]
    np.testing.assert_allclose(phi.rh[0], phi.rh[2], atol=1e-6)


def test_document_without_a_counted_position_has_a_zero_signature():
    featurizer = Featurizer(LanguageModel(random_model("Llama"), byte_tokenizer()), ReadoutConfig(), SketchConfig())
    phi = featurizer.phi([Tokens(np.array([5])), Tokens(np.array([], dtype=np.int64))])
    assert not phi.rh.any()
    assert phi.positions.tolist() == [0, 0]


def test_bfloat16_signatures_stay_close_to_float32():
    model = random_model("GPTNeoX", scale=0.05)
    documents = random_tokens([30] * 8)
    exact = Featurizer(LanguageModel(model, byte_tokenizer()), ReadoutConfig(), SketchConfig()).phi(documents)
    half = LanguageModel(model.to(torch.bfloat16), byte_tokenizer())
    close = Featurizer(half, ReadoutConfig(), SketchConfig()).phi(documents)
    assert cosine(exact.gh, close.gh).min() > 0.99
