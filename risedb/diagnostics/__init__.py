"""Does RISE hold for this model and this text? The paper's diagnostics on a user's own sample.

Works on a model and its tokens; reads no files and opens no index. Plots need matplotlib (``risedb[plots]``); the
numbers do not.
"""

from risedb.diagnostics.controlled import Candidate, controlled_ranks
from risedb.diagnostics.report import Diagnosis, diagnose

__all__ = ["Candidate", "Diagnosis", "controlled_ranks", "diagnose"]
