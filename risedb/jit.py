"""How loops are compiled by numba, wherever they are. Importing this costs a quarter of a second."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any], **choices: Any) -> Any:
    """Compile a loop once for a machine; it lets go of the interpreter's lock, and divides as NumPy does.

    Parameters
    ----------
    function
        The loop; it is compiled for the types with which it is first called, and read from a cache by later processes.
    choices
        What else :func:`numba.njit` takes.
    """
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True, **choices)(function)
    except RuntimeError:  # no folder for the cache can be written
        return numba.njit(nogil=True, error_model="numpy", **choices)(function)
