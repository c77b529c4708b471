"""Example and Texts: what every data source becomes before it meets a tokenizer."""

from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

from qpeft.errors import DataError

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Example:
    """One text in segments; a segment is (text, whether its tokens count in the loss).

    Attributes:
        segments: the parts.
        whole: a chat template wrote it, so start and end tokens are in the text; no start token is put before it,
            and an end token after it only where it has none.

    >>> Example((("Say hello.", False), ("Hello!", True))).text
    'Say hello.Hello!'
    """

    segments: tuple[tuple[str, bool], ...]
    whole: bool = False

    @property
    def text(self) -> str:
        """All segments in a row."""
        return "".join(text for text, _ in self.segments)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to learn: no counted segment with more than white space."""
        return not any(counts and text.strip() for text, counts in self.segments)


@dataclass(frozen=True)
class Texts:
    """The three splits of one data source.

    Attributes:
        train: training examples, in their order.
        valid: validation examples.
        test: test examples.
        source: the name of the source: 'embedded', a hub name, or the name of a file or folder.
        sha256: of every example of every split; equal texts have equal digests.
        format: the layout that was read: text, alpaca, messages, ...
        notes: what was not read, replaced, or left out, once a file; empty where there is nothing to say.
    """

    train: list[Example]
    valid: list[Example]
    test: list[Example]
    source: str
    sha256: str
    format: str
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> list[Example]:
        """The examples of train, valid or test.

        Raises:
            DataError: for any other name.
        """
        if name not in SPLITS:
            raise DataError(f"split must be one of {', '.join(SPLITS)}; got {name!r}")
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]


def digest(splits: dict[str, list[Example]]) -> str:
    """The sha256 of all examples; separators cannot occur inside the hashed parts.

    >>> one = digest({"train": [Example((("a", True),))]})
    >>> one == digest({"train": [Example((("a", False),))]})
    False
    """
    total = sha256()
    for name in sorted(splits):
        total.update(f"{name}:{len(splits[name])}\n".encode())
        for text, counts in chain.from_iterable(example.segments for example in splits[name]):
            data = text.encode("utf-8", "surrogatepass")
            total.update(f"{len(data)}:{int(counts)}:".encode() + data)
        total.update(f"{[len(example.segments) for example in splits[name]]}".encode())
    return total.hexdigest()
