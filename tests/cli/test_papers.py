"""``qpeft papers``: the list, a run that is shared by two items, published numbers beside ours, refusals."""

from pathlib import Path

from .conftest import Ask


def test_every_item_is_listed(ask: Ask) -> None:
    code, out, _ = ask("papers")
    assert code == 0
    for words in ("arXiv:2410.09846", "arXiv:2509.16244", "qpa-table2", "qaa-fig3", "qaa-noise"):
        assert words in out


def test_run_then_show(ask: Ask, base_folder: Path, texts: Path, tmp_path: Path) -> None:
    settings = [f"model.name={base_folder}", f"data.name={texts}", "data.max_length=16", "data.eval_rows=4"]
    settings += ["train.steps=1", "seeds=[0]", "data.train_rows=8"]
    flags = [word for setting in settings for word in ("--set", setting)]
    out = tmp_path / "runs"
    assert ask("papers", "run", "qpa-fig4c", "--plan", *flags).out.count("final") == 8
    code, text, err = ask("papers", "run", "qpa-fig4c", "--out", out, *flags)
    assert code == 0, err
    assert (out / "pages" / "qpa-fig4c-tiny" / "report.html").exists()
    assert f"qpeft papers show qpa-fig4c --records {out}" in text
    code, text, _ = ask("papers", "show", "qpa-fig4c", "--records", out, "--figures", tmp_path / "figures", *flags)
    assert code == 0
    assert "qpa-lora-n256-L49" in text
    assert "not measured" not in text
    assert (tmp_path / "figures" / "qpa-fig4c-depth.svg").read_text("utf-8").count("<path") > 10


def test_show_without_records_prints_what_was_published(ask: Ask, tmp_path: Path) -> None:
    code, out, _ = ask("papers", "show", "qpa-table3", "--scale", "real", "--records", tmp_path)
    assert code == 0
    assert "1.474" in out
    assert "qpa-table3-gpt2-xl: 12 not measured yet" in out


def test_a_study_of_an_item_runs_too(ask: Ask, tmp_path: Path) -> None:
    assert ask("papers", "run", "qpa-fig4a", "--out", tmp_path).code == 0
    code, out, _ = ask("papers", "show", "qpa-fig4a", "--records", tmp_path)
    assert code == 0
    assert "106,264" in out


def test_refusals(ask: Ask) -> None:
    code, _, err = ask("papers run qpa-fig99")
    assert (code, "qpa-fig9" in err) == (2, True)
    code, _, err = ask("papers run qpa-fig1")
    assert (code, "see `qpeft draw" in err) == (2, True)
    code, _, err = ask("papers run qpa-fig2 --scale huge")
    assert (code, "tiny" in err) == (2, True)
