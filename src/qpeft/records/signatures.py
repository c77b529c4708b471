"""Failure signatures as plain sentences over measured numbers: those of QAA (arXiv:2509.16244), and general ones."""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

# Thresholds: a fall below 1 % is a plateau; an update larger than the state it is added to drowns it; below 0.5 BLEU
# no phrase of the reference survives; seeds that differ by a quarter of their mean cannot rank methods.
PLATEAU, DROWNING, NO_PHRASES, SAME_MEANING, UNSTEADY = 0.01, 1.0, 0.5, 70.0, 0.25
# Batches differ: a loss that ends 2 % above its beginning rises; a gradient 20 times its usual size explodes.
RISING, EXPLODING, ENOUGH = 0.02, 20.0, 6
# The word each sentence begins with; a record's notes are found again by it.
KINDS = (
    "not finite",
    "rising",
    "plateau",
    "exploding gradient",
    "worse than the base model",
    "drowning",
    "meaning without wording",
    "seeds disagree",
)


def loss_slope(steps: Sequence[float], losses: Sequence[float]) -> float:
    """Least-squares slope of the loss, nats per step; compare it with that of LoRA on the same data.

    >>> loss_slope([0, 10, 20], [3.0, 2.5, 2.0])
    -0.05
    """
    if len(set(steps)) < 2:
        return 0.0
    middle, height = fmean(steps), fmean(losses)
    spread = sum((step - middle) ** 2 for step in steps)
    return sum((step - middle) * (loss - height) for step, loss in zip(steps, losses, strict=True)) / spread


def failure_signatures(
    losses: Sequence[float] = (),
    update_ratio: float | None = None,
    bleu: float | None = None,
    bertscore: float | None = None,
    rouge_by_seed: Sequence[float] = (),
    gradient_norms: Sequence[float] = (),
    against_base: tuple[float, float] | None = None,
) -> list[str]:
    """The signatures that the numbers show; what was not measured is not judged.

    Args:
        losses: Logged training losses in order, nats; judged from six of them on.
        update_ratio: Mean norm of the update over that of the hidden state, 0 or more.
        bleu: Corpus BLEU, 0 to 100.
        bertscore: BERTScore F1 times 100.
        rouge_by_seed: One ROUGE value a seed; judged from three seeds on.
        gradient_norms: Logged norms of the gradient before clipping, in order; judged from six of them on.
        against_base: Perplexities of the trained model and of the base model on the same rows.

    Returns:
        One sentence each: what is seen, what it may mean, what to try.
    """
    found = [*of_losses(losses), *of_gradients(gradient_norms)]
    # A perplexity that is no number is worse, too.
    if against_base is not None and not against_base[0] <= against_base[1]:
        found.append(
            f"worse than the base model: perplexity {against_base[0]:.2f} against {against_base[1]:.2f} on the same "
            f"rows; training did harm: try a smaller learning rate, or a method with smaller updates"
        )
    if update_ratio is not None and update_ratio > DROWNING:
        found.append(
            f"drowning: the updates are {update_ratio:.1f} times as long as the hidden states they are added to; try "
            f"a smaller scale or learning rate"
        )
    if bleu is not None and bertscore is not None and bleu < NO_PHRASES and bertscore > SAME_MEANING:
        found.append(
            f"meaning without wording: BLEU is {bleu:.2f} while BERTScore is {bertscore:.1f}; the residuals may be "
            f"out of scale or the training too short: look at samples, train longer"
        )
    if len(rouge_by_seed) >= 3 and stdev(rouge_by_seed) > UNSTEADY * fmean(rouge_by_seed):
        found.append(
            f"seeds disagree: ROUGE is {fmean(rouge_by_seed):.2f} with a standard deviation of "
            f"{stdev(rouge_by_seed):.2f} over {len(rouge_by_seed)} seeds; run more seeds, lower the learning rate"
        )
    return found


def of_losses(losses: Sequence[float]) -> list[str]:
    """What the training loss shows: that it is no number, rises, or does not fall; the first of these only."""
    if not all(math.isfinite(loss) for loss in losses):
        return [
            "not finite: the training loss became infinite or no number; try a smaller learning rate or float32, or "
            "clip the gradient"
        ]
    if len(losses) < ENOUGH:
        return []
    third = len(losses) // 3
    first, last = fmean(losses[: max(2, len(losses) // 5)]), fmean(losses[-third:])
    if last - first > RISING * abs(first):
        return [
            f"rising: the training loss rose from {first:.3f} to {last:.3f}; try a smaller learning rate or a warm-up"
        ]
    early = losses[: max(2, third)]
    if early[0] - min(early[1:]) < PLATEAU * abs(early[0]):
        return [
            f"plateau: the loss hardly fell in the first third of the run ({early[0]:.3f} to {min(early[1:]):.3f}); "
            f"the gradient of the angles may be vanishing or the learning rate too small: try a larger rate, a larger "
            f"scale, another depth or entangler"
        ]
    return []


def of_gradients(norms: Sequence[float]) -> list[str]:
    """Whether the gradient became much larger than it usually was in this run, or no number."""
    if len(norms) < ENOUGH:
        return []
    usual = median(norm for norm in norms if math.isfinite(norm)) if any(map(math.isfinite, norms)) else math.nan
    largest = max(norms, key=lambda norm: norm if math.isfinite(norm) else math.inf)
    if largest <= EXPLODING * usual:
        return []
    return [
        f"exploding gradient: its norm reached {largest:.3g} where {usual:.3g} is usual in this run; try a smaller "
        f"learning rate, a warm-up, or a smaller train.max_grad_norm"
    ]


def kind_of(note: str) -> str | None:
    """The signature a note of a record tells of, or None.

    >>> kind_of("rising: the training loss rose from 2.000 to 3.000"), kind_of("untied")
    ('rising', None)
    """
    word, colon, _ = note.partition(":")
    return word if colon and word in KINDS else None
