"""RiseDB itself: opens an index, adds to it, queries it, checks it."""

from risedb.database.hits import AddProgress, AddReport, Hit, Ranking
from risedb.database.index import RiseDB
from risedb.database.opening import open_index

__all__ = ["AddProgress", "AddReport", "Hit", "Ranking", "RiseDB", "open_index"]
