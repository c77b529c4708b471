"""The comparison as text: a rich table for the command line, a Markdown table for documents."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qpeft.report.format import bounds, count, over_seeds, seconds, seed_list, table_digits
from qpeft.report.summary import ENOUGH_SEEDS, Row
from qpeft.report.tables import answers

COLUMNS = (
    "method",
    "test perplexity",
    "95 % interval",
    "padded perplexity",
    "trainable numbers",
    "time per step",
    "qubits",
    "seeds",
)

# The same for a terminal of 80 columns: the interval stands beside its value.
NARROW = ("method", "perplexity", "padded", "numbers", "step", "total", "qubits")


def print_table(rows: Sequence[Row], console: Console, sentences: Sequence[str] = ()) -> None:
    """Print the comparison, and below it the sentences about the circuit.

    Args:
        rows: the rows of ``summarise``.
        console: where to print.
        sentences: plain sentences, for example those of ``twin_verdict``.
    """
    narrow = []
    for row, cells in zip(rows, _cells(rows), strict=True):
        label, perplexity, interval, padded, trainable, step, qubits, _ = cells
        train = seconds(row.train_seconds)
        narrow.append([label, f"{perplexity} {interval}", padded, trainable, step, train, qubits])
    console.print(_table("Test perplexity, lower is better; 95 % intervals over seeds and text", NARROW, narrow))
    if (texts := answers(rows)) is not None:
        console.print(_table(texts.caption, texts.columns, texts.rows))
    few = [row.label for row in rows if len(row.seeds) < ENOUGH_SEEDS and row.trainable]
    if few:
        console.print(Text(f"Fewer than {ENOUGH_SEEDS} seeds: {', '.join(few)}."))
    for sentence in sentences:
        console.print(Text(f"* {sentence}"))


def markdown_table(rows: Sequence[Row]) -> str:
    """The comparison as a Markdown table, and below it a second one of answers where any were measured.

    Args:
        rows: the rows of ``summarise``.

    Returns:
        Lines that end in a newline.

    >>> markdown_table([]).splitlines()[0][:44]
    '| method | test perplexity | 95 % interval |'
    """
    text = _markdown(COLUMNS, _cells(rows))
    texts = answers(rows)
    return text if texts is None else f"{text}\n{texts.caption}.\n\n{_markdown(texts.columns, texts.rows)}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold", no_wrap=index > 0)
    for cells in rows:
        # Text, not str: a label in square brackets is no markup.
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, *([cell.replace("|", "\\|") for cell in cells] for cells in rows)]
    text = [f"| {' | '.join(cells)} |" for cells in lines]
    text.insert(1, "|:---|" + "---:|" * (len(columns) - 1))
    return "\n".join(text) + "\n"


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    digits = table_digits(rows)
    return [
        [
            row.label,
            over_seeds(row.perplexity, row.seed_perplexities, digits),
            bounds(row.low, row.high, digits),
            over_seeds(row.padded, row.seed_padded, digits),
            count(row.trainable),
            seconds(row.step_seconds),
            count(row.qubits),
            seed_list(row.seeds),
        ]
        for row in rows
    ]
