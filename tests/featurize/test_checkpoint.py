"""Models from disk: what is loaded, in which precision, under which fingerprint; what is refused, and how."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

import risedb
from risedb.config import LoadConfig, ReadoutConfig, SketchConfig
from risedb.errors import InvalidInput, NotFound, UnsupportedModel
from risedb.featurize import Featurizer, LanguageModel, load_model
from risedb.featurize.checkpoint import has_bfloat16
from tests.featurize.models import byte_tokenizer, random_model

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's own
DEMO = Path(risedb.__file__).parent / "featurize" / "demo_model"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(DEMO, tmp_path / "model")


def logits(model):
    ids = torch.arange(1, 20)[None]
    return model.logits(model.hidden(ids, torch.ones_like(ids))[0])


def test_demo_model_is_small_and_loads_in_float32():
    model = load_model("demo", LoadConfig(dtype="float32"))
    assert sum(file.stat().st_size for file in DEMO.iterdir()) <= 8e6
    assert model._model.num_parameters() <= 4e6
    assert model.head.dtype == torch.float32  # its file is float16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_the_one_asked_for_and_no_part_of_the_fingerprint(dtype):
    model = load_model("demo", LoadConfig(dtype=dtype))
    assert model.head.dtype == getattr(torch, dtype)
    assert {parameter.dtype for parameter in model._model.parameters()} == {model.head.dtype}
    assert model.fingerprint == load_model("demo").fingerprint


def test_fingerprint_follows_the_weights_and_the_configuration_not_the_path(folder):
    original = load_model("demo").fingerprint
    assert load_model(str(folder)).fingerprint == original
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "9", "dtype": "float64"}))
    assert load_model(str(folder)).fingerprint == original
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.1}))
    assert load_model(str(folder)).fingerprint != original


def test_sharded_checkpoint_is_read_and_all_its_files_count(tmp_path):
    model = random_model("Llama")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    byte_tokenizer().save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    loaded = load_model(str(tmp_path), LoadConfig(dtype="float32"))
    torch.testing.assert_close(
        logits(loaded), model(torch.arange(1, 20)[None]).logits[0].detach(), rtol=1e-4, atol=1e-4
    )
    last = bytearray(shards[-1].read_bytes())
    last[-1] ^= 1
    shards[-1].write_bytes(last)
    assert load_model(str(tmp_path)).fingerprint != loaded.fingerprint


def test_peft_adapter_is_merged_and_counts(folder, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = LoraConfig(target_modules=["query_key_value"], init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = get_peft_model(base, settings)
    adapted.save_pretrained(tmp_path / "adapter")
    adapter = load_model(str(tmp_path / "adapter"), LoadConfig(dtype="float32"))
    with torch.no_grad():
        expected = adapted.eval()(torch.arange(1, 20)[None]).logits[0]
    torch.testing.assert_close(logits(adapter), expected, rtol=1e-3, atol=1e-3)
    demo = load_model("demo")
    assert not torch.allclose(logits(adapter), logits(demo), atol=1e-2)
    assert adapter.fingerprint != demo.fingerprint
    assert adapter.tokenizer.fingerprint() == demo.tokenizer.fingerprint()


def test_adapter_that_cannot_be_merged_is_refused(folder, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompts = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(base, prompts).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UnsupportedModel, match="cannot be merged"):
        load_model(str(tmp_path / "adapter"))


def test_folders_without_a_model_or_with_pickles_only_are_refused(folder, tmp_path):
    with pytest.raises(InvalidInput, match=r"no config\.json"):
        load_model(str(tmp_path))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match="reads no pickles"):
        load_model(str(folder))


def test_folder_without_a_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UnsupportedModel, match="tokenizer"):
        load_model(str(folder))


def test_code_of_a_model_is_not_run_unless_asked(folder):
    marker = folder / "ran"
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(UnsupportedModel):
        load_model(str(folder))
    assert not marker.exists()


def test_names_that_lead_nowhere_are_not_found(monkeypatch):
    for name in ("./nowhere", "/no/where", "a/b/c"):
        with pytest.raises(NotFound, match="no model folder"):
            load_model(name)
    with pytest.raises(NotFound, match="hub gave no model"):  # HF_HUB_OFFLINE is set
        load_model("nobody/no-such-model-here")


def test_device_that_is_not_there_is_refused():
    for device in ("cuda:7", "nonsense"):
        with pytest.raises(InvalidInput, match=f"no device '{device}'"):
            load_model("demo", LoadConfig(device=device))


def test_damaged_weights_are_refused(folder):
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(InvalidInput, match="are damaged"):
        load_model(str(folder))


def test_more_tokens_than_the_model_has_positions_are_refused():
    for name in ("demo", "GPT2"):
        model = load_model(name) if name == "demo" else LanguageModel(random_model(name), byte_tokenizer())
        Featurizer(model, ReadoutConfig(seq_len=512), SketchConfig())
        with pytest.raises(InvalidInput, match="give --seq-len 512 or less"):
            Featurizer(model, ReadoutConfig(seq_len=513), SketchConfig())


@pytest.mark.parametrize(
    ("capabilities", "multiplies"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),  # Ice Lake
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),  # Zen 4
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({}, False),
    ],
)
def test_auto_takes_bfloat16_on_processors_that_multiply_it(capabilities, multiplies):
    assert has_bfloat16(capabilities) == multiplies


def test_auto_precision_is_what_this_processor_multiplies():
    half = has_bfloat16(torch.cpu.get_capabilities())
    model = load_model("demo", LoadConfig(device="cpu"))
    assert model.head.dtype == (torch.bfloat16 if half else torch.float32)
