"""Models that are spread over devices and disk, or quantised: accelerate and bitsandbytes at work, on a CPU."""

import importlib.util
import logging

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from risedb.config import LoadConfig, ReadoutConfig, SketchConfig
from risedb.errors import InvalidInput, UnsupportedModel
from risedb.featurize import Featurizer, LanguageModel, load_model
from tests.featurize.models import byte_tokenizer, random_model
from tests.featurize.test_checkpoint import DEMO, logits

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's own
LAYERS = {f"gpt_neox.layers.{i}": "disk" if i % 2 else "cpu" for i in range(4)}
ENDS = {"gpt_neox.embed_in": "cpu", "gpt_neox.final_layer_norm": "cpu", "gpt_neox.rotary_emb": "cpu"}


@pytest.fixture(scope="module")
def demo():
    return load_model("demo", LoadConfig(dtype="float32"))


def is_on_disk(model, name):
    return model._model.get_parameter(name).is_meta


@pytest.mark.parametrize(
    ("device_map", "on_disk"),
    [
        ("auto", ()),
        ({"": "cpu"}, ()),
        ({**LAYERS, **ENDS, "lm_head": "cpu"}, ("gpt_neox.layers.1.mlp.dense_h_to_4h.weight",)),
        ({"": "disk"}, ("gpt_neox.embed_in.weight", "lm_head.weight")),
    ],
    ids=["auto", "cpu", "some layers on disk", "all on disk"],
)
def test_device_map_changes_where_weights_lie_and_nothing_else(device_map, on_disk, demo, tmp_path):
    config = LoadConfig(dtype="float32", device_map=device_map, offload_folder=str(tmp_path / "offload"))
    model = load_model("demo", config)
    assert all(is_on_disk(model, name) for name in on_disk)
    for _ in range(2):  # a pass that ends at the head leaves nothing behind
        assert torch.equal(logits(model), logits(demo))
    assert torch.equal(model.head, demo.head)
    assert model.fingerprint == demo.fingerprint
    document = model.tokenizer.encode(["Acquire the lock, blocking or non-blocking, and release it."], [0])
    numbers = (ReadoutConfig(), SketchConfig.parse("compact"))
    ours, theirs = (Featurizer(one, *numbers).phi(document) for one in (model, demo))
    assert (ours.rh == theirs.rh).all()
    assert (ours.gh == theirs.gh).all()


def test_body_and_head_on_different_devices_meet_at_the_head():
    """Here the other device is meta, on which only the shapes and devices of a forward pass are computed."""
    model = LanguageModel(random_model("Llama"), byte_tokenizer())
    model._model.to("meta")
    model._entrance = torch.device("meta")
    ids = torch.arange(1, 20)[None]
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # the way to the head's device
        model.hidden(ids, torch.ones_like(ids))


@pytest.mark.parametrize(("bits", "most"), [("8bit", 0.03), ("4bit", 0.25)])
def test_quantised_layers_are_near_the_model_and_leave_head_and_fingerprint(bits, most, demo, caplog):
    model = load_model("demo", LoadConfig(quantize=bits, dtype="float32"))
    sizes = [one._model.get_memory_footprint() for one in (model, demo)]
    assert sizes[0] < 0.65 * sizes[1]  # the embeddings stay
    assert torch.equal(model.head, demo.head)
    assert model.fingerprint == demo.fingerprint
    error = (logits(model) - logits(demo)).norm() / logits(demo).norm()
    assert 0 < error < most
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_checkpoint_that_is_quantised_on_disk_loads_if_its_head_is_not(tmp_path, demo):
    for name, skipped in (("body", None), ("head-too", ["nothing"])):
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
        AutoModelForCausalLM.from_pretrained(DEMO, quantization_config=config).save_pretrained(tmp_path / name)
        demo.tokenizer._tokenizer.save_pretrained(tmp_path / name)
    near = load_model(str(tmp_path / "body"), LoadConfig(dtype="float32"))
    assert (logits(near) - logits(demo)).norm() / logits(demo).norm() < 0.03
    assert near.fingerprint != demo.fingerprint  # other weights on disk
    with pytest.raises(UnsupportedModel, match=r"head of GPTNeoXForCausalLM is stored as int8.*llm_int8_skip_modules"):
        load_model(str(tmp_path / "head-too"))


def test_adapter_is_merged_under_a_device_map_and_not_into_quantised_weights(tmp_path):
    settings = LoraConfig(target_modules=["query_key_value"], init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32), settings)
    adapted.save_pretrained(tmp_path)
    plain, mapped = (load_model(str(tmp_path), LoadConfig(device_map=one)) for one in (None, "auto"))
    assert torch.equal(logits(plain), logits(mapped))
    assert plain.fingerprint == mapped.fingerprint
    with pytest.raises(InvalidInput, match="merge it into its model"):
        load_model(str(tmp_path), LoadConfig(quantize="8bit"))


@pytest.mark.parametrize(
    ("library", "config"),
    [
        ("accelerate", {"device_map": "auto"}),
        ("bitsandbytes", {"quantize": "4bit"}),
        ("accelerate", {"quantize": "8bit"}),
    ],
)
def test_library_that_is_not_installed_is_named_with_what_installs_it(library, config, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else find(name))
    with pytest.raises(InvalidInput, match=rf"needs {library}; install it with pip install 'risedb\[large\]'"):
        load_model("demo", LoadConfig(**config))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"device_map": "everywhere"}, "device_map is 'everywhere'"),
        ({"device_map": "auto", "device": "cpu"}, "device is 'cpu'"),
        ({"quantize": "2bit"}, "quantize is '2bit'"),
        ({"device_map": {"": "cuda:7"}}, "no device 'cuda:7'"),
        ({"device_map": {"": 7}}, "no device 'cuda:7'"),
    ],
)
def test_what_cannot_be_loaded_so_is_refused(config, message):
    with pytest.raises(InvalidInput, match=message):
        load_model("demo", LoadConfig(**config))
