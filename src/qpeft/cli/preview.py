"""``qpeft preview``: the first rows as tokens, with what counts in the loss."""

from typing import Annotated, get_args

import typer

from qpeft.cli.data_flags import COLUMNS, given

EXAMPLE = "Example:  qpeft preview my_chats.jsonl --rows 2 --max-length 64"


def command(  # noqa: PLR0913 - one argument a flag
    data: Annotated[str, typer.Argument(help="embedded, a folder, a file, or a hub name.")] = "embedded",
    model: Annotated[str, typer.Option(help="Whose tokenizer: as --model of qpeft train.")] = "bundled",
    rows: Annotated[int, typer.Option(min=1, help="Rows to print.")] = 3,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens a row.")] = 128,
    layout: Annotated[str, typer.Option(help="rows or packed.")] = "rows",
    loss: Annotated[str, typer.Option(help="masked or padded.")] = "masked",
    columns: Annotated[list[str] | None, typer.Option(help=COLUMNS)] = None,
    template: Annotated[str, typer.Option(help="auto, chat or plain: whether a chat template is used.")] = "auto",
) -> None:
    """Print rows token by token: counted tokens plain, prompt and padding dimmed or in brackets."""
    from rich.console import Console

    from qpeft.errors import require_choice
    from qpeft.records import DataSpec

    words = {"layout": layout, "loss": loss, "template": template}
    for key, value in words.items():
        require_choice(f"--{key}", value, get_args(DataSpec.model_fields[key].annotation))
    spec = DataSpec.model_validate({"name": data, **words, **given(max_length, columns)})
    from qpeft.data.preview import preview
    from qpeft.training.models import load_tokenizer

    shown = preview(spec, load_tokenizer(model), rows=rows)
    console = Console()
    console.print(
        shown.rich() if console.is_terminal else shown.plain(), markup=False, highlight=False, soft_wrap=True
    )
