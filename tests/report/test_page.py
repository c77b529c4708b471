"""The page: well formed, offline, escaped, complete; the tables for terminal and documents; the CSV file."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from qpeft.errors import RecordError
from qpeft.records import MethodSpec, RunRecord
from qpeft.report import caveats, circuit_verdicts, markdown_table, print_table, summarise, write_csv, write_page
from qpeft.report.drawing import PALETTE, looks

Make = Callable[..., RunRecord]
VOID = {"meta", "br", "hr", "img", "link", "input", "col"}


class Reader(HTMLParser):
    """Checks that tags close in order, and collects what a test asks about."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts += "plotly.js v" in data[:100]
        elif self.open and self.open[-1] != "style":
            self.text.append(data)


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page(comparison: list[RunRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_page(comparison, path, "A comparison", ["qpeft compare recipe.yaml", "qpeft report runs"])


def test_page_is_well_formed_and_has_each_id_once(page: Path) -> None:
    reader = read(page)
    assert len(reader.ids) == len(set(reader.ids))
    targets = {value[1:] for tag, name, value in reader.attributes if (tag, name) == ("a", "href")}
    assert targets <= set(reader.ids)
    assert ("html", "lang", "en") in reader.attributes
    assert ("th", "scope", "row") in reader.attributes


def test_page_loads_nothing(page: Path) -> None:
    reader = read(page)
    loads = [value for _, name, value in reader.attributes if name in ("src", "href", "action", "data", "srcset")]
    assert all(value.startswith("#") for value in loads)
    assert reader.scripts == 1
    style = re.findall(r"<style>.*?</style>", page.read_text("utf-8"), re.DOTALL)
    assert not re.search(r"@import|url\(", "".join(style))
    assert any("default-src 'none'" in value for _, _, value in reader.attributes)


def test_page_tells_numbers_verdicts_and_commands(page: Path) -> None:
    reader = read(page)
    text = " ".join(" ".join(reader.text).split())
    assert "QPA: better than 1 of 3 twins, worse than 1, no measurable difference from 1." in text
    assert "no measurable contribution at this power (3 seeds; an effect of " in text
    assert "p_Holm is below 0.05: the p-value of the interval's own t test, adjusted by Holm" in text
    assert re.search(r"\], p_Holm = [01]\.?\d*: no measurable contribution", text)
    assert "Difference from baseline, nats per token p_Holm Verdict" in text
    assert "The baseline is LoRA: the method whose numbers the circuit generates." in text
    assert "qpeft compare recipe.yaml" in text
    assert "masked, per token" in text
    assert "learning_rate: 0.01" in text
    names = ("perplexity", "ranks", "size", "time", "loss", "tuning", "twins")
    assert {f"figure-{name}" for name in names} <= set(reader.ids)


def test_the_same_records_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """Records of another process, with other hashes of words: nothing hangs on time, order of sets or chance."""
    records = Path(__file__).parents[2] / "results" / "wikitext2"
    code = (
        "import hashlib, sys; from pathlib import Path; from qpeft.records import find_records; "
        "from qpeft.report import write_page; "
        "page = write_page(find_records(Path(sys.argv[1])), Path(sys.argv[2]), 'T'); "
        "print(hashlib.sha256(page.read_bytes()).hexdigest())"
    )
    digests = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(records), str(tmp_path / f"{seed}.html")]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        digests.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(digests) == 1


def test_every_figure_has_buttons_that_name_it(page: Path) -> None:
    reader = read(page)
    figures = {
        value.removeprefix("figure-") for _, name, value in reader.attributes if name == "id" and "figure-" in value
    }
    buttons = [value for tag, name, value in reader.attributes if (tag, name) == ("button", "data-figure")]
    assert sorted(buttons) == sorted(3 * list(figures))
    names = [value for tag, name, value in reader.attributes if (tag, name) == ("button", "aria-label")]
    assert len(set(names)) == len(names)
    assert "Save as CSV: Test perplexity" in names


def test_labels_are_escaped_everywhere(make: Make, tmp_path: Path) -> None:
    label = "<b>&\"x'</script><script>alert(1)</script>"
    runs = [make(label), make("other", level=2.7), make(label, purpose="tune")]
    reader = read(write_page(runs, tmp_path / "x.html", label))
    assert not any(tag == "b" for tag, *_ in reader.attributes)
    assert "<script>alert" not in (tmp_path / "x.html").read_text("utf-8")
    assert label in "".join(reader.text)


def test_one_run_without_anything_still_makes_a_page(make: Make, tmp_path: Path) -> None:
    bare = make("a", blocks=[], curve=[], metrics=[])
    text = "".join(read(write_page([bare], tmp_path / "x.html", "Bare")).text)
    assert "left out of all means: a (1)" in text
    assert "No method of this comparison trains a circuit." in text
    assert "No commands were recorded" in text


def test_a_verdict_from_few_seeds_says_so(make: Make, tmp_path: Path) -> None:
    runs = [make("a"), make("b", level=2.7)]
    assert (
        "worse (1 of 3 seeds, the text alone)" in read(write_page(runs, tmp_path / "x.html", "Few", baseline="a")).text
    )


def test_page_needs_final_runs_and_a_known_baseline(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    with pytest.raises(RecordError, match="finish the comparison first"):
        write_page([], path, "Empty")
    with pytest.raises(RecordError, match="no final runs are labelled 'b'"):
        write_page([make("a")], path, "Title", baseline="b")
    assert not path.exists()


def test_caveats_name_what_weakens_the_comparison(make: Make) -> None:
    trainer = {"steps": 400}
    runs = [make("a", seed=seed) for seed in range(3)]
    runs += [
        make("b", train=trainer),
        make("b", purpose="tune"),
        make("b", purpose="tune", train={"learning_rate": 0.1}),
    ]
    found = caveats(runs, summarise(runs))
    assert any(note.startswith("Fewer than 3 seeds: b.") for note in found)
    assert "Not equal for all methods: train.steps (200, 400)." in found
    assert any("tuning runs is not equal for all methods: a 0, b 2" in note for note in found)
    assert any("b: the chosen learning rate 0.01 is the smallest that was tried" in note for note in found)


def test_no_caveats_when_there_is_nothing_to_say(make: Make) -> None:
    runs = [make(label, seed=seed) for label in "ab" for seed in range(3)]
    assert caveats(runs, summarise(runs)) == []


def test_terminal_table_shows_numbers_and_keeps_brackets(comparison: list[RunRecord], make: Make) -> None:
    output = StringIO()
    sentences = [verdict.conclusion for verdict in circuit_verdicts(comparison)]
    runs = [*comparison, make("[red]x", level=2.8)]
    print_table(summarise(runs), Console(file=output, width=160), sentences)
    text = output.getvalue()
    assert "[red]x" in text
    assert "9,000" in text
    assert "100.0 ms" in text
    assert "Fewer than 3 seeds: [red]x." in text
    assert "* QPA: better than 1 of 3 twins" in text


def test_markdown_table_has_one_line_a_row(comparison: list[RunRecord]) -> None:
    lines = markdown_table(summarise(comparison)).splitlines()
    assert len(lines) == 2 + 6
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert lines[2].startswith("| LoRA | 1")


def test_csv_round_trip(comparison: list[RunRecord], tmp_path: Path) -> None:
    with write_csv(comparison, tmp_path / "runs.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["identity"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(comparison)
    for record in comparison:
        row = rows[record.identity]
        assert row["label"] == record.spec.label
        assert int(row["num_trainable_params"]) == record.train_info.num_trainable_params
        value = record.metric("perplexity")
        assert row["test.perplexity"] == ("" if value is None else repr(value))
        assert row["quantum.source"] == (record.quantum.source if record.quantum else "")
    with pytest.raises(RecordError, match="at least one record"):
        write_csv([], tmp_path / "none.csv")


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", PALETTE)
@pytest.mark.parametrize("paper", ["#ffffff", "#14171b"])
def test_colours_read_on_light_and_dark_paper(colour: str, paper: str) -> None:
    low, high = sorted((_luminance(colour), _luminance(paper)))
    assert (high + 0.05) / (low + 0.05) >= 3


def test_no_two_methods_look_alike() -> None:
    style = looks(str(i) for i in range(56))
    assert len({(look.colour, look.symbol) for look in style.values()}) == 56


def test_report_imports_no_deep_learning_library() -> None:
    code = "import sys, qpeft.report; print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_frozen_model_is_a_line_not_a_point_at_zero(comparison: list[RunRecord], make: Make) -> None:
    from qpeft.report.figures import perplexity_against_size

    rows = summarise([make("base", MethodSpec(name="frozen"), trainable=0), make("LoRA", level=2.4)])
    figure = perplexity_against_size(rows, looks(row.label for row in rows))
    assert [trace.name for trace in figure.data] == ["LoRA"]
    assert len(figure.layout.shapes) == 1
