"""How well a ranking finds what is known to matter: the paper's measures, and BM25 to compare with."""

from risedb.evaluation.bm25 import BM25
from risedb.evaluation.measures import CUTS, Ends, Quality, evaluate
from risedb.evaluation.unified import Unified, unified

__all__ = ["BM25", "CUTS", "Ends", "Quality", "Unified", "evaluate", "unified"]
