"""Dividing one list of examples into train, valid and test by seed, without leakage."""

from hashlib import sha256
from itertools import groupby

from qpeft.data.examples import Example
from qpeft.errors import DataError

HELD_OUT_SHARE = 0.05
_FEW = 20


def carve(examples: list[Example], missing: list[str], seed: int) -> dict[str, list[Example]]:
    """Take the missing held-out splits, 5 % each, out of the training examples.

    Lines between two blank lines stay together (a paragraph of one document must not sit on both sides),
    a held-out example whose text also occurs in training is left out, and what holds nothing to learn (an empty
    answer, a run of blank lines) is never held out.

    Args:
        examples: the training examples.
        missing: the splits to make: valid, test or both.
        seed: decides which documents are held out.

    Returns:
        train and the missing splits, each in the original order.

    Raises:
        DataError: where too few different texts are left to hold any out.

    >>> lines = [Example(((f"line {i}", True),)) for i in range(100)]
    >>> {name: len(part) for name, part in carve(lines, ["valid", "test"], seed=0).items()}
    {'train': 90, 'valid': 5, 'test': 5}
    """
    groups = _documents(examples)
    # The order goes by places among all groups: empty ones change nothing for the others.
    filled = [place for place, group in enumerate(groups) if not all(example.empty for example in group)]
    order = sorted(filled, key=lambda place: sha256(f"{seed}:{place}".encode()).digest())
    count = max(1, round(HELD_OUT_SHARE * len(order)))
    if len(order) <= count * len(missing):
        raise DataError(
            f"at least {len(missing) + 1} examples are needed to make {', '.join(missing)}; got {len(order)}"
        )
    taken = {name: set(order[i * count : (i + 1) * count]) for i, name in enumerate(missing)}
    held = set().union(*taken.values())
    parts = {"train": [e for place, group in enumerate(groups) if place not in held for e in group]}
    seen = {example.text for example in parts["train"]}
    for name, places in taken.items():
        parts[name] = [e for i in sorted(places) for e in groups[i] if e.text not in seen or not e.text.strip()]
        seen |= {example.text for example in parts[name]}
        if all(example.empty for example in parts[name]):
            raise DataError(
                f"no example is left for {name}: all of them also occur in train. Give more, or a {name} file"
            )
    return parts


def _documents(examples: list[Example]) -> list[list[Example]]:
    # A blank line ends a document and stays with it; files with few documents are divided by example.
    ends = 0
    keys = []
    for example in examples:
        keys.append(ends)
        ends += not example.text.strip()
    groups = [
        [e for _, e in group] for _, group in groupby(zip(keys, examples, strict=True), key=lambda pair: pair[0])
    ]
    return groups if len(groups) >= _FEW else [[example] for example in examples]
