"""From a name to a loaded model: the packaged demo, a folder, a PEFT adapter's folder, or a hub id.

A hub id is resolved to its folder in the local cache first, so that all of them are read one way. Weights come from
safetensors only, never from a pickle. A model that is larger than a device is spread or quantised by accelerate and
bitsandbytes, where they are installed; what it is called by does not change with that.
"""

import contextlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
import xxhash
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from risedb.config import LoadConfig
from risedb.errors import InvalidInput, NotFound, UnsupportedModel
from risedb.featurize.model import LanguageModel

_DEMO_FOLDER = Path(__file__).parent / "demo_model"
_WEIGHTS_INDEX = "model.safetensors.index.json"
_ADAPTER_CONFIG = "adapter_config.json"
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
# Parts of config.json that change with the program that wrote it, or with how the weights are loaded.
_NOT_THE_MODEL = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}


def load_model(name: str, config: LoadConfig | None = None) -> LanguageModel:
    """Load a causal language model with its tokenizer.

    Parameters
    ----------
    name
        ``demo``, a folder with a model, a folder with a PEFT adapter, or a hub id, also as ``id@revision``.
    config
        Precision, device and the like.

    Raises
    ------
    NotFound
        If there is no such model, here or on the hub.
    InvalidInput
        If the folder holds no model in safetensors, a device is not there, or a library for large models is not
        installed.
    UnsupportedModel
        If transformers cannot load it as a causal LM, or the probe fails.
    """
    config = config or LoadConfig()
    device = _device(config.device)
    dtype = _dtype(config.dtype, device)
    placement = _placement(config, device, dtype)
    folder = _folder(name, config)
    with _quiet_transformers():
        if (folder / _ADAPTER_CONFIG).exists():
            model, base = _load_adapter(folder, config, dtype, placement)
        else:
            model, base = _load_folder(folder, config, dtype, placement), folder
        tokenizer = _load_tokenizer(folder if _has_tokenizer(folder) else base, config)
    folders = [base] if base == folder else [base, folder]
    if not placement and not getattr(model, "is_quantized", False):
        model.to(device)  # type: ignore[arg-type]  # its signature lost self
    return LanguageModel(model, tokenizer, fingerprint=_files_fingerprint(folders))


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        msg = f"there is no device {name!r} here: {_first_line(error)}"
        raise InvalidInput(msg) from error
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        half = device.type == "cuda" or (device.type == "cpu" and has_bfloat16(torch.cpu.get_capabilities()))
        name = "bfloat16" if half else "float32"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def has_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """Tell from ``torch.cpu.get_capabilities()`` whether a processor multiplies bfloat16 itself.

    Where it does not, torch emulates it, and float32 is faster.

    Examples
    --------
    >>> has_bfloat16({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False})
    False
    """
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))  # the last is Arm's


