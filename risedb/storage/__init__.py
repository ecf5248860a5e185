"""The store: immutable zarr segments and an LMDB catalog in one folder. FORMAT.md beside this file is its contract."""

from risedb.storage.backup import backup
from risedb.storage.checkpoints import checkpoint_folders, checkpoint_weights, new_checkpoints
from risedb.storage.columns import Condition, columns_bytes, text_form
from risedb.storage.compaction import CompactReport
from risedb.storage.records import pack_record
from risedb.storage.repair import RepairReport, repair
from risedb.storage.snapshot import Commit, Snapshot
from risedb.storage.store import Store
from risedb.storage.verify import Finding, verify
from risedb.storage.writer import NewRows

__all__ = [
    "Commit",
    "CompactReport",
    "Condition",
    "Finding",
    "NewRows",
    "RepairReport",
    "Snapshot",
    "Store",
    "backup",
    "checkpoint_folders",
    "checkpoint_weights",
    "columns_bytes",
    "new_checkpoints",
    "pack_record",
    "repair",
    "text_form",
    "verify",
]
