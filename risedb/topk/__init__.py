"""The scan: exact top-k of stored signatures, block by block."""

from risedb.topk.best import Ranked
from risedb.topk.center import Center
from risedb.topk.plan import Plan
from risedb.topk.scan import scan
from risedb.topk.scores import QueryVectors

__all__ = ["Center", "Plan", "QueryVectors", "Ranked", "scan"]
