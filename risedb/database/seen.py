"""Which ids an input has held, and with what content: 21 to 43 bytes each."""

from array import array


class Seen:
    """A hash table from 64-bit numbers, uniformly distributed, to others; linear probing.

    Examples
    --------
    >>> seen = Seen()
    >>> seen.setdefault(7, 1), seen.setdefault(7, 2), len(seen)
    (None, 1, 1)
    """

    def __init__(self) -> None:
        self._keys, self._values = array("Q", bytes(8 * 1024)), array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        """Count the keys."""
        return self._count

    def setdefault(self, key: int, value: int) -> int | None:
        """Return the value that the key has; if it has none, give it this one, and return None."""
        key = key or 1  # 0 marks an empty place
        if 4 * self._count >= 3 * len(self._keys):
            self._grow()
        place = self._place(key)
        if self._keys[place]:
            return self._values[place]
        self._keys[place], self._values[place] = key, value
        self._count += 1
        return None

    def _place(self, key: int) -> int:
        keys, last = self._keys, len(self._keys) - 1
        place = key & last
        while keys[place] not in (0, key):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._keys, self._values = (array("Q", bytes(2 * 8 * len(keys))) for _ in range(2))
        for key, value in zip(keys, values, strict=True):
            if key:
                place = self._place(key)
                self._keys[place], self._values[place] = key, value
