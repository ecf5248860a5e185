"""The FORMAT file: what the folder is, and which RiseDB reads it."""

import json
import sys
from importlib import metadata
from pathlib import Path

import lmdb

from risedb.errors import Corrupt, InvalidInput, NotFound, UnsupportedFormat
from risedb.storage import vfs

FORMAT_VERSION = 0
_FORMAT = "FORMAT"


def write_format(path: Path) -> None:
    """Write the FORMAT file of a new index."""
    about = {
        "format": "risedb",
        "version": FORMAT_VERSION,
        "writer": metadata.version("risedb"),
        "byte_order": sys.byteorder,
        "lmdb": ".".join(map(str, lmdb.version())),
    }
    vfs.write_file(path / _FORMAT, json.dumps(about).encode() + b"\n")


def check_format(path: Path) -> None:
    """Check that a folder is an index that can be read here.

    Raises
    ------
    NotFound, InvalidInput
        If there is no such folder, or it is no index.
    UnsupportedFormat
        If it is of another format, version or byte order.
    Corrupt
        If the FORMAT file cannot be read.
    """
    if not path.exists():
        msg = f"there is no index at {path}"
        raise NotFound(msg)
    if not (path / _FORMAT).is_file():
        msg = f"{path} is not a RiseDB index: there is no FORMAT file in it"
        raise InvalidInput(msg)
    try:
        about = json.loads((path / _FORMAT).read_bytes())
        name, version, order = about["format"], about["version"], about["byte_order"]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path / _FORMAT} is damaged: {error}"
        raise Corrupt(msg) from error
    if name != "risedb" or version != FORMAT_VERSION:
        msg = (
            f"{path} is of format {name} version {version}; this RiseDB reads version {FORMAT_VERSION}. "
            "Open it with the RiseDB that wrote it, or a newer one"
        )
        raise UnsupportedFormat(msg)
    if order != sys.byteorder:
        msg = f"{path} was written on a {order}-endian machine, and this one is {sys.byteorder}-endian"
        raise UnsupportedFormat(msg)
