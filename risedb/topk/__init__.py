"""The scan: exact top-k of stored signatures, block by block."""

from risedb.topk.scan import Ranked, scan
from risedb.topk.scores import QueryVectors

__all__ = ["QueryVectors", "Ranked", "scan"]
