"""The command line: one verb a module; each parses, calls the library and renders. stdout is data, stderr is talk."""

import os
import sys

import typer

from risedb.cli.add import add
from risedb.cli.backup import backup
from risedb.cli.compact import compact
from risedb.cli.delete import delete
from risedb.cli.demo import demo
from risedb.cli.diagnose import diagnose
from risedb.cli.eval import evaluate
from risedb.cli.export import export
from risedb.cli.info import info
from risedb.cli.log import log
from risedb.cli.plan import plan
from risedb.cli.query import query
from risedb.cli.render import printable
from risedb.cli.repair import repair
from risedb.cli.scores import scores
from risedb.cli.verify import verify
from risedb.errors import Corrupt, DeviceFailure, DiskFailure, RiseDBError

app = typer.Typer(
    name="risedb",
    help="Find which training documents shaped a language model's output, or would teach it one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (add, plan, query, scores, delete, compact, info, log, export, backup, verify, repair, diagnose, demo):
    app.command()(verb)
app.command("eval")(evaluate)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from risedb import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line: exit 2 for a user's mistake, 1 for damage or failure, with one line on stderr."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except RiseDBError as error:
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        typer.echo(f"risedb: {printable(message)}", err=True)
        sys.exit(1 if isinstance(error, Corrupt | DiskFailure | DeviceFailure) else 2)
    except OSError as error:
        if error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # `risedb query … | head` has seen enough
            typer.echo(f"risedb: stdout cannot be written: {error.strerror}", err=True)
        sys.exit(1)
