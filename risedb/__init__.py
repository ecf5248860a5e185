"""RiseDB: an embedded storage engine for RISE influence signatures (arXiv:2604.16197).

Importing this module imports neither torch nor transformers, nor anything else that is slow; the names below are loaded
when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from risedb import errors

if TYPE_CHECKING:
    from risedb import corpus
    from risedb.config import (
        Identity,
        LoadConfig,
        ReadoutConfig,
        ScoreConfig,
        SketchConfig,
        StoreConfig,
    )
    from risedb.corpus import Fields
    from risedb.database import AddReport, Hit, Ranking, RiseDB
    from risedb.database import open_index as open
    from risedb.errors import RiseDBError
    from risedb.featurize import LanguageModel
    from risedb.signature import Signatures

__version__ = "0.1.0"
__all__ = [
    "AddReport",
    "Fields",
    "Hit",
    "Identity",
    "LanguageModel",
    "LoadConfig",
    "Ranking",
    "ReadoutConfig",
    "RiseDB",
    "RiseDBError",
    "ScoreConfig",
    "Signatures",
    "SketchConfig",
    "StoreConfig",
    "corpus",
    "errors",
    "open",
]

_HOMES = {
    "AddReport": "database",
    "Fields": "corpus",
    "Hit": "database",
    "Identity": "config",
    "LanguageModel": "featurize",
    "LoadConfig": "config",
    "Ranking": "database",
    "ReadoutConfig": "config",
    "RiseDB": "database",
    "RiseDBError": "errors",
    "ScoreConfig": "config",
    "Signatures": "signature",
    "SketchConfig": "config",
    "StoreConfig": "config",
    "open": "database",
}


def __getattr__(name: str) -> Any:
    if name == "corpus":
        return importlib.import_module("risedb.corpus")
    if name in _HOMES:
        home = importlib.import_module(f"risedb.{_HOMES[name]}")
        value = getattr(home, "open_index" if name == "open" else name)
        globals()[name] = value
        return value
    msg = f"module 'risedb' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
