"""Both papers, item by item: nothing is missing, every name leads somewhere, and the published arithmetic holds."""

from fnmatch import fnmatchcase
from math import ceil, floor, log2

import pytest

from qpeft.errors import ConfigError
from qpeft.recipes import load_recipe, packaged, packaged_studies
from qpeft.recipes.papers import SCALES, find_item, paper_items, published

ITEMS = paper_items()
# Every table and figure of arXiv:2410.09846 and arXiv:2509.16244, and what the second proposes to check.
QPA = ["table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8", "table9", "headline", "fig1"]
QPA += ["fig2", "fig3", "fig4a", "fig4b", "fig4c", "fig4d", "fig5", "fig6", "fig7", "fig8", "fig9", "fig10", "fig11"]
QAA = ["table1", "table2", "table3", "fig3", "experiment1", "experiment2", "experiment3", "check2", "open1"]
ROWS_AN_EPOCH = 36_718  # lines of WikiText-2 raw's training split


def test_no_item_is_missing() -> None:
    assert sorted(ITEMS) == sorted([f"qpa-{name}" for name in QPA] + [f"qaa-{name}" for name in QAA])


@pytest.mark.parametrize("name", ITEMS)
def test_every_name_leads_somewhere(name: str) -> None:
    item = ITEMS[name]
    assert item.tiny or item.shown
    for recipe in (*item.tiny, *item.real):
        assert (recipe in packaged()) != (recipe in packaged_studies()), recipe


@pytest.mark.parametrize("name", [name for name, item in ITEMS.items() if item.rows or item.panels])
def test_rows_and_curves_name_labels_of_the_recipes(name: str) -> None:
    item = ITEMS[name]
    for scale in SCALES:
        comparisons = [load_recipe(recipe) for recipe in item.recipes(scale) if recipe in packaged()]
        labels = {run.label for comparison in comparisons for run in comparison.runs}
        if not labels:  # counts alone, at this scale
            continue
        for panel in item.panels.values():
            for group in (*panel.curves.values(), *panel.lines.values()):
                assert any(fnmatchcase(label, pattern) for label in labels for pattern in group), (scale, group)
        for group in item.rows.values():
            assert labels & set(group), (scale, group)


def test_the_real_recipes_have_the_settings_of_tables_4_to_7() -> None:
    rows = {run.label: run for run in load_recipe("qpa-table2-gpt2").runs}
    for table, labels in {
        "qpa-table4": {"LoRA": "lora", "QPA LoRA": "qpa-lora"},
        "qpa-table5": {"DoRA": "dora", "QPA DoRA": "qpa-dora"},
        "qpa-table6": {"PT": "pt", "QPA PT": "qpa-pt"},
        "qpa-table7": {"FFA": "ffa", "QPA FFA": "qpa-ffa"},
    }.items():
        for number in published(table):
            train = rows[labels[number.row]].train
            ours = {
                "learning rate": train.learning_rate,
                "batch size": train.batch_size,
                "warmup steps": train.warmup_steps,
                "epochs": train.steps / ROWS_AN_EPOCH,
                "epochs GPT-2": train.steps / ROWS_AN_EPOCH,
            }
            if number.column in ours:
                assert ours[number.column] == float(number.value), (table, number)
    assert rows["qpa-lora"].method.over is not None
    assert rows["qpa-lora"].method.over.options["lora_dropout"] == 0.05


@pytest.mark.parametrize(
    ("table", "width", "vocabulary"), [("qpa-table8", 768, 50_257), ("qpa-table9", 2048, 256_000)]
)
def test_published_counts_follow_from_the_sizes(table: str, width: int, vocabulary: int) -> None:
    counts = {n.row: int(n.value) for n in published(table) if n.column == "trainable numbers"}
    assert len(counts) == 12
    for row, count in counts.items():
        kind, setting = row.split()
        value = int(setting.split("=")[1])
        if kind == "LoRA":
            assert count == value * (width + vocabulary)
        else:
            qubits = ceil(log2(ceil(4 * (width + vocabulary) / value)))
            assert count == 38_400 + 32 * qubits + 33 * value + 8 * qubits


def test_published_ratios_are_those_of_the_published_counts() -> None:
    rows: dict[str, dict[str, float]] = {}
    for number in published("qpa-headline"):
        rows.setdefault(number.row, {})[number.column] = float(number.value)
    for row in rows.values():
        whole = row.get("of LoRA's") or row["of PT's"]
        exact = 100 * row["trainable numbers"] / whole
        assert floor(100 * exact) / 100 == row["ratio percent"]  # the paper cuts, it does not round
    lora, gemma, prefix = rows.values()
    for row in (lora, gemma):
        assert (
            round(100 * (row["LoRA's perplexity"] - row["perplexity"]) / row["LoRA's perplexity"], 2)
            == row["gain percent"]
        )
    loss = prefix["perplexity"] - prefix["PT's perplexity"]
    assert round(100 * loss / prefix["perplexity"], 2) == prefix["loss percent"]  # of the worse of the two
    assert round(100 * loss / prefix["PT's perplexity"], 2) == 4.58


def test_an_unknown_item_is_named_with_its_nearest() -> None:
    with pytest.raises(ConfigError, match="qpa-table2"):
        find_item("qpa-tabel2")
