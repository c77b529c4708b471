"""Verdicts: better, worse, no measurable difference, not comparable; and the sentences about the circuit."""

from collections.abc import Callable

import pytest

from qpeft.errors import RecordError
from qpeft.records import MethodSpec, RunRecord
from qpeft.report import conclusion, differences, find_twins, twin_verdict
from qpeft.report.verdict import Twin, choose_baseline

Make = Callable[..., RunRecord]


def test_three_verdicts(comparison: list[RunRecord]) -> None:
    found = {d.label: d for d in differences(comparison, "QPA")}
    assert found["LoRA"].verdict == "better"
    assert found["QPA none"].verdict == "worse"
    assert found["QPA frozen"].verdict == "no measurable difference"
    assert found["LoRA"].estimate == pytest.approx(-0.05, abs=0.002)
    assert found["LoRA"].percent == pytest.approx(-4.9, abs=0.2)
    assert all(d.baseline == "QPA" for d in found.values())


def test_a_difference_turns_its_sign_with_its_sides(comparison: list[RunRecord]) -> None:
    forth = {d.label: d for d in differences(comparison, "QPA")}["LoRA"]
    back = {d.label: d for d in differences(comparison, "LoRA")}["QPA"]
    assert forth.estimate is not None
    assert back.estimate == pytest.approx(-forth.estimate)
    assert back.verdict == "worse"


def test_a_method_that_trains_nothing_is_paired_with_every_seed(comparison: list[RunRecord]) -> None:
    base = {d.label: d for d in differences(comparison, "QPA")}["base"]
    assert (base.seeds, base.verdict) == (3, "worse")


def test_equal_results_have_no_difference(make: Make) -> None:
    runs = [make(label, seed=seed) for label in ("a", "b") for seed in range(3)]
    (found,) = differences(runs, "a")
    assert (found.estimate, found.low, found.high, found.verdict) == (0.0, 0.0, 0.0, "no measurable difference")


def test_only_common_seeds_are_compared(make: Make) -> None:
    runs = [make("a", seed=s) for s in (0, 1, 2)] + [make("b", seed=s, level=2.6) for s in (1, 2, 3)]
    assert differences(runs, "a")[0].seeds == 2
    (apart,) = differences([make("a", seed=0), make("b", seed=1)], "a")
    assert (apart.verdict, apart.reason) == ("not comparable", "no seed was measured with both")


def test_other_tokens_or_missing_blocks_are_not_comparable(make: Make) -> None:
    blocks = [{"split": "test", "nll": [10.0, 12.0], "tokens": [4, 5]}]
    (other,) = differences([make("a"), make("b", blocks=blocks)], "a")
    (none,) = differences([make("a"), make("b", blocks=[])], "a")
    assert other.reason == "the counted test tokens differ"
    assert none.reason == "block sums of the test split are missing"
    assert other.text == "not comparable"


def test_twins_are_found_by_options_and_preset(comparison: list[RunRecord], make: Make) -> None:
    deeper = next(r for r in comparison if r.spec.label == "QPA frozen").spec.method
    deeper = MethodSpec(name="qpa", options={**deeper.options, "depth": 2}, over=deeper.over)
    assert find_twins([*comparison, make("shallow", deeper)]) == {"QPA": ["QPA frozen", "QPA none", "QPA table"]}


def seen(words: str, twin: Twin) -> str:
    """The end of a sentence, with the smallest effect worked out from the interval's half width."""
    low, high = twin.difference.low, twin.difference.high
    assert low is not None
    assert high is not None
    least = (1.96 + 0.84) * (high - low) / 2 / 1.96
    return f"]: {words} (3 seeds; an effect of {least:.2g} would probably have been seen)"


def test_sentences_say_what_the_circuit_was_worth(comparison: list[RunRecord]) -> None:
    frozen, none, table = twin_verdict(comparison, "QPA", find_twins(comparison)["QPA"])
    assert frozen.sentence.startswith("trained circuit vs frozen circuit: difference -0.000")
    assert frozen.sentence.endswith(seen("no measurable contribution at this power", frozen))
    assert none.sentence.endswith(seen("the trained circuit contributes", none))
    assert table.sentence.endswith(seen("the trained circuit hurts", table))
    assert conclusion("QPA", [frozen, none, table]) == (
        "QPA: better than 1 of 3 twins, worse than 1, no measurable difference from 1."
    )


def test_a_twin_that_cannot_be_compared_says_why(comparison: list[RunRecord], make: Make) -> None:
    method = next(r for r in comparison if r.spec.label == "QPA none").spec.method
    runs = [r for r in comparison if r.spec.label == "QPA"] + [make("twin", method, blocks=[])]
    (twin,) = twin_verdict(runs, "QPA", ["twin"])
    assert twin.sentence.endswith("not comparable: block sums of the test split are missing (1 seed)")


def test_an_unknown_label_names_the_nearest(comparison: list[RunRecord]) -> None:
    with pytest.raises(RecordError, match="nearest: LoRA"):
        differences(comparison, "LORA")
    with pytest.raises(RecordError, match="no final runs are labelled 'QPA mlp'"):
        twin_verdict(comparison, "QPA", ["QPA mlp"])


def test_the_baseline_is_what_the_circuit_generates(comparison: list[RunRecord], make: Make) -> None:
    known = {"base": 20.0, "LoRA": 12.0, "QPA": 13.0}
    assert choose_baseline(comparison, known) == ("LoRA", "the method whose numbers the circuit generates")
    best = MethodSpec(name="peft", options={"peft_type": "IA3"})
    classical = [make("LoRA"), make("IA3", best)]
    assert choose_baseline(classical, {"LoRA": 12.0, "IA3": 11.0}) == (
        "IA3",
        "the classical method with the lowest test perplexity",
    )
    assert choose_baseline(classical, {}) is None
