"""What a result was measured on: kept beside every number."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Return processor, cores and how busy they are, versions, and the commit, with a mark if the tree had changes."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()

    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))),
        "load": round(os.getloadavg()[1], 1),  # runnable threads over five minutes, the program's own among them
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in ("torch", "transformers", "numpy", "zarr", "lmdb")},
        "commit": git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", "risedb") else ""),
    }
