"""Evidence under fault: real stores killed at every call, cut off from power in every state, failed, and loaded.

``python -m tools.crash kill|states|faults|load``; all but the last need Linux and strace (``apt-get install strace``).
"""
