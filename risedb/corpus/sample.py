"""A fair sample of a pool, in one pass over it."""

import random
from collections.abc import Iterable
from typing import TypeVar

_SEED = 42
Item = TypeVar("Item")


def draw(rows: Iterable[Item], most: int) -> tuple[list[Item], int]:
    """Draw rows uniformly, whatever their number (reservoir sampling), and count them all.

    Returns
    -------
    rows, count
        At most `most` of them, in the order of their source; and how many there were.

    Examples
    --------
    >>> draw("abc", 5)
    (['a', 'b', 'c'], 3)
    >>> len(draw(range(1000), 5)[0])
    5
    """
    generator = random.Random(_SEED)
    kept: list[tuple[int, Item]] = []
    count = 0
    for number, row in enumerate(rows):
        place = number if number < most else generator.randrange(number + 1)
        if place < most:
            kept[place : place + 1] = [(number, row)]
        count = number + 1
    return [row for _, row in sorted(kept, key=lambda entry: entry[0])], count
