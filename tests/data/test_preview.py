"""The preview: marks, shares, and its plain form."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from qpeft.data.preview import preview, show
from qpeft.records.spec import DataSpec


@pytest.fixture
def spec(write: Any) -> DataSpec:
    records = [{"prompt": f"ship {i} ", "completion": f"[oil] {i}"} for i in range(20)]
    return DataSpec(name=str(write("d.json", records)), max_length=64)


def test_rows_say_what_counts(spec: DataSpec, tokenizer: Any) -> None:
    seen = preview(spec, tokenizer, rows=2)
    assert len(seen.rows) == 2
    for row in seen.rows:
        assert "".join(token for token, counts in row if not counts).startswith("ship ")
        assert "".join(token for token, counts in row if counts).startswith("[oil]")
        assert row[-1] == (tokenizer.eos_token, True)


def test_shares(spec: DataSpec, tokenizer: Any) -> None:
    seen = preview(spec, tokenizer)
    train = seen.splits["train"]
    tokens = [len(tokenizer(f"ship {i} [oil] {i}")["input_ids"]) + 1 for i in range(20)]
    assert sum(part.tokens for part in seen.splits.values()) == sum(tokens)
    assert train.share_padding == pytest.approx(1 - train.tokens / (train.rows * 64))
    assert train.share_counted == pytest.approx(train.counted / (train.tokens - train.rows))
    assert 0 < train.share_counted < 1


def test_padded_loss_counts_prompts(spec: DataSpec, tokenizer: Any) -> None:
    seen = preview(spec.model_copy(update={"loss": "padded"}), tokenizer)
    assert seen.splits["train"].share_counted == 1
    assert [counts for _, counts in seen.rows[0]] == [False] + [True] * (len(seen.rows[0]) - 1)
    assert "padding counts too" in seen.plain()


def printed(seen: Any, **options: Any) -> str:
    stream = StringIO()
    show(seen, Console(file=stream, width=80, **options))
    return stream.getvalue()


def test_colours_on_a_terminal_and_brackets_elsewhere(spec: DataSpec, tokenizer: Any) -> None:
    seen = preview(spec, tokenizer)
    plain = printed(seen)
    assert "\x1b" not in plain
    assert plain.rstrip("\n") == seen.plain().rstrip("\n")
    assert "[<|end|>]" in plain
    assert "padding at 64 tokens a row" in plain
    colours = printed(seen, force_terminal=True, color_system="standard")
    assert "\x1b[1;32m" in colours
    assert "[<|end|>]" in printed(seen, force_terminal=True, color_system="standard", no_color=True)


def test_embedded_data_by_default(tokenizer: Any) -> None:
    seen = preview(DataSpec(train_rows=5, eval_rows=5, max_length=16), tokenizer)
    assert (seen.source, seen.format, seen.truncated) == ("embedded", "text", 5)
    assert "5 of 5 training rows were cut to data.max_length=16 tokens; 5 answers or texts lost" in seen.plain()
