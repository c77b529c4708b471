"""The comparison as text: a rich table for the command line, a Markdown table for documents."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qpeft.report.format import bounds, count, decimal, seconds, seed_list, table_digits
from qpeft.report.summary import ENOUGH_SEEDS, Row

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
    table = Table(
        title="Test perplexity, lower is better; 95 % intervals over seeds and text",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for index, column in enumerate(NARROW):
        table.add_column(column, justify="right" if index else "left", overflow="fold", no_wrap=index > 0)
    for row, cells in zip(rows, _cells(rows), strict=True):
        # Text, not str: a label in square brackets is no markup.
        label, perplexity, interval, padded, trainable, step, qubits, _ = cells
        train = seconds(row.train_seconds)
        narrow = (label, f"{perplexity} {interval}", padded, trainable, step, train, qubits)
        table.add_row(*(Text(cell) for cell in narrow))
    console.print(table)
    few = [row.label for row in rows if len(row.seeds) < ENOUGH_SEEDS and row.trainable]
    if few:
        console.print(Text(f"Fewer than {ENOUGH_SEEDS} seeds: {', '.join(few)}."))
    for sentence in sentences:
        console.print(Text(f"* {sentence}"))


def markdown_table(rows: Sequence[Row]) -> str:
    """The comparison as a Markdown table.

    Args:
        rows: the rows of ``summarise``.

    Returns:
        Lines that end in a newline.

    >>> markdown_table([]).splitlines()[0][:44]
    '| method | test perplexity | 95 % interval |'
    """
    lines = [COLUMNS, *([cell.replace("|", "\\|") for cell in cells] for cells in _cells(rows))]
    text = [f"| {' | '.join(cells)} |" for cells in lines]
    text.insert(1, "|:---|" + "---:|" * (len(COLUMNS) - 1))
    return "\n".join(text) + "\n"


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    digits = table_digits(rows)
    return [
        [
            row.label,
            decimal(row.perplexity, digits),
            bounds(row.low, row.high, digits),
            decimal(row.padded, digits),
            count(row.trainable),
            seconds(row.step_seconds),
            count(row.qubits),
            seed_list(row.seeds),
        ]
        for row in rows
    ]
