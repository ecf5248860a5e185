"""Packages that only an evaluation needs, and what to say where they are not installed."""

import importlib
from typing import Any

from risedb.errors import InvalidInput


def needed(module: str) -> Any:
    """Import a module of ``risedb[eval]``.

    Raises
    ------
    InvalidInput
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"an evaluation needs {module.partition('.')[0]}; install it with pip install 'risedb[eval]'"
        raise InvalidInput(msg) from error
