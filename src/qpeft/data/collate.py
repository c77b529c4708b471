"""Batches for `transformers.Trainer`: padding, and the labels that decide what the loss counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from qpeft.data.rows import Row
from qpeft.errors import DataError, require_choice
from qpeft.records.spec import DataSpec

IGNORED = -100


def features(rows: Sequence[Row]) -> list[dict[str, list[int]]]:
    """Rows as a Trainer's train_dataset: input_ids, attention_mask and labels, unpadded.

    >>> features([Row([5, 6, 0], [False, False, True])])
    [{'input_ids': [5, 6, 0], 'attention_mask': [1, 1, 1], 'labels': [-100, -100, 0]}]
    """
    return [
        {
            "input_ids": [*row.ids],
            "attention_mask": [1] * len(row.ids),
            "labels": [token if counts else IGNORED for token, counts in zip(row.ids, row.counts, strict=True)],
        }
        for row in rows
    ]


@dataclass(frozen=True)
class Collate:
    """A data collator: a list of features in, one batch of tensors out.

    Attributes:
        pad_id: the token id written into padding.
        max_length: the most tokens of a row; the width of every batch where loss is padded.
        loss: masked: padded to the longest row, and padding and prompts carry no loss.
            padded: padded to max_length, and every position carries loss, padding and prompts too; with the end
            token as pad_id this is what the QPA authors train on.

    >>> batch = Collate(1, 8, "masked")(features([Row([5, 6, 0], [True] * 3), Row([7, 0], [True] * 2)]))
    >>> batch["labels"].tolist()
    [[5, 6, 0], [7, 0, -100]]
    """

    pad_id: int
    max_length: int
    loss: Literal["masked", "padded"] = "masked"

    def __post_init__(self) -> None:
        require_choice("loss", self.loss, ["masked", "padded"])

    def __call__(self, batch: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Pad a batch on the right.

        Args:
            batch: B features.

        Returns:
            input_ids, attention_mask and labels, each (B, T) int64.
        """
        longest = min(max(len(feature["input_ids"]) for feature in batch), self.max_length)
        width = self.max_length if self.loss == "padded" else longest
        ids = self._filled(batch, "input_ids", width, self.pad_id)
        mask = self._filled(batch, "attention_mask", width, 0)
        labels = ids.clone() if self.loss == "padded" else self._filled(batch, "labels", width, IGNORED)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def _filled(self, batch: Sequence[dict[str, list[int]]], key: str, width: int, value: int) -> torch.Tensor:
        rows = [feature[key][:width] for feature in batch]
        return torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.int64)


def collate_for(spec: DataSpec, tokenizer: Any) -> Collate:
    """The collator of a DataSpec; padding is the end token for the padded loss and where there is no pad token.

    Raises:
        DataError: where the tokenizer has no end token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise DataError("the tokenizer must have an end token; it has none. Set tokenizer.eos_token")
    own = tokenizer.pad_token_id
    return Collate(end if spec.loss == "padded" or own is None else own, spec.max_length, spec.loss)
