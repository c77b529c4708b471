"""The YAML reader: numbers, merging, `extends`, `--set`, places of keys, and no code."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpeft.errors import ConfigError
from qpeft.recipes.reader import apply_settings, merge, parse, place_of, read_mapping

TREES = st.dictionaries(st.sampled_from("abc"), st.integers() | st.dictionaries(st.sampled_from("xy"), st.integers()))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("-2E+4", -2e4), ("1.5e3", 1500.0), ("5e-08", 5e-8), ("3", 3), ("0.5", 0.5), ("1_0e1", 100.0)],
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    found = parse(text, "here")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["e-3", "1e", "1e-3x", "1e3.5", "r4"])
def test_words_stay_words(text: str) -> None:
    assert parse(text, "here") == text


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['echo bad']",
        "!!python/object:qpeft.recipes.Recipe {}",
        "!!python/name:os.system",
        "a: !!python/object/new:list [[1]]",
    ],
)
def test_yaml_runs_no_code(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.system", pytest.fail)
    with pytest.raises(ConfigError, match="no valid YAML"):
        parse(text, "here")
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match="no valid YAML"):
        read_mapping(tmp_path / "bad.yaml")


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"here: .*lora stands twice.*line 3"):
        parse("methods:\n  lora: {r: 4}\n  lora: {r: 8}\n", "here")
    assert parse("a: &x {k: 1}\nb: {<<: *x, k: 2}", "here")["b"] == {"k": 2}


@given(TREES, TREES)
def test_merging_lays_the_second_over_the_first(below: dict[str, Any], above: dict[str, Any]) -> None:
    before = (repr(below), repr(above))
    both = merge(below, above)
    assert set(both) == {*below, *above}
    assert merge(both, above) == both
    assert merge(below, {}) == below
    assert merge({}, above) == above
    assert (repr(below), repr(above)) == before


def test_extends_lays_a_file_over_its_parents(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "root.yaml").write_text("title: root\ntrain: {steps: 1, batch_size: 2}\n")
    (tmp_path / "sub" / "middle.yaml").write_text("extends: ../root.yaml\ntrain: {steps: 3}\n")
    (tmp_path / "leaf.yaml").write_text("extends: sub/middle.yaml\ntitle: leaf\n")
    assert read_mapping(tmp_path / "leaf.yaml") == {"title": "leaf", "train": {"steps": 3, "batch_size": 2}}


@pytest.mark.parametrize("name", ["demo", "demo.yaml"])
def test_extends_finds_what_ships_with_qpeft(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"extends: {name}\ntitle: mine\n")
    mine = read_mapping(tmp_path / "mine.yaml")
    assert mine["title"] == "mine"
    assert "lora" in mine["methods"]
    (tmp_path / name).write_text("title: beside\nseeds: [9]\n")
    assert read_mapping(tmp_path / "mine.yaml") == {"title": "mine", "seeds": [9]}


@pytest.mark.parametrize("again", ["a.yaml", "../{here}/a.yaml"])
def test_a_cycle_of_extends_is_refused(again: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text(f"extends: {again.format(here=tmp_path.name)}\n")
    with pytest.raises(ConfigError, match=r"a.yaml extends itself through a.yaml -> b.yaml -> a.yaml"):
        read_mapping(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "must hold a mapping of keys; got list"),
        (b"", "must hold a mapping of keys; got NoneType"),
        (b"a: [1\n", r"no valid YAML: .*line 2"),
        (b"a: \xff", "must be UTF-8 text; byte 3 is not"),
        (b"extends: none.yaml", "a recipe was expected at .*none.yaml: No such file"),
    ],
)
def test_files_that_are_no_recipe(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_mapping(tmp_path / "x.yaml")


def test_settings_are_laid_over_in_order() -> None:
    body = {"train": {"steps": 1, "batch_size": 2}, "seeds": [0]}
    found = apply_settings(body, ["train.steps=20", "seeds=[3, 4]", "train.learning_rate=1e-2", "train.steps=30"])
    assert found == {"train": {"steps": 30, "batch_size": 2, "learning_rate": 1e-2}, "seeds": [3, 4]}
    assert body == {"train": {"steps": 1, "batch_size": 2}, "seeds": [0]}
    assert apply_settings({}, ["a.b.c=x=y"]) == {"a": {"b": {"c": "x=y"}}}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.steps", "--set takes key.key=value"),
        ("=3", "--set takes key.key=value"),
        ("title.x.y=3", "title holds no keys"),
        ("train.steps=[1", "--set train.steps=.*no valid YAML"),
        ("train.steps=!!python/name:os.system", "no valid YAML"),
    ],
)
def test_settings_that_cannot_be_used(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_settings({"title": "t", "train": {"steps": 1}}, [setting])


def test_places_of_keys(tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text("title: root\n\ntrain:\n  steps: 1\n")
    (tmp_path / "leaf.yaml").write_text("extends: root.yaml\nseeds:\n  - 1\n  - x\n")
    leaf = tmp_path / "leaf.yaml"
    assert place_of(leaf, ("seeds",), []) == "leaf.yaml:2"
    assert place_of(leaf, ("seeds", 1), []) == "leaf.yaml:4"
    assert place_of(leaf, ("train", "steps"), []) == "root.yaml:4"
    assert place_of(leaf, ("train", "steps"), ["train.steps=x"]) == "--set"
    assert place_of(leaf, ("train", "steps"), ["train.batch_size=x"]) == "root.yaml:4"
    assert place_of(leaf, ("nowhere",), []) == "leaf.yaml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("1: x", {"1": "x"}),
        ("no: {name: lora}", {"no": {"name": "lora"}}),
        ("2024-01-01: 3", {"2024-01-01": 3}),
        ("a: =", {"a": "="}),
    ],
)
def test_dates_and_keys_are_the_text_that_stands_there(text: str, value: object) -> None:
    assert parse(text, "here") == value


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!int x", "this is no int: .*line 1"),
        ("a: !!float x", "this is no float"),
        ("a: !!bool x", "this is no bool"),
        ("a: !!timestamp x", "a value of kind timestamp cannot stand in a recipe"),
        ("a: !!binary eA==", "a value of kind binary cannot stand in a recipe"),
        ("a: !!set {b, c}", "a value of kind set cannot stand"),
        ("a: !!map 3", "this is no map"),
        ("a: " + "9" * 5000, "this is no int: .*digits"),
        ("{? [1] : 2}", "a key must be a word"),
        ("&a [*a]", "it holds itself through an alias"),
        ("[" * 60 + "]" * 60, "nested more than 50 deep"),
        ("[" * 20_000, "nested too deeply for a recipe"),
        ('a: "\\ud800"', "a character that no text file can"),
        (BOMB, "stands for more than 50,000 values"),
        ("a: '" + "x" * (1 << 17) + "'", "a recipe has at most 131,072 characters"),
    ],
)
@pytest.mark.timeout(20)
def test_yaml_of_odd_kinds_is_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)here: .*{message}"):
        parse(text, "here")


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "mine.yaml").write_text("extends: loop.yaml\n")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("loop.yaml", "mine.yaml", "folder.yaml"):
        with pytest.raises(ConfigError, match="a recipe was expected at"):
            read_mapping(tmp_path / name)
    with pytest.raises(ConfigError, match="a recipe was expected at /dev/zero, which is no file"):
        read_mapping(Path("/dev/zero"))
