"""The FORMAT file: what the folder is, which RiseDB reads it, and what a catalog that is lost is rebuilt with."""

import json
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import lmdb

from risedb.errors import Corrupt, InvalidInput, NotFound, UnsupportedFormat
from risedb.storage import vfs
from risedb.storage.checksum import seal_json, unseal_json

FORMAT_VERSION = 1
_FORMAT = "FORMAT"


def write_format(path: Path, about: Mapping[str, Any]) -> None:
    """Write the FORMAT file of a new index: a line of JSON, and a line with its crc32c.

    Parameters
    ----------
    about
        What else it says: identity, settings and store, as they stand in the catalog.
    """
    whole = {
        "format": "risedb",
        "version": FORMAT_VERSION,
        "requires": [],
        "writer": metadata.version("risedb"),
        "byte_order": sys.byteorder,
        "lmdb": ".".join(map(str, lmdb.version())),
        **about,
    }
    vfs.write_file(path / _FORMAT, seal_json(whole))


def read_format(path: Path) -> dict[str, Any]:
    """Check that a folder is an index that can be read here, and return what FORMAT says.

    Raises
    ------
    NotFound, InvalidInput
        If there is no such folder, or it is no index.
    UnsupportedFormat
        If it is of another format, version or byte order, or needs a feature that is not known here.
    Corrupt
        If the FORMAT file cannot be read.
    """
    if not path.exists():
        msg = f"there is no index at {path}"
        raise NotFound(msg)
    if not (path / _FORMAT).is_file() and (path / "catalog" / "data.mdb").is_file():
        msg = f"{path / _FORMAT} is missing. Run risedb repair"
        raise Corrupt(msg)
    if not (path / _FORMAT).is_file():
        msg = f"{path} is not a RiseDB index: there is no FORMAT file in it"
        raise InvalidInput(msg)
    sealed = (path / _FORMAT).read_bytes()
    try:
        about = json.loads(sealed.partition(b"\n")[0])  # before its check: a version to come may have another one
        name, version, order = about["format"], about["version"], about["byte_order"]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path / _FORMAT} is damaged: {error}. Run risedb repair"
        raise Corrupt(msg) from error
    if name != "risedb" or version != FORMAT_VERSION:
        which = "the version that wrote it" if version == 0 else "the RiseDB that wrote it, or a newer one"
        msg = f"{path} is of format {name} version {version}; this RiseDB reads version {FORMAT_VERSION}. Use {which}"
        raise UnsupportedFormat(msg)
    if unknown := about.get("requires"):
        msg = f"{path} needs {', '.join(map(str, unknown))}, which this RiseDB does not know; use a newer one"
        raise UnsupportedFormat(msg)
    if order != sys.byteorder:
        msg = f"{path} was written on a {order}-endian machine, and this one is {sys.byteorder}-endian"
        raise UnsupportedFormat(msg)
    return unseal_json(sealed, str(path / _FORMAT))
