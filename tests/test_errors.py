"""The errors: one root, a built-in parent each, and hints for misspelt words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpeft import errors
from qpeft.errors import ConfigError, QpeftError, nearest, require_choice

CLASSES = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, QpeftError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_caught_by_the_root_and_says_when_it_comes(kind: type[QpeftError]) -> None:
    assert kind.__doc__
    with pytest.raises(QpeftError, match="what came"):
        raise kind("what came")


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not QpeftError])
def test_every_error_is_also_a_builtin_that_callers_know(kind: type[QpeftError]) -> None:
    assert issubclass(kind, (ValueError, RuntimeError, ImportError, OSError, MemoryError))


def test_nearest_finds_a_misspelt_word_and_invents_nothing() -> None:
    assert nearest("dept", ["depth", "n_mlp"]) == "; nearest: depth"
    assert nearest("zzz", ["depth", "n_mlp"]) == ""
    assert nearest("depth", iter(["depth"])) == "; nearest: depth"


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_require_choice_accepts_what_is_allowed(choices: list[str], data: st.DataObject) -> None:
    require_choice("key", data.draw(st.sampled_from(choices)), choices)


@given(st.text(), st.lists(st.text(), max_size=5))
def test_require_choice_refuses_the_rest(value: str, choices: list[str]) -> None:
    if value in choices:
        return
    with pytest.raises(ConfigError):
        require_choice("key", value, iter(choices))


def test_require_choice_names_key_value_allowed_and_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        require_choice("--format", "svgg", iter(["text", "svg"]))
    assert str(caught.value) == "--format must be one of text, svg; got 'svgg'; nearest: svg"


def test_a_value_that_is_no_word_is_refused_like_any_other() -> None:
    with pytest.raises(ConfigError, match=r"qpa\.basis must be one of ordered, random; got 3"):
        require_choice("qpa.basis", 3, ["ordered", "random"])  # type: ignore[arg-type]
