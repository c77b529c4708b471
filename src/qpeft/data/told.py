"""Told: what reading left out, replaced or wrote in another form, counted by row and said once a file."""

from collections import Counter

UNREAD = "fields not read"
UNREAD_TURN = "fields of turns not read"
AS_JSON = "objects and lists written as JSON text"
REPLACED = "lone surrogates, which no text can hold, became U+FFFD"
UNANSWERED = "turns after the last answer left out"
EMPTY = "rows without anything to learn left out"
REPEATED = "held-out rows left out since they occur in training, too"


class Told:
    """A counter of things a reader of the data would want to know.

    >>> told = Told()
    >>> told.add(UNREAD, "id")
    >>> told.add(UNREAD, "id")
    >>> told.lines("d.jsonl, train")
    ['d.jsonl, train: fields not read: id (2 rows)']
    """

    def __init__(self) -> None:
        self._seen: dict[str, Counter[str]] = {}

    def add(self, kind: str, what: str = "", rows: int = 1) -> None:
        """Count rows of a kind; ``what`` names the field, where there is one."""
        if rows:
            self._seen.setdefault(kind, Counter())[what] += rows

    def add_row(self, row: "Told") -> None:
        """Count what was told of one row; a field of several of its turns is one row still."""
        for kind, found in row._seen.items():
            for what in found:
                self.add(kind, what)

    def lines(self, where: str) -> list[str]:
        """One line a kind."""
        parts = {kind: ", ".join(_part(*pair) for pair in found.items()) for kind, found in self._seen.items()}
        return [f"{where}: {kind}: {part}" for kind, part in parts.items()]


def _part(what: str, rows: int) -> str:
    count = f"{rows:,} row{'' if rows == 1 else 's'}"
    return f"{what} ({count})" if what else count
