"""Verdicts: better, worse, no measurable difference, not comparable; and the sentences about the circuit."""

from collections.abc import Callable

import numpy as np
import pytest

from qpeft.errors import RecordError
from qpeft.metrics.intervals import holm, smallest_effect
from qpeft.records import Blocks, MethodSpec, RunRecord
from qpeft.report import conclusion, differences, find_twins, twin_verdict
from qpeft.report.verdict import Twin, choose_baseline

Make = Callable[..., RunRecord]

# Simulated comparisons of one circuit with its twins; 1500 gave the rates of `twin_verdict`'s docstring.
TRIALS, TWINS, SEEDS, BLOCKS = 300, 5, 3, 200
# Standard deviations over seeds, blocks and both, nats per token: results/wikitext2, circuit minus twin.
SEED_SD, BLOCK_SD, OWN_SD = 6e-3, 3e-3, 2.2e-2


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
    """The end of a sentence, with the smallest effect worked out from the t test."""
    found = twin.difference
    least = smallest_effect(found.parts, 0.05 / 3)
    return f", {found.p_text}: {words} (3 seeds; an effect of {least:.2g} would probably have been seen)"


def test_sentences_say_what_the_circuit_was_worth(comparison: list[RunRecord]) -> None:
    frozen, none, table = twin_verdict(comparison, "QPA", find_twins(comparison)["QPA"])
    assert frozen.sentence.startswith("trained circuit vs frozen circuit: difference -0.000")
    assert frozen.sentence.endswith(seen("no measurable contribution at this power", frozen))
    assert none.sentence.endswith(seen("the trained circuit contributes", none))
    assert table.sentence.endswith(seen("the trained circuit hurts", table))
    assert conclusion("QPA", [frozen, none, table]) == (
        "QPA: better than 1 of 3 twins, worse than 1, no measurable difference from 1."
    )


def test_the_verdict_follows_holms_p_value_over_the_family(comparison: list[RunRecord]) -> None:
    found = differences(comparison, "QPA")
    p_values = [d.p_value for d in found if d.p_value is not None]
    assert len(p_values) == len(found) == 5
    assert [d.p_holm for d in found] == pytest.approx(holm(p_values))
    assert all(d.family == 5 for d in found)
    assert [d.verdict != "no measurable difference" for d in found] == [(d.p_holm or 0) < 0.05 for d in found]
    alone = differences([run for run in comparison if run.spec.label in ("QPA", "LoRA")], "QPA")[0]
    assert alone.p_holm == alone.p_value
    assert alone.smallest_effect < found[1].smallest_effect


def test_what_cannot_be_compared_does_not_count_in_the_family(comparison: list[RunRecord], make: Make) -> None:
    runs = [run for run in comparison if run.spec.label in ("QPA", "LoRA")] + [make("bare", blocks=[])]
    lora, bare = differences(runs, "QPA")
    assert (lora.family, lora.p_holm) == (1, lora.p_value)
    assert (bare.p_holm, bare.p_text, bare.smallest_effect) == (None, "", float("inf"))


def true_least(twins: int) -> float:
    """`smallest_effect` at the true variances."""
    seed = (SEED_SD**2 + OWN_SD**2 / BLOCKS) / SEEDS
    text = BLOCK_SD**2 / BLOCKS
    return smallest_effect([(seed, SEEDS - 1), (text, BLOCKS - 1)], 0.05 / twins)


def simulated_verdicts(make: Make, effects: list[float], trials: int) -> list[list[str]]:
    """What `twin_verdict` says of a circuit that is better than each twin by an effect; one list a trial.

    The circuit's own luck is in all its differences. Runs are made once; each trial gives them other block sums.
    """
    over = MethodSpec(name="peft", options={"peft_type": "LORA", "r": 4})
    sources = ["circuit", "frozen", "none", "mlp", "linear", "quadratic"]
    runs = [
        make(source, MethodSpec(name="qpa", options={"source": source, "depth": 8, "n_mlp": 64}, over=over), seed=seed)
        for source in sources
        for seed in range(SEEDS)
    ]
    random = np.random.default_rng(0)
    tokens = random.integers(40, 1800, BLOCKS)
    counts = tokens.tolist()
    out = []
    for _ in range(trials):
        shape = (len(sources), SEEDS, BLOCKS)
        own = SEED_SD * random.normal(size=(*shape[:2], 1)) + BLOCK_SD * random.normal(size=(shape[0], 1, BLOCKS))
        own = (own + OWN_SD * random.normal(size=shape)) / 2**0.5
        text = 2.5 + 0.4 * random.normal(size=BLOCKS)
        nll = (text + own + np.array([0.0, *effects])[:, None, None]) * tokens
        blocks = [
            Blocks.model_construct(split="test", nll=row, tokens=counts) for row in nll.reshape(-1, BLOCKS).tolist()
        ]
        made = [run.model_copy(update={"blocks": [block]}) for run, block in zip(runs, blocks, strict=True)]
        out.append([twin.difference.verdict for twin in twin_verdict(made, "circuit", sources[1:])])
    return out


def test_twins_that_are_truly_equal_rarely_get_a_false_verdict(make: Make) -> None:
    verdicts = simulated_verdicts(make, [0.0] * TWINS, TRIALS)
    false = sum(set(family) != {"no measurable difference"} for family in verdicts)
    print(f"families of {TWINS} with a false verdict: {false / TRIALS:.3f}")
    # 5 % and three standard errors.
    assert false / TRIALS < 0.05 + 3 * (0.05 * 0.95 / TRIALS) ** 0.5


def test_twins_that_truly_differ_are_found_as_often_as_the_smallest_effect_says(make: Make) -> None:
    least = true_least(TWINS)
    verdicts = simulated_verdicts(make, [least, -least, 0.0, 0.0, 0.0], TRIALS)
    helps, hurts, *equal = zip(*verdicts, strict=True)
    shares = helps.count("better") / TRIALS, hurts.count("worse") / TRIALS
    false = sum(set(family) != {"no measurable difference"} for family in zip(*equal, strict=True))
    print(f"effect {least:.4f}: found {shares[0]:.3f}, {shares[1]:.3f}; false {false / TRIALS:.3f}")
    # Three standard errors are 7 %; Holm's later steps find a little more than its first.
    assert all(0.73 < share < 0.92 for share in shares)
    assert "worse" not in helps
    assert "better" not in hurts
    assert false / TRIALS < 0.05 + 3 * (0.05 * 0.95 / TRIALS) ** 0.5


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
