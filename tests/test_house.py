"""Promises about the package itself."""

import subprocess
import sys

import pytest

import risedb
from risedb import errors

HEAVY = {"torch", "transformers", "zarr", "pyarrow", "datasets", "numcodecs"}


@pytest.mark.parametrize(
    "code",
    [
        "import risedb",
        "import risedb.cli",
        "import sys; sys.argv[1:] = ['--help']; from risedb.cli import main\ntry: main()\nexcept SystemExit: pass",
        "import risedb; risedb.open; risedb.corpus.read_jsonl; risedb.Fields; risedb.ReadoutConfig",
    ],
)
def test_import_and_help_load_nothing_heavy(code):
    check = f"{code}\nimport sys; print('loaded', sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("loaded []")


def test_public_names_are_there():
    for name in risedb.__all__:
        assert getattr(risedb, name) is not None
    assert set(risedb.__all__) <= set(dir(risedb))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = risedb.nothing


def test_every_error_is_a_risedb_error_and_a_builtin():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.RiseDBError]
    assert len(kinds) > 9
    for kind in kinds:
        assert issubclass(kind, errors.RiseDBError)
        assert any(base.__module__ == "builtins" and base not in (Exception, object) for base in kind.__mro__)
        assert kind.__name__ in errors.__doc__