def _placement(config: LoadConfig, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return what tells transformers where the weights go and in how many bits; nothing for one device."""
    if config.device_map is None and config.quantize is None:
        return {}
    _require_installed("accelerate", "a device map" if config.device_map else f"loading in {config.quantize}")
    device_map = config.device_map or {"": str(device)}
    if isinstance(device_map, str):
        accelerated = device.type != "cpu"
    else:
        device_map = dict(device_map)
        places = {place for place in device_map.values() if place != "disk"}
        kinds = {_device(f"cuda:{place}" if isinstance(place, int) else place).type for place in places}
        accelerated = bool(kinds - {"cpu"})
    placement: dict[str, Any] = {"device_map": device_map, "offload_folder": config.offload_folder}
    if config.quantize is not None:
        _require_installed("bitsandbytes", f"loading in {config.quantize}")
        placement["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=config.quantize == "8bit",
            load_in_4bit=config.quantize == "4bit",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_enable_fp32_cpu_offload=accelerated,  # beside a GPU, what stays in memory is not quantised
        )
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of every cast, at every forward pass
    return placement


def _require_installed(library: str, what: str) -> None:
    if importlib.util.find_spec(library) is None:
        msg = f"{what} needs {library}; install it with pip install 'risedb[large]'"
        raise InvalidInput(msg)


def _folder(name: str, config: LoadConfig) -> Path:
    if name == "demo":
        return _DEMO_FOLDER
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        msg = f"there is no model folder {name}"
        raise NotFound(msg)
    return _hub_folder(name, config)


def _hub_folder(name: str, config: LoadConfig) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    code = ["*.py"] if config.trust_remote_code else []
    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repository,
            revision=revision or config.revision,
            allow_patterns=_HUB_FILES + code,
            ignore_patterns=["*/*", "consolidated*"],
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        msg = f"no folder {name} is here, and the Hugging Face hub gave no model of that id: {_first_line(error)}"
        raise NotFound(msg) from error
    return Path(folder)


def _load_folder(folder: Path, config: LoadConfig, dtype: torch.dtype, placement: dict[str, Any]) -> PreTrainedModel:
    if not (folder / "config.json").exists():
        msg = f"{folder} holds no model: there is no config.json in it"
        raise InvalidInput(msg)
    if not _weight_files(folder):
        msg = (
            f"{folder} holds no safetensors weights; RiseDB reads no pickles. Load the model with transformers once "
            "and save it with save_pretrained"
        )
        raise InvalidInput(msg)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto" if _is_quantised(folder) else dtype,  # such a file is mixed with no other dtype than its own
            trust_remote_code=config.trust_remote_code,
            use_safetensors=True,
            **placement,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        msg = f"transformers cannot load {folder} as a causal LM: {_first_line(error)}"
        raise UnsupportedModel(msg) from error
    except SafetensorError as error:
        msg = f"the weights in {folder} are damaged: {_first_line(error)}"
        raise InvalidInput(msg) from error
    loaded: PreTrainedModel = model
    return loaded


def _is_quantised(folder: Path) -> bool:
    return "quantization_config" in json.loads((folder / "config.json").read_text("utf-8"))


def _load_adapter(
    folder: Path, config: LoadConfig, dtype: torch.dtype, placement: dict[str, Any]
) -> tuple[PreTrainedModel, Path]:
    """Load an adapter's base model and merge the adapter into it; return the base's folder with it."""
    if config.quantize is not None:
        msg = (
            f"{folder} is an adapter, and what it changes would be lost in {config.quantize} weights; merge it into "
            "its model with PEFT's merge_and_unload, save that, and load the merged model"
        )
        raise InvalidInput(msg)
    try:
        from peft import PeftModel
    except ImportError as error:
        msg = f"{folder} is a PEFT adapter; install what reads it with pip install 'risedb[peft]'"
        raise InvalidInput(msg) from error
    settings = json.loads((folder / _ADAPTER_CONFIG).read_text("utf-8"))
    base_config = LoadConfig(revision=settings.get("revision"), trust_remote_code=config.trust_remote_code)
    base = _folder(settings["base_model_name_or_path"], base_config)
    adapted = PeftModel.from_pretrained(_load_folder(base, base_config, dtype, placement), folder)
    if not hasattr(adapted, "merge_and_unload"):
        msg = f"{folder} is an adapter of a kind that cannot be merged into its model ({settings['peft_type']})"
        raise UnsupportedModel(msg)
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged, base


def _has_tokenizer(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in ("tokenizer*", "vocab*", "*.model"))


def _load_tokenizer(folder: Path, config: LoadConfig) -> PreTrainedTokenizerBase:
    if not _has_tokenizer(folder):  # transformers would make an empty one
        msg = f"{folder} holds no tokenizer: no tokenizer.json, no vocabulary"
        raise UnsupportedModel(msg)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        msg = f"{folder} has no tokenizer that transformers can load: {_first_line(error)}"
        raise UnsupportedModel(msg) from error
    return tokenizer


def _weight_files(folder: Path) -> list[Path]:
    index = folder / _WEIGHTS_INDEX
    if index.exists():
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        return [folder / name for name in sorted(names)]
    return sorted(folder.glob("model.safetensors")) or sorted(folder.glob("adapter_model.safetensors"))


def _files_fingerprint(folders: list[Path]) -> str:
    """Hash what the model computes: its weights' files and configuration, adapters included; no path, no dtype."""
    digest = xxhash.xxh3_128()
    for folder in folders:
        for path in _weight_files(folder):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(2**24):
                    digest.update(block)
        for name in ("config.json", _ADAPTER_CONFIG):
            if (folder / name).exists():
                settings = json.loads((folder / name).read_text("utf-8"))
                kept = {key: settings[key] for key in settings.keys() - _NOT_THE_MODEL}
                kept.pop("base_model_name_or_path", None)
                digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars, load reports and talk of its own future off the user's terminal."""
    bars_shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    levels = {name: logging.getLogger(name).level for name in ("transformers", "accelerate")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if bars_shown:
            transformers.utils.logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
