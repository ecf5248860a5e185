"""The README's Python runs, its commands exist, its numbers are the kept ones."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from pytest_examples import CodeExample, EvalExample, find_examples

from risedb.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
POOL = [
    {"id": "a", "text": "A cat sleeps on a blanket in the sun."},
    {"id": "b", "text": "The stock market fell on Friday."},
    {"id": "c", "text": "A kitten dozes on the sofa."},
    {"id": "d", "text": "Acquire the lock before you change the list."},
]


@pytest.fixture
def in_a_folder_with_a_pool(tmp_path, monkeypatch):
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in POOL))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("example", list(find_examples(str(ROOT / "README.md"))), ids=str)
@pytest.mark.usefixtures("in_a_folder_with_a_pool")
def test_python_in_the_readme_runs(example: CodeExample, eval_example: EvalExample):
    if example.prefix.startswith("python"):
        eval_example.run(example)


def test_every_command_in_the_readme_has_that_verb_and_those_options():
    verbs = typer.main.get_command(app).commands
    commands = re.findall(r"^(?:\$ )?risedb ((?:[^\n]*\\\n)*[^\n]*)", README, re.MULTILINE)
    words = [shlex.split(command, comments=True) for command in commands]
    assert {first for first, *_ in words} == verbs.keys() - {"demo"}
    for verb, *rest in words:
        known = {option for parameter in verbs[verb].params for option in parameter.opts}
        assert {word for word in rest if re.fullmatch("--?[a-z][a-z-]*", word)} <= known


def test_numbers_in_the_readme_are_the_kept_ones():
    specification = importlib.util.spec_from_file_location("sync_readme", ROOT / "tools" / "sync_readme.py")
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    assert tool.synced(README) == README


def test_every_dependency_earns_its_line():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    for requirement in [*project["dependencies"], *extras]:
        name = re.split(r"[><=]", requirement)[0]
        assert re.search(rf"^\| `?{re.escape(name)}`? \|", README, re.MULTILINE), f"README does not say why {name}"
