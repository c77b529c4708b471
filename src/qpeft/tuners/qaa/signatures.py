"""The failure signatures of QAA (arXiv:2509.16244 and its summary) as plain sentences over measured numbers."""

from collections.abc import Sequence
from statistics import fmean, stdev

# Thresholds: a fall below 1 % is a plateau; an update larger than the state it is added to drowns it; below 0.5 BLEU
# no phrase of the reference survives; seeds that differ by a quarter of their mean cannot rank methods.
PLATEAU, DROWNING, NO_PHRASES, SAME_MEANING, UNSTEADY = 0.01, 1.0, 0.5, 70.0, 0.25


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
) -> list[str]:
    """The signatures that the numbers show; what was not measured is not judged.

    Args:
        losses: Logged training losses in order, nats; judged from six of them on.
        update_ratio: Mean norm of the update over that of the hidden state, 0 or more.
        bleu: Corpus BLEU, 0 to 100.
        bertscore: BERTScore F1 times 100.
        rouge_by_seed: One ROUGE value a seed; judged from three seeds on.

    Returns:
        One sentence each: what is seen, what it may mean, what to try.
    """
    found = []
    early = losses[: max(2, len(losses) // 3)]
    if len(losses) >= 6 and early[0] - min(early[1:]) < PLATEAU * abs(early[0]):
        found.append(
            f"plateau: the loss hardly fell in the first third of the run ({early[0]:.3f} to {min(early[1:]):.3f}); "
            f"the gradient of the angles may be vanishing or the learning rate too small: try a larger rate, a larger "
            f"scale, another depth or entangler"
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
