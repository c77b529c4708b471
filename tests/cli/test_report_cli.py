"""``qpeft report``: page, table and figures of records on disk; formats that do not exist are told."""

from pathlib import Path
from typing import Any

import pytest


def test_page_table_and_figures_are_written(finished: Path, ask: Any, tmp_path: Path) -> None:
    code, out, err = ask(
        "report", finished, "--title", "Finished", "--figures", tmp_path / "figures", "--format", "csv"
    )
    assert (code, err) == (0, "")
    assert "<h1>Finished</h1>" in (finished / "report.html").read_text("utf-8")
    assert (finished / "runs.csv").exists()
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["perplexity.csv"]
    assert f"figures   1 in {tmp_path / 'figures'}" in out


def test_pictures_need_no_window(finished: Path, ask: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs qpeft[figures]")
    assert ask("report", finished, "--figures", tmp_path, "--format", "svg, png").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["perplexity.png", "perplexity.svg"]


def test_without_the_flag_there_are_no_figures(finished: Path, ask: Any) -> None:
    assert "figures" not in ask("report", finished).out


def test_an_unknown_format_is_told(finished: Path, ask: Any, tmp_path: Path) -> None:
    code, _, err = ask("report", finished, "--figures", tmp_path, "--format", "svgg")
    assert code == 2
    assert "--format must be one of svg, png, pdf, csv; got 'svgg'; nearest: svg" in " ".join(err.split())
    assert not list(tmp_path.iterdir())
