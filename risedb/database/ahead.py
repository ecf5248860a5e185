"""A stage of a pipeline in a thread of its own, some items ahead of the one that takes them."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_PATIENCE_SECONDS = 1.0


class Ahead(Iterator[T], Generic[T]):
    """Goes through `items` in a thread, and yields them in order; an error there is raised here, in its place.

    Parameters
    ----------
    items
        Gone through in that thread only.
    depth
        Items that may wait to be taken; then the thread waits.

    Examples
    --------
    >>> list(Ahead(range(3), depth=1))
    [0, 1, 2]
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items = iter(items)
        self._room = threading.Semaphore(depth)
        self._made: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._room.acquire() and not self._stopped:
                self._made.put(next(self._items))
        except BaseException as error:  # noqa: BLE001  raised by who takes the next item; StopIteration too
            self._made.put(_End(error))

    def __next__(self) -> T:
        """Wait for the next item."""
        item = self._made.get()
        if isinstance(item, _End):
            self._made.put(item)
            raise item.error
        self._room.release()
        return item

    def close(self) -> None:
        """Stop: who waits for an item gets none, and the thread ends with the item that it is at."""
        self._stopped = True
        self._room.release()
        self._made.put(_End(StopIteration()))

    def join(self, *, patient: bool = True) -> None:
        """Wait for the thread to end; without patience a second, and it may stay behind, in a source that blocks."""
        self._thread.join(None if patient else _PATIENCE_SECONDS)


class _End:
    def __init__(self, error: BaseException) -> None:
        self.error = error
