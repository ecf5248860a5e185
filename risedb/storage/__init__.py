"""The store: immutable zarr segments and an LMDB catalog in one folder. FORMAT.md beside this file is its contract."""

from risedb.storage.snapshot import Snapshot
from risedb.storage.store import NewRows, Store
from risedb.storage.verify import Finding, verify

__all__ = ["Finding", "NewRows", "Snapshot", "Store", "verify"]
