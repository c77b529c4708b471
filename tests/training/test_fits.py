"""What does not fit a model is found from its config, before its weights are read."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import qpeft.training.run
from qpeft.errors import ConfigError, ModelError
from qpeft.records import DataSpec, MethodSpec, ModelSpec, RunSpec, TrainSpec
from qpeft.training.fits import check_fit, virtual_tokens
from qpeft.training.run import train_run
from tiny_models import save_tiny_base, tiny_llama, tiny_tokenizer

LORA = MethodSpec(name="lora", options={"r": 2})


def spec(base: Path, method: MethodSpec = LORA, **data: Any) -> RunSpec:
    return RunSpec(method=method, label="x", model=ModelSpec(name=str(base)), data=DataSpec(**data))


def test_rows_longer_than_the_model_has_positions(base_folder: Path) -> None:
    check_fit(spec(base_folder, max_length=128))
    with pytest.raises(ConfigError, match=r"data.max_length must be at most 128 .* got 129. Give --max-length 128"):
        check_fit(spec(base_folder, max_length=129))
    prompt = MethodSpec(name="prompt", options={"num_virtual_tokens": 20})
    over = MethodSpec(name="qpa", over=prompt)
    assert virtual_tokens(over) == 20
    for method in (prompt, over):
        check_fit(spec(base_folder, method, max_length=108))
        with pytest.raises(ConfigError, match=r"at most 108 for this model, which has 128 positions, 20 of them"):
            check_fit(spec(base_folder, method, max_length=109))


def test_a_tokenizer_with_more_tokens_than_rows(tmp_path: Path) -> None:
    base = save_tiny_base(tmp_path / "base", tiny_llama(len(tiny_tokenizer())))
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<|more|>"], special_tokens=True)
    tokenizer.save_pretrained(base)
    with pytest.raises(ModelError, match=r"must have ids below 257, .*'<\|more\|>' has 257. Call model.resize_token"):
        check_fit(spec(base))


def test_it_is_found_before_the_weights(base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(base_folder, tmp_path / "base")
    monkeypatch.setattr(qpeft.training.run, "load_base", lambda _: pytest.fail("the weights were read"))
    with pytest.raises(ConfigError, match=r"data\.max_length"):
        train_run(spec(tmp_path / "base", max_length=512), tmp_path / "out")
    (tmp_path / "base" / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"model.name must be"):
        train_run(spec(tmp_path / "base"), tmp_path / "out")


def test_a_run_says_what_it_left_out(base_folder: Path, tmp_path: Path) -> None:
    lines = "".join(f'{{"prompt": "{"ask " * i}", "completion": "yes, it is", "id": {i}}}\n' for i in range(1, 21))
    (tmp_path / "d.jsonl").write_text(lines, encoding="utf-8")
    told: list[str] = []

    class Listener:
        def step(self, *_: Any) -> None: ...
        def phase(self, *_: Any) -> None: ...
        def note(self, message: str) -> None:
            told.append(message)

    run = spec(base_folder, name=str(tmp_path / "d.jsonl"), max_length=32)
    record = train_run(
        run.model_copy(update={"train": TrainSpec(steps=1, batch_size=2)}), tmp_path / "out", Listener()
    )
    assert told[0] == record.notes[0] == "d.jsonl: fields not read: id (20 rows)"
    assert told[1] == record.notes[1]
    info = record.meta_info.dataset_info
    assert 0 < info["dropped"] < info["truncated"] < 18
    assert told[1].startswith(f"{info['truncated']} of 18 training rows were cut to data.max_length=32 tokens")
    assert f"{info['unended']} answers or texts lost their end" in told[1]
    assert f"{info['dropped']} rows were left out" in told[1]
