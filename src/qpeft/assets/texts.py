"""The demo texts: log book pages of an invented harbour, generated the same way on every machine.

Every page tells of one ship and one officer. What a page says about them follows from fixed facts
(`harbour.py`), so a small model can learn it; what changes from page to page (day, hour, counts, wording)
is drawn at random. The pairs (ship, officer) are divided among the splits, so no held-out page can be
repeated from training: the facts are known, their combination is new.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from random import Random
from typing import Literal, TypeVar

from qpeft.assets.harbour import CARGOES, COUNTS, DAYS, HARBOUR, HOURS, MONTHS, OFFICERS, PORTS, SHIPS, Officer, Ship
from qpeft.errors import require_choice

T = TypeVar("T")
Split = Literal["train", "valid", "test"]
COUNT = {"train": 3000, "valid": 200, "test": 400}
# Of the 384 pairs, this many belong to a held-out split; the rest are trained on.
_HELD_OUT_PAIRS = {"valid": 28, "test": 56}

_OPENINGS = (
    "On the {day} of {month} there was {weather}.",
    "The log of {harbour} for the {day} of {month} begins with {weather}.",
    "{harbour} woke to {weather} on the {day} of {month}.",
    "The {day} of {month} brought {weather}, as {month} always does.",
)
_SHIP = (
    "The {rig} {ship}, {master} commanding, came in {hour} and took her berth at {berth}.",
    "{Hour} the {rig} {ship} was seen from the tower, and {master} brought her to {berth}.",
    "The {ship} made fast at {berth} {hour}; she is the {rig} of {master}, with a {hull} hull.",
    "{master} moored the {ship} at {berth} {hour}, and the {hull} hull of the {rig} shone.",
)
_VOYAGE = (
    "She had sailed {days} days from {port}, which lies to the {bearing}.",
    "Her home is {port}, {days} days to the {bearing}.",
    "From {port} it is {days} days' sailing out of the {bearing}.",
    "The voyage from {port} took {days} days, as it always does from the {bearing}.",
)
_CARGO = (
    "She carried {count} {measure} of {cargo} for {store}.",
    "In her hold were {count} {measure} of {cargo}, due at {store}.",
    "{Count} {measure} of {cargo} were landed and taken to {store}.",
    "As ever her cargo was {cargo}, and {store} received {count} {measure} of it.",
)
_OFFICER = (
    "The {office}, {officer}, {duty} and went back to {room}.",
    "{officer} came down from {room} as {office} and {duty}.",
    "It was {officer}, our {office}, who {duty}.",
    "Afterwards {officer} {duty}, for that is the work of the {office}.",
)
_CLOSINGS = (
    "Nothing else was entered.",
    "The page ends there.",
    "The {ship} will sail again for {port}.",
    "The next page tells of other ships.",
)
# Each kind of page is an order of sentences; every kind names the ship and the officer.
_PAGES = (
    (_OPENINGS, _SHIP, _OFFICER),
    (_SHIP, _VOYAGE, _OFFICER),
    (_SHIP, _CARGO, _OFFICER),
    (_SHIP, _OFFICER, _CLOSINGS),
    (_SHIP, _VOYAGE, _CARGO, _OFFICER),
)


def demo_texts(split: Split) -> list[str]:
    """The pages of one split of the embedded demo texts.

    Args:
        split: train (3,000 pages), valid (200) or test (400).

    Returns:
        Distinct paragraphs of three or four sentences each, in a fixed order.

    Raises:
        ConfigError: for any other split name.

    >>> pages = demo_texts("valid")
    >>> len(pages), len(set(pages))
    (200, 200)
    """
    require_choice("split", split, COUNT)
    return list(_pages(split))


def pairs(split: Split) -> list[tuple[Ship, Officer]]:
    """The pairs of a ship and an officer that one split writes about; disjoint between splits.

    >>> len(pairs("train")), len(pairs("valid")), len(pairs("test"))
    (300, 28, 56)
    """
    require_choice("split", split, COUNT)
    everything = [(ship, officer) for ship in SHIPS for officer in OFFICERS]
    everything.sort(key=lambda pair: sha256(f"{pair[0].name}|{pair[1].name}".encode()).digest())
    valid, test = _HELD_OUT_PAIRS["valid"], _HELD_OUT_PAIRS["test"]
    bounds = {"valid": (0, valid), "test": (valid, valid + test), "train": (valid + test, len(everything))}
    return everything[slice(*bounds[split])]


@cache
def _pages(split: Split) -> tuple[str, ...]:
    random = Random(int.from_bytes(sha256(f"{HARBOUR} {split}".encode()).digest()[:8], "big"))
    known, found = pairs(split), dict[str, None]()
    while len(found) < COUNT[split]:
        found[_page(*_draw(random, known), random)] = None
    return tuple(found)


def _page(ship: Ship, officer: Officer, random: Random) -> str:
    facts = _facts(ship, officer, random)
    return " ".join(_draw(random, wordings).format_map(facts) for wordings in _draw(random, _PAGES))


def _facts(ship: Ship, officer: Officer, random: Random) -> dict[str, str]:
    month, hour, count = _draw(random, tuple(MONTHS)), _draw(random, HOURS), _draw(random, COUNTS)
    days, bearing = PORTS[ship.port]
    measure, store = CARGOES[ship.cargo]
    return {
        **{"harbour": HARBOUR, "day": _draw(random, DAYS), "month": month, "weather": MONTHS[month]},
        **{"hour": hour, "Hour": hour[0].upper() + hour[1:], "count": count, "Count": count.capitalize()},
        **{"ship": ship.name, "rig": ship.rig, "master": ship.master, "hull": ship.hull, "berth": ship.berth},
        **{"port": ship.port, "days": days, "bearing": bearing},
        **{"cargo": ship.cargo, "measure": measure, "store": store},
        **{"officer": officer.name, "office": officer.office, "duty": officer.duty, "room": officer.room},
    }


def _draw(random: Random, options: Sequence[T]) -> T:
    # Only Random.random() is promised to give the same numbers in every version of Python.
    return options[int(random.random() * len(options))]
