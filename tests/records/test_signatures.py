"""Each failure signature at its threshold and around it."""

import pytest

from qpeft.records.signatures import KINDS, failure_signatures, kind_of, loss_slope

FLAT = [3.0] * 9


def kinds(*args: object, **options: object) -> list[str]:
    return [sentence.split(":")[0] for sentence in failure_signatures(*args, **options)]  # type: ignore[arg-type]


def test_nothing_measured_is_nothing_judged() -> None:
    assert failure_signatures() == []


@pytest.mark.parametrize(
    ("losses", "plateau"),
    [
        (FLAT, True),
        (FLAT[:6], True),
        (FLAT[:5], False),  # too short to judge
        ([3.0, 2.98, 2.971, *[0.5] * 6], True),  # fell later, by less than 1 % in the first third
        ([3.0, 2.98, 2.969, *[0.5] * 6], False),
        ([3.0, 2.9, 3.1, *[3.0] * 6], False),  # fell, came back
        ([3.0, 3.0, 3.0, 1.0, 1.0, 1.0], True),  # two of six are the first third
        ([1e-9, 0.0, 0.0, 0.0, 0.0, 0.0], False),
    ],
)
def test_plateau(losses: list[float], plateau: bool) -> None:
    assert kinds(losses) == ["plateau"] * plateau


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([3.0, 3.5, 4.0, *[5.0] * 6], ["rising"]),
        ([3.0, 2.0, 1.0, 2.0, 3.0, 4.0], ["rising"]),
        ([3.0, 3.0, 2.9, 2.8, 3.1, 3.0], ["plateau"]),
        ([3.0, 2.0, float("nan"), 2.0], ["not finite"]),
        ([3.0, 2.0, float("inf"), 2.0, 3.0, 9.0], ["not finite"]),
    ],
)
def test_a_loss_that_rises_or_is_no_number(losses: list[float], found: list[str]) -> None:
    assert kinds(losses) == found


@pytest.mark.parametrize(
    ("norms", "explodes"),
    [
        ([1.0] * 5 + [20.0], False),
        ([1.0] * 5 + [20.1], True),
        ([1.0] * 5 + [float("inf")], True),
        ([1.0] * 4 + [99.0], False),  # too few to know what is usual
        ([0.0, *[2.0] * 6], False),
    ],
)
def test_exploding_gradient(norms: list[float], explodes: bool) -> None:
    assert kinds(gradient_norms=norms) == ["exploding gradient"] * explodes


@pytest.mark.parametrize(
    ("pair", "worse"),
    [((816.0, 67.3), True), ((60.0, 67.3), False), ((67.3, 67.3), False), ((float("nan"), 67.3), True)],
)
def test_worse_than_the_base_model(pair: tuple[float, float], worse: bool) -> None:
    assert kinds(against_base=pair) == ["worse than the base model"] * worse


def test_every_sentence_is_found_again_by_its_first_word() -> None:
    found = failure_signatures(FLAT, 3.0, 0.1, 80.0, [1.0, 5.0, 9.0], [*[1.0] * 6, 99.0], (9.0, 8.0))
    assert [kind_of(sentence) for sentence in found] == [
        kind for kind in KINDS if kind not in ("not finite", "rising")
    ]


def test_plateau_names_what_was_seen() -> None:
    (sentence,) = failure_signatures([3.0, 2.99, 2.995, *[2.0] * 6])
    assert "(3.000 to 2.990)" in sentence
    assert "try a larger rate" in sentence


@pytest.mark.parametrize(("ratio", "drowns"), [(None, False), (0.0, False), (1.0, False), (1.01, True), (70.0, True)])
def test_drowning(ratio: float | None, drowns: bool) -> None:
    assert kinds(update_ratio=ratio) == ["drowning"] * drowns


@pytest.mark.parametrize(
    ("bleu", "bertscore", "found"),
    [
        (0.49, 70.1, True),
        (0.0, 78.74, True),
        (0.5, 78.74, False),
        (0.38, 58.29, False),  # prefix tuning in the paper's Table 3: the meaning is gone as well
        (0.4, 70.0, False),
        (2.96, 78.74, False),  # QAA there
        (None, 78.74, False),
        (0.1, None, False),
    ],
)
def test_meaning_without_wording(bleu: float | None, bertscore: float | None, found: bool) -> None:
    assert kinds(bleu=bleu, bertscore=bertscore) == ["meaning without wording"] * found


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], False),
        ([0.1, 9.0], False),  # two seeds say nothing about spread
        ([15.0, 15.5, 14.5], False),
        ([8.0, 10.0, 12.0], False),  # 2 of 10: a fifth
        ([7.5, 10.0, 12.5], False),  # exactly a quarter
        ([7.4, 10.0, 12.6], True),
    ],
)
def test_seeds_disagree(values: list[float], found: bool) -> None:
    assert kinds(rouge_by_seed=values) == ["seeds disagree"] * found


def test_all_at_once_in_order() -> None:
    found = kinds(FLAT, 3.0, 0.1, 80.0, [1.0, 5.0, 9.0])
    assert found == ["plateau", "drowning", "meaning without wording", "seeds disagree"]


def test_slope_is_that_of_least_squares() -> None:
    assert loss_slope([0, 1, 2, 3], [1.0, 3.0, 2.0, 5.0]) == pytest.approx(1.1)
    assert loss_slope([5, 10, 15], [2.0, 2.0, 2.0]) == 0
    assert loss_slope([], []) == loss_slope([3], [2.0]) == 0


def test_slope_of_readings_at_one_step_is_zero() -> None:
    assert loss_slope([4, 4], [2.0, 1.0]) == 0
