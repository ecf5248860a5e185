"""Documents in: rows from files, folders, stdin and datasets, and what the fields of a row mean.

Readers yield :class:`Row` and :class:`BadRow`, lazily and in the order of their source;
:class:`Fields` turns a row into a :class:`Document`. No tokens and no models here, and importing it
loads no library for a format.
"""

from risedb.corpus.dataset_rows import read_dataset
from risedb.corpus.document import Document
from risedb.corpus.fields import Fields
from risedb.corpus.json_rows import read_json, read_jsonl, read_stdin
from risedb.corpus.python_docs import read_python_docs
from risedb.corpus.row import BadRow, Row
from risedb.corpus.source import count_rows, read, read_all
from risedb.corpus.table_rows import read_csv, read_parquet
from risedb.corpus.text_rows import read_text_folder

__all__ = [
    "BadRow",
    "Document",
    "Fields",
    "Row",
    "count_rows",
    "read",
    "read_all",
    "read_csv",
    "read_dataset",
    "read_json",
    "read_jsonl",
    "read_parquet",
    "read_python_docs",
    "read_stdin",
    "read_text_folder",
]
