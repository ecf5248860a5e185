"""Options that several verbs share, once each; and the values they make together."""

import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from risedb.config import LoadConfig
from risedb.errors import InvalidInput

if TYPE_CHECKING:
    from risedb.database import Choices


def _tokens(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is no number of at least 1, nor auto"
        raise typer.BadParameter(msg)
    return int(text)


Index = Annotated[Path, typer.Argument(metavar="IDX", help="The index: one folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]

Queries = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE…", help="Queries in any format that add reads.", show_default=False),
]
QueryTexts = Annotated[
    list[str] | None, typer.Option("--text", help="A query as text; may be repeated.", show_default=False)
]
QueryIds = Annotated[
    list[str] | None,
    typer.Option("--id", help="A stored document as query; loads no model.", show_default=False),
]
Minus = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Subtract the mean of these: like the queries, unlike those.", show_default=False
    ),
]
Mean = Annotated[bool, typer.Option("--mean/--per-query", help="Score by the mean of all queries, or by each.")]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="CONDITION",
        help='Only documents whose record says so: "source=c4 and year >= 2020"; operators = != < <= > >= in (a, b).',
        show_default=False,
    ),
]
At = Annotated[
    int | None,
    typer.Option(metavar="COMMIT", help="The index as it was then; see risedb log.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]

_SCORE = "Score"
Channel = Annotated[
    Literal["both", "rh", "gh"], typer.Option(help="rh: lexical, gh: semantic.", rich_help_panel=_SCORE)
]
LambdaRH = Annotated[float, typer.Option(help="Weight of RH.", rich_help_panel=_SCORE)]
LambdaGH = Annotated[float, typer.Option(help="Weight of GH.", rich_help_panel=_SCORE)]
NoNormalize = Annotated[
    bool, typer.Option("--no-normalize", help="Inner products instead of cosines.", rich_help_panel=_SCORE)
]
Center = Annotated[
    bool, typer.Option("--center", help="Subtract the pool's mean first: what all share.", rich_help_panel=_SCORE)
]
Memory = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="Most that a scan allocates: 64MiB, 1GiB. Not counted: the queries, their k best, and a few numbers for "
        "each document with --center or several checkpoints.",
        rich_help_panel=_SCORE,
    ),
]

