"""The tables and figures of both papers: what each shows, which recipes make it, and the numbers they published."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from qpeft.errors import require_choice
from qpeft.recipes.reader import read_mapping
from qpeft.records.spec import Strict

PAPERS = Path(__file__).parent / "papers"
ARXIV = {"qpa": "2410.09846", "qaa": "2509.16244"}
SCALES = ("tiny", "real")


class Panel(Strict):
    """One figure: perplexity, or training loss, over x."""

    x: Literal["trainable", "rank", "depth", "step"]
    curves: dict[str, list[str]] = Field(
        description="name of a curve: labels, or patterns of labels; first match wins"
    )
    lines: dict[str, list[str]] = Field({}, description="name of a horizontal line: labels of the method it shows")


class Item(Strict):
    """One table, figure or proposed check of a paper."""

    title: str
    note: str = Field("", description="why published numbers and ours differ, in plain words")
    shown: str = Field("", description="the command that shows it, where nothing is measured")
    tiny: list[str] = Field([], description="recipes and studies at the size of the embedded model")
    real: list[str] = Field([], description="recipes and studies with the paper's own model and data")
    rows: dict[str, list[str]] = Field({}, description="published row: labels of ours beside it")
    panels: dict[str, Panel] = Field({}, description="name: one figure")

    def recipes(self, scale: str) -> list[str]:
        """The recipes of one of ``SCALES``."""
        return self.tiny if scale == "tiny" else self.real


@dataclass(frozen=True)
class Published:
    """One number as a paper prints it; ``value`` keeps its digits."""

    item: str
    row: str
    column: str
    value: str


def paper_items() -> dict[str, Item]:
    """Every item, in the order of the papers.

    >>> paper_items()["qpa-table3"].real
    ['qpa-table3-gpt2-xl']
    """
    return {name: Item.model_validate(body) for name, body in read_mapping(PAPERS / "items.yml").items()}


def find_item(name: str) -> Item:
    """One item by its name.

    Raises:
        ConfigError: There is none of that name.
    """
    items = paper_items()
    require_choice("item", name, items)
    return items[name]


def published(item: str | None = None) -> list[Published]:
    """The published numbers, all or those of one item.

    >>> [number.value for number in published("qaa-table3") if number.column == "BERTScore"]
    ['58.29', '78.74']
    """
    with (PAPERS / "published.csv").open(encoding="utf-8", newline="") as file:
        numbers = [Published(**row) for row in csv.DictReader(file)]
    return [number for number in numbers if item in (None, number.item)]
