"""When small blocks are merged into larger ones, so that a log written one entry at a time is read in few pieces.

The tail and the tombstones are logs in the catalog: blocks under the ordinal of their first entry. A block of n entries
is of level log16(n). As soon as 16 blocks of one level or lower stand at the end, the newest commit writes them as one.
So n entries lie in at most 15 blocks a level, and each is rewritten once a level: deterministic, and without a
background task.
"""

from collections.abc import Sequence

_FANOUT = 16


def first_to_merge(sizes: Sequence[int]) -> int:
    """Tell which block is the first of those that the last one is to be merged with.

    Parameters
    ----------
    sizes
        Entries of each block in order, the one being written last.

    Returns
    -------
    int
        An index into `sizes`; that of the last if nothing is to be merged.

    Examples
    --------
    >>> first_to_merge([300] + [1] * 15), first_to_merge([300] + [1] * 16)
    (15, 1)
    """
    first = len(sizes) - 1
    while True:
        level = _level(sum(sizes[first:]))
        reach = first
        while reach > 0 and _level(sizes[reach - 1]) <= level:
            reach -= 1
        if first - reach + 1 < _FANOUT:
            return first
        first = reach


def _level(entries: int) -> int:
    return (entries.bit_length() - 1) // 4
