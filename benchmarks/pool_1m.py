"""The paper's 1M pool: the 105K pool, and distinct windows of the distractors' text up to 1,005,000 documents.

    python -m benchmarks.pool_1m ../shared --index pool.rise      # for a GPU
    python -m benchmarks.pool_1m ../shared --rows 200000          # the same program, a stated smaller size

Options, result and resuming are those of benchmarks.pool_105k.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.pool_105k import distractors, main

WORDS = 40  # of a window
STEP = 7  # words from one window to the next


def windows(data: Path) -> Iterator[tuple[str, str]]:
    """Yield the distractors, and then every window of their running text that is not one of those before."""
    seen: set[int] = set()
    words: list[str] = []
    for name, text in distractors(data):
        seen.add(hash(text))
        words += text.split()
        yield name, text
    for start in range(0, len(words) - WORDS, STEP):
        text = " ".join(words[start : start + WORDS])
        if hash(text) not in seen:
            seen.add(hash(text))
            yield f"window-{start}", text


if __name__ == "__main__":
    main(windows, 1_005_000)
