"""The shared rows as text: what every benchmark signs, searches and compares."""

from collections.abc import Mapping
from typing import Any

TEMPLATE = "### Instruction:\n{prompt}\n### Response:\n{completion}"


def text_of(values: Mapping[str, Any]) -> str:
    """Return what a row says: its text, or prompt and completion in the template."""
    return values["text"] if "text" in values else TEMPLATE.format(**values)
