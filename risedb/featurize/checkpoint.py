"""From a name to a loaded model: the packaged demo, a folder, a PEFT adapter's folder, or a hub id.

A hub id is resolved to its folder in the local cache first, so that all of them are read one way. Weights come from
safetensors only, never from a pickle.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
import xxhash
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

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
        ``demo``, a folder with a model, a folder with a PEFT adapter, or a hub id.
    config
        Precision, device and the like.

    Raises
    ------
    NotFound
        If there is no such model, here or on the hub.
    InvalidInput
        If the folder holds no model in safetensors, or the device is not there.
    UnsupportedModel
        If transformers cannot load it as a causal LM, or the probe fails.
    """
    config = config or LoadConfig()
    device = _device(config.device)
    dtype = _dtype(config.dtype, device)
    folder = _folder(name, config)
    with _quiet_transformers():
        if (folder / _ADAPTER_CONFIG).exists():
            model, base = _load_adapter(folder, config, dtype)
        else:
            model, base = _load_folder(folder, config, dtype), folder
        tokenizer = _load_tokenizer(folder if _has_tokenizer(folder) else base, config)
    folders = [base] if base == folder else [base, folder]
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
        name = "bfloat16" if device.type == "cuda" else "float32"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


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
    try:
        folder = snapshot_download(
            name,
            revision=config.revision,
            allow_patterns=_HUB_FILES + code,
            ignore_patterns=["*/*", "consolidated*"],
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        msg = f"no folder {name} is here, and the Hugging Face hub gave no model of that id: {_first_line(error)}"
        raise NotFound(msg) from error
    return Path(folder)


def _load_folder(folder: Path, config: LoadConfig, dtype: torch.dtype) -> PreTrainedModel:
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
            dtype=dtype,
            trust_remote_code=config.trust_remote_code,
            use_safetensors=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        msg = f"transformers cannot load {folder} as a causal LM: {_first_line(error)}"
        raise UnsupportedModel(msg) from error
    except SafetensorError as error:
        msg = f"the weights in {folder} are damaged: {_first_line(error)}"
        raise InvalidInput(msg) from error
    loaded: PreTrainedModel = model
    return loaded


def _load_adapter(folder: Path, config: LoadConfig, dtype: torch.dtype) -> tuple[PreTrainedModel, Path]:
    """Load an adapter's base model and merge the adapter into it; return the base's folder with it."""
    try:
        from peft import PeftModel
    except ImportError as error:
        msg = f"{folder} is a PEFT adapter; install what reads it with pip install 'risedb[peft]'"
        raise InvalidInput(msg) from error
    settings = json.loads((folder / _ADAPTER_CONFIG).read_text("utf-8"))
    base_config = LoadConfig(revision=settings.get("revision"), trust_remote_code=config.trust_remote_code)
    base = _folder(settings["base_model_name_or_path"], base_config)
    adapted = PeftModel.from_pretrained(_load_folder(base, base_config, dtype), folder)
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
    level = logging.getLogger("transformers").level
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.getLogger("transformers").setLevel(level)
        if bars_shown:
            transformers.utils.logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
