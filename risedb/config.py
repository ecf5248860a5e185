"""The numbers that fix what a signature means, how it is stored and how two of them are compared.

Everything that changes a stored vector stands in :class:`ReadoutConfig` or :class:`SketchConfig`, and with the
fingerprints of model and tokenizer makes the :class:`Identity` that an index keeps. :class:`ScoreConfig` is free at
every query. No I/O and no arithmetic here.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from risedb.errors import InvalidInput

HASH_VERSION = 1
FactorNorm = Literal["unit", "residual", "none"]
_STORED = {"float16", "float32", "bfloat16", "int8"}
_DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
MAX_CHANNEL = 2**20  # numbers: 2 MiB a document in float16

PRESETS = {
    "compact": (16, 8, 28),
    "small": (64, 12, 64),
    "base": (128, 24, 128),
    "large": (256, 192, 128),
}


def _require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        msg = f"{name} is {value!r}; it must be {rule}"
        raise InvalidInput(msg)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutConfig:
    """How each position's factors are read from the model.

    Source: arXiv:2604.16197v1, Algorithm 2, lines 4 to 14; defaults from Table 6, and from "Embedding choice" in 2.3.

    Examples
    --------
    >>> ReadoutConfig(rho_cum=1.5)
    Traceback (most recent call last):
    ...
    risedb.errors.InvalidInput: rho_cum is 1.5; it must be a number in (0, 1]
    """

    tau: float = 1.0
    """Temperature that divides the logits."""
    rho_cum: float = 0.92
    """Cumulative probability at which the support ends; 1 keeps all ``k_max`` candidates."""
    min_keep: int = 4
    """Fewest candidates in a support."""
    k_max: int = 256
    """Most candidates considered at a position."""
    seq_len: int = 512
    """Most tokens in one forward pass."""
    long: Literal["truncate", "sum"] = "truncate"
    """A longer document is cut to ``seq_len``, or read in windows whose signatures are added."""
    factor_norm: FactorNorm = "unit"
    """Lengths of a position's sketched factors. unit: all 1, as in Algorithm 2. residual: rhat and ghat have the length
    of the residual on its support, |r_t|, and hhat 1. none: each as its sketch gives it. A score scales the whole
    document to unit length in any case (:attr:`ScoreConfig.normalize`)."""
    gh_through: Literal["head", "input-embeddings"] = "head"
    """Whose rows W_v make the projected error g_t = sum_v r_t(v) W_v; the same where a model ties the two."""

    def __post_init__(self) -> None:
        """Check every number where it is made."""
        _require(_is_positive(self.tau), "tau", self.tau, "a positive number")
        in_range = _is_positive(self.rho_cum) and self.rho_cum <= 1
        _require(in_range, "rho_cum", self.rho_cum, "a number in (0, 1]")
        _require(_is_count(self.min_keep), "min_keep", self.min_keep, "a whole number of at least 1")
        enough = _is_count(self.k_max) and self.k_max >= 2  # the target alone leaves no residual
        _require(enough, "k_max", self.k_max, "a whole number of at least 2")
        long_enough = _is_count(self.seq_len) and self.seq_len >= 2
        _require(long_enough, "seq_len", self.seq_len, "a whole number of at least 2")
        _require(self.long in {"truncate", "sum"}, "long", self.long, "'truncate' or 'sum'")
        known = {"unit", "residual", "none"}
        _require(self.factor_norm in known, "factor_norm", self.factor_norm, "'unit', 'residual' or 'none'")
        through = {"head", "input-embeddings"}
        _require(self.gh_through in through, "gh_through", self.gh_through, "'head' or 'input-embeddings'")


LATER_CHOICES = {name: getattr(ReadoutConfig(), name) for name in ("factor_norm", "gh_through")}
"""Parts of an identity that are younger than format version 1, and what an index has that does not name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SketchConfig:
    """The three CountSketch widths and the seed of their hashes.

    Source: arXiv:2604.16197v1, Section 2.5 and Table 6.

    Examples
    --------
    >>> SketchConfig.parse("compact")
    SketchConfig(kr=16, kh=8, kg=28, seed=42)
    >>> SketchConfig.parse("24/8/35").rh_dim
    192
    """

    kr: int = 128
    """Width of the residual's sketch."""
    kh: int = 24
    """Width of the hidden state's sketch."""
    kg: int = 128
    """Width of the projected error's sketch."""
    seed: int = 42
    """Seed of all three hash families."""

    def __post_init__(self) -> None:
        """Check every number where it is made."""
        for name in ("kr", "kh", "kg"):
            width = getattr(self, name)
            _require(_is_count(width), name, width, "a whole number of at least 1")
        widest = max(self.rh_dim, self.gh_dim)
        _require(widest <= MAX_CHANNEL, "the wider channel, Kr * Kh or Kg * Kh,", widest, f"at most {MAX_CHANNEL:,}")
        is_seed = not isinstance(self.seed, bool) and 0 <= self.seed < 2**64
        _require(is_seed, "seed", self.seed, "a whole number from 0 to 2^64 - 1")

    @classmethod
    def parse(cls, text: str, seed: int = 42) -> Self:
        """Read a preset's name or a triple ``Kr/Kh/Kg``.

        Raises
        ------
        InvalidInput
            If `text` is neither.
        """
        parts = text.split("/")
        if text in PRESETS:
            kr, kh, kg = PRESETS[text]
        elif len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts):
            kr, kh, kg = map(int, parts)
        else:
            presets = ", ".join(PRESETS)
            msg = f"sketch dimensions {text!r} are neither Kr/Kh/Kg (128/24/128) nor one of {presets}"
            raise InvalidInput(msg)
        return cls(kr=kr, kh=kh, kg=kg, seed=seed)

    @property
    def rh_dim(self) -> int:
        """Numbers in the RH channel, Kr * Kh."""
        return self.kr * self.kh

    @property
    def gh_dim(self) -> int:
        """Numbers in the GH channel, Kg * Kh."""
        return self.kg * self.kh


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """How signatures lie on disk."""

    dtype: Literal["float16", "float32", "bfloat16", "int8"] = "float16"
    """Element type of the stored unit rows; int8 keeps nothing but the codes."""
    codes: Literal["int8", "none"] = "int8"
    """Companion of the rows by which the scan proposes."""
    chunk_bytes: int = 32 * 2**20
    """Most bytes of one channel in one file."""
    seal_bytes: int = 32 * 2**20
    """Bytes of rows that collect in the catalog's tail before they become a segment."""

    def __post_init__(self) -> None:
        """Check every number where it is made."""
        _require(self.dtype in _STORED, "dtype", self.dtype, "float16, float32, bfloat16 or int8")
        _require(self.codes in {"int8", "none"}, "codes", self.codes, "'int8' or 'none'")
        for name in ("chunk_bytes", "seal_bytes"):
            size = getattr(self, name)
            _require(_is_count(size), name, size, "a whole number of at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadConfig:
    """How a model is loaded; none of it is part of an index's identity."""

    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the forward pass: auto is bfloat16 on a GPU and on a CPU with instructions for it (AMX, AVX-512
    BF16, Arm's BF16), else float32. A checkpoint that is quantised on disk keeps its own."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes a GPU where there is one."""
    device_map: str | Mapping[str, str | int] | None = None
    """For a model that is larger than one device: auto, balanced, balanced_low_0 or sequential spread its layers over
    GPUs, memory and disk; a mapping says for each module which device, ``cpu`` or ``disk``."""
    offload_folder: str | None = None
    """Where those weights go that a device map leaves on disk and that the checkpoint does not hold as they are."""
    quantize: Literal["8bit", "4bit"] | None = None
    """Layers in 8 or 4 bits, by bitsandbytes; the LM head stays as it is."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""

    def __post_init__(self) -> None:
        """Check what can be checked without torch."""
        known = {"auto", "float32", "bfloat16", "float16"}
        _require(self.dtype in known, "dtype", self.dtype, "auto, float32, bfloat16 or float16")
        _require(self.quantize in {None, "8bit", "4bit"}, "quantize", self.quantize, "8bit or 4bit")
        if isinstance(self.device_map, str):
            named = self.device_map in _DEVICE_MAPS
            _require(named, "device_map", self.device_map, f"{', '.join(_DEVICE_MAPS)}, or a mapping of modules")
        one_way = self.device_map is None or self.device == "auto"
        _require(one_way, "device", self.device, "left out where a device map says what goes where")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """Where queries are scanned; changes their speed and nothing else."""

    devices: tuple[str, ...] = ()
    """cpu, cuda, cuda:1; rows are dealt to several. None: where the model is, if that is a GPU, or else the CPU."""
    cache: int | Literal["auto"] = "auto"
    """Bytes of rows that stay on each device from query to query: auto is half of what is free on a GPU at first."""

    def __post_init__(self) -> None:
        """Check what can be checked without torch."""
        for device in self.devices:
            _require(device.partition(":")[0] in {"cpu", "cuda"}, "a scan's device", device, "cpu, cuda or cuda:N")
        cache: object = self.cache
        sound = cache == "auto" or (isinstance(cache, int) and cache >= 0)
        _require(sound, "device_cache", self.cache, "'auto' or a number of bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig:
    """How two signatures are compared: free at every query, nothing is rebuilt.

    Source: arXiv:2604.16197v1, Algorithm 2, lines 15 to 18 (lambda weighs the feature, so it enters a score squared).
    """

    lambda_rh: float = 0.7
    """Weight of the lexical channel, residual x hidden."""
    lambda_gh: float = 1.0
    """Weight of the semantic channel, projected error x hidden."""
    normalize: bool = True
    """Scale each fused signature to unit length, so that a score is a cosine."""

    def __post_init__(self) -> None:
        """Check every number where it is made."""
        for name in ("lambda_rh", "lambda_gh"):
            weight = getattr(self, name)
            sound = isinstance(weight, int | float) and (weight == 0 or 1e-6 <= weight <= 1e6)
            _require(sound, name, weight, "0 or a number from 1e-6 to 1e6")
        both_zero = self.lambda_rh == 0 and self.lambda_gh == 0
        _require(not both_zero, "lambda_rh and lambda_gh", 0, "above 0, one of them at least")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """All that two signatures must share for their inner product to mean anything."""

    readout: ReadoutConfig
    """How positions are read."""
    sketch: SketchConfig
    """How they are compressed."""
    model: str
    """Fingerprint of all weights and of the model's configuration."""
    tokenizer: str
    """Fingerprint of what decides the token ids."""
    hash_version: int = HASH_VERSION
    """Version of the hash functions."""

    def as_dict(self) -> dict[str, Any]:
        """Return the identity as one flat JSON object."""
        flat = asdict(self)
        return {**flat.pop("readout"), **flat.pop("sketch"), **flat}

    def as_stored(self) -> dict[str, Any]:
        """Return the same as an index keeps it, with a later choice only where it is not the default."""
        return {name: value for name, value in self.as_dict().items() if LATER_CHOICES.get(name) != value}

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> Self:
        """Read back what :meth:`as_dict` or :meth:`as_stored` gave.

        Raises
        ------
        InvalidInput
            If a number is missing or out of range.
        """
        flat = {**LATER_CHOICES, **flat}

        def part(kind: type) -> dict[str, Any]:
            return {field.name: flat[field.name] for field in fields(kind)}

        try:
            return cls(
                readout=ReadoutConfig(**part(ReadoutConfig)),
                sketch=SketchConfig(**part(SketchConfig)),
                model=flat["model"],
                tokenizer=flat["tokenizer"],
                hash_version=flat["hash_version"],
            )
        except KeyError as missing:
            msg = f"the identity lacks {missing}"
            raise InvalidInput(msg) from None

    def differences(self, other: "Identity") -> list[str]:
        """Name what differs, as ``tau: 1.0 in the index, 0.5 asked for``."""
        mine, theirs = self.as_dict(), other.as_dict()
        return [
            f"{name}: {mine[name]} in the index, {theirs[name]} asked for"
            for name in mine
            if mine[name] != theirs[name]
        ]
