"""Names of segments and of files of deletions: a commit's number, and what tells two of one commit apart."""

import re
import uuid
from collections.abc import Iterable

from risedb.errors import Corrupt

_NAME = re.compile(r"\d{6,}-[0-9a-f]{12}")


def new_name(commit: int) -> str:
    """Return a name that nothing has yet."""
    return f"{commit:06d}-{uuid.uuid4().hex[:12]}"


def check_names(names: Iterable[str], what: str) -> None:
    """Check names that the catalog gives: nothing outside the index is ever opened.

    Raises
    ------
    Corrupt
        Naming the first that no writer made, and `what` it should be.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            msg = f"the catalog names {what} {name!r}, which no writer did"
            raise Corrupt(msg)
