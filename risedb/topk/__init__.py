"""The scan: exact top-k of stored signatures, block by block."""

from risedb.topk.best import Ranked
from risedb.topk.center import Center, scaled
from risedb.topk.joint import Part, joint_scan, joint_scores
from risedb.topk.plan import Plan
from risedb.topk.scan import all_scores, scan
from risedb.topk.scores import QueryVectors

__all__ = [
    "Center",
    "Part",
    "Plan",
    "QueryVectors",
    "Ranked",
    "all_scores",
    "joint_scan",
    "joint_scores",
    "scaled",
    "scan",
]
