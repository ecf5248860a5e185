"""RiseDB itself: opens an index, adds to it, queries it, checks it."""

from risedb.database.hits import AddProgress, AddReport, Hit, Ranking
from risedb.database.index import RiseDB
from risedb.database.joint import Checkpoints, JointSignatures, verify
from risedb.database.opening import open_index
from risedb.database.querying import Choices

__all__ = [
    "AddProgress",
    "AddReport",
    "Checkpoints",
    "Choices",
    "Hit",
    "JointSignatures",
    "Ranking",
    "RiseDB",
    "open_index",
    "verify",
]
