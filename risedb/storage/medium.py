"""What an index lies on: LMDB's locks and maps, and flock(2), are not to be trusted across a network."""

import os
from pathlib import Path

from risedb.errors import InvalidInput

_NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "sshfs"),
    *("ceph", "lustre", "beegfs", "gpfs", "glusterfs"),
}
ALLOW = "RISEDB_ALLOW_NETWORK_FILE_SYSTEM"


def refuse_network(path: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Refuse to write on a network file system, unless the environment variable of :data:`ALLOW` is 1.

    Parameters
    ----------
    path
        The index's folder; it need not exist.
    mounts
        The system's list of what is mounted; where there is none, nothing is refused.

    Raises
    ------
    InvalidInput
        Naming the file system.
    """
    if os.environ.get(ALLOW) == "1" or not mounts.exists():
        return
    place, kind = "", ""
    resolved = str(path.resolve())
    for line in mounts.read_text().splitlines():
        folder, system = line.split()[1:3]
        folder = folder.encode("latin-1", "backslashreplace").decode("unicode_escape")  # a space is \040
        inside = resolved == folder or resolved.startswith(folder.rstrip("/") + "/")
        if inside and len(folder) >= len(place):
            place, kind = folder, system
    if kind.removeprefix("fuse.") in _NETWORK:
        msg = (
            f"{path} lies on a network file system ({kind} at {place}), where locks and maps cannot be trusted; "
            f"write on a local disk, or set {ALLOW}=1 if only one machine ever opens it"
        )
        raise InvalidInput(msg)
