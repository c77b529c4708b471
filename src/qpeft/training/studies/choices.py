"""Words that settings of several studies may hold, refused with what is allowed and what is near."""

from collections.abc import Callable, Iterable
from typing import Annotated

from pydantic import AfterValidator

from qpeft.circuits import ANSATZE, ENTANGLERS
from qpeft.errors import nearest
from qpeft.qpa import PRESETS


def one_of(allowed: Iterable[str]) -> Callable[[str], str]:
    """A check that a word is one of these."""

    def check(word: str) -> str:
        words = list(allowed)  # now, so that names of plug-ins are among them
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}{nearest(word, words)}")
        return word

    return check


AnsatzName = Annotated[str, AfterValidator(one_of(ANSATZE))]
EntanglerName = Annotated[str, AfterValidator(one_of(ENTANGLERS))]
PresetName = Annotated[str, AfterValidator(one_of(PRESETS))]
