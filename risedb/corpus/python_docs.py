"""Passages of documentation that every Python installation carries: the demo's pool.

``pydoc_data.topics`` is the language reference in plain text; the rest are docstrings of the
standard library, taken from its source files with ``ast``. Nothing is imported, executed or
fetched, and no passage is stored in RiseDB.
"""

import ast
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path

from risedb.corpus.row import Row

MIN_CHARACTERS = 160
MAX_CHARACTERS = 900
_NOT_LIBRARY = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "turtledemo",
}


def read_python_docs() -> Iterator[Row]:
    """Yield this Python's documentation as rows ``{"id", "text", "source"}``, in a fixed order.

    Returns
    -------
    Iterator[Row]
        Passages of 160 to about 900 characters. ``source`` is ``topics`` or the module's top-level
        name.
    """
    yield from _topics()
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(stdlib.rglob("*.py")):
        relative = path.relative_to(stdlib)
        if not _NOT_LIBRARY.intersection(relative.parts):
            module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            yield from _docstrings(path, module)


def _topics() -> Iterator[Row]:
    from pydoc_data.topics import topics  # 700 KiB that only the demo needs

    for name in sorted(topics):
        yield from _passages(f"topics/{name}", topics[name], "topics")


def _docstrings(path: Path, module: str) -> Iterator[Row]:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:  # templates such as lib2to3's are not Python of this version
        return
    yield from _docstrings_below(tree, module, module.partition(".")[0])


def _docstrings_below(node: ast.AST, name: str, source: str) -> Iterator[Row]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _passages(name, ast.get_docstring(node) or "", source)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings_below(child, f"{name}.{child.name}", source)


def _passages(name: str, text: str, source: str) -> Iterator[Row]:
    """Cut a text at blank lines, into at most ``MAX_CHARACTERS`` where its paragraphs allow it."""
    passages = [""]
    for paragraph in text.split("\n\n"):
        tidy = textwrap.dedent(paragraph).strip("\n").rstrip()
        if passages[-1] and len(passages[-1]) + len(tidy) > MAX_CHARACTERS:
            passages.append("")
        passages[-1] += ("\n\n" if passages[-1] else "") + tidy
    for number, passage in enumerate(passages):
        if len(passage) >= MIN_CHARACTERS:
            row = {
                "id": f"{name}#{number}" if len(passages) > 1 else name,
                "text": passage,
                "source": source,
            }
            yield Row(f"python:{row['id']}", row)