_MODEL = "Model"
NewModel = Annotated[
    str, typer.Option("--model", help="'demo', a folder (also of a PEFT adapter), or a hub id.", show_default=False)
]
SeqLen = Annotated[int, typer.Option(min=2, help="Most tokens of a document.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="'demo', a folder (also of a PEFT adapter), or a Hugging Face hub id, as id@revision for a branch, tag or "
        "commit. Several, in their order, are checkpoints whose scores are added. An index remembers its models.",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
CheckpointWeights = Annotated[
    str | None,
    typer.Option(
        metavar="W,W",
        help="What each checkpoint's scores are multiplied by (default: 1, or what the index remembers).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(help="Branch, tag or commit of a hub id.", rich_help_panel=_MODEL, show_default=False),
]
Device = Annotated[
    str,
    typer.Option(help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.", rich_help_panel=_MODEL),
]
DType = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(
        help="Precision of the forward pass; auto is bfloat16 where the device multiplies it, else float32.",
        rich_help_panel=_MODEL,
    ),
]
DeviceMap = Annotated[
    str | None,
    typer.Option(
        help="For a model larger than a device: auto, balanced, balanced_low_0 or sequential spread its layers "
        "over GPUs, memory and disk (risedb\\[large]).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
OffloadFolder = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="For weights that a device map leaves on disk, where the checkpoint cannot be read as it is.",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
Quantize = Annotated[
    Literal["8bit", "4bit"] | None,
    typer.Option(
        help="Layers in 8 or 4 bits, but for the LM head (risedb\\[large]).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        parser=_tokens,
        metavar="N|auto",
        help="Most tokens in one forward pass (default auto: 2048 on a CPU, what fits on a GPU).",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run Python code that comes with the model.",
        rich_help_panel=_MODEL,
    ),
]

_FIELDS = "What the fields of a row mean (an index remembers them)"


def _field(what: str, default: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        help=f"Field with {what} (default: {default}).", rich_help_panel=_FIELDS, show_default=False
    )
    return option


TextField = Annotated[str | None, _field("the text", "text")]
IdField = Annotated[str | None, _field("the id; a row without one gets its content's hash", "id")]
PromptField = Annotated[str | None, _field("the prompt", "prompt")]
CompletionField = Annotated[str | None, _field("the completion", "completion")]
MessagesField = Annotated[str | None, _field("a chat, for the tokenizer's own template", "messages")]
Template = Annotated[
    str | None,
    typer.Option(
        help=r"How prompt and completion make a text; \n is a new line (default: {prompt}\n{completion}).",
        rich_help_panel=_FIELDS,
        show_default=False,
    ),
]
LossOn = Annotated[
    Literal["all", "completion"] | None,
    typer.Option(
        help="Positions that count: all, or those that predict the completion (default: all).",
        rich_help_panel=_FIELDS,
        show_default=False,
    ),
]


def weights_of(text: str | None) -> list[float] | None:
    """Read numbers between commas.

    Raises
    ------
    InvalidInput
        If one is none.

    Examples
    --------
    >>> weights_of("1, 0.5")
    [1.0, 0.5]
    """
    try:
        return None if text is None else [float(weight) for weight in text.split(",")]
    except ValueError as error:
        msg = f"the checkpoints' weights {text!r} are not numbers between commas: 1,0.5"
        raise InvalidInput(msg) from error


def unescaped(template: str) -> str:
    r"""Read a template as a shell passes it, with ``\n`` for a new line and ``\t`` for a tab."""
    return template.replace("\\n", "\n").replace("\\t", "\t")


def bytes_of(size: str) -> int:
    """Read a size: ``1GiB``, ``512 MiB``, or a number of bytes.

    Raises
    ------
    InvalidInput
        If it is none.

    Examples
    --------
    >>> bytes_of("1.5GiB")
    1610612736
    """
    found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)\s*(?:([KMGT])i?B?|B)?", size.strip(), re.IGNORECASE | re.ASCII)
    if not found:
        msg = f"the size {size!r} is not a number of bytes, or of KiB, MiB, GiB or TiB"
        raise InvalidInput(msg)
    return int(float(found[1]) * 1024 ** " KMGT".index((found[2] or " ").upper()))


def with_groups(**groups: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a verb options that several verbs share: for Typer, those of each group stand where its parameter does.

    Parameters
    ----------
    groups
        By the verb's parameter, a function of some options; the parameter takes what it returns.

    Examples
    --------
    >>> def size(width: int = 2, height: int = 3) -> int:
    ...     return width * height
    >>> @with_groups(area=size)
    ... def paint(*, area: int, colour: str) -> str:
    ...     return f"{area} in {colour}"
    >>> str(inspect.signature(paint)), paint(colour="red", width=4, height=5)
    ('(*, width: int = 2, height: int = 3, colour: str)', '20 in red')
    """

    def decorated(verb: Callable[..., Any]) -> Callable[..., Any]:
        names = {group: list(inspect.signature(of).parameters) for group, of in groups.items()}

        @functools.wraps(verb)
        def called(**given: Any) -> Any:
            made = {group: of(**{name: given.pop(name) for name in names[group]}) for group, of in groups.items()}
            return verb(**given, **made)

        parameters = []
        for one in inspect.signature(verb).parameters.values():
            shared = [one] if one.name not in groups else inspect.signature(groups[one.name]).parameters.values()
            parameters += [each.replace(kind=each.KEYWORD_ONLY) for each in shared]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorated


def loading(
    revision: Revision = None,
    dtype: DType = "auto",
    device: Device = "auto",
    device_map: DeviceMap = None,
    offload_folder: OffloadFolder = None,
    quantize: Quantize = None,
    trust_remote_code: TrustRemoteCode = False,
) -> LoadConfig:
    """Return how a model is loaded."""
    return LoadConfig(
        revision=revision,
        dtype=dtype,
        device=device,
        device_map=device_map,
        offload_folder=offload_folder,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )


@with_groups(load=loading)
def opening(
    *,
    model: Models = None,
    checkpoint_weights: CheckpointWeights = None,
    load: LoadConfig,
    batch_tokens: BatchTokens = None,
) -> dict[str, Any]:
    """Return what :func:`risedb.open` takes of an index's models."""
    models = model if model is None or len(model) > 1 else model[0]
    return {"model": models, "weights": weights_of(checkpoint_weights), "load": load, "batch_tokens": batch_tokens}


def meaning(
    text_field: TextField = None,
    id_field: IdField = None,
    prompt_field: PromptField = None,
    completion_field: CompletionField = None,
    messages_field: MessagesField = None,
    template: Template = None,
    loss_on: LossOn = None,
) -> dict[str, Any]:
    """Return what was said of :class:`risedb.corpus.Fields`, to take the place of what an index remembers."""
    given = {
        "text": text_field,
        "id": id_field,
        "prompt": prompt_field,
        "completion": completion_field,
        "messages": messages_field,
        "template": None if template is None else unescaped(template),
        "loss_on": loss_on,
    }
    return {name: value for name, value in given.items() if value is not None}


def scoring(
    where: Where = None,
    channel: Channel = "both",
    lambda_rh: LambdaRH = 0.7,
    lambda_gh: LambdaGH = 1.0,
    no_normalize: NoNormalize = False,
    center: Center = False,
    memory: Memory = "256MiB",
) -> "Choices":
    """Return the choices of a query that say which documents are scored, and how."""
    return {
        "where": where,
        "lambda_rh": 0.0 if channel == "gh" else lambda_rh,
        "lambda_gh": 0.0 if channel == "rh" else lambda_gh,
        "normalize": not no_normalize,
        "center": center,
        "memory_bytes": bytes_of(memory),
    }
