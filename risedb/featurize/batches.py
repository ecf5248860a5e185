"""Which windows go through the model together: similar lengths, within a budget of tokens."""

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Group windows so that each group, padded to its longest, stays within a budget.

    Parameters
    ----------
    lengths
        Tokens of each window.
    batch_tokens
        Most tokens in a padded batch; a longer window goes alone.

    Returns
    -------
    list of list of int
        Indices into `lengths`, every one exactly once, longest first.

    Examples
    --------
    >>> plan_batches([3, 9, 4, 8], batch_tokens=16)
    [[1], [3, 2], [0]]
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
