"""Numbers as people read them: digits that fit the interval, thousands, seconds, bytes."""

import math
from collections.abc import Iterable, Sequence

from qpeft.report.means import far_apart
from qpeft.report.summary import Row

MISSING = "-"
MOST_DIGITS = 6


def interval_digits(low: float, high: float, least: int = 2) -> int:
    """Decimals that show the width of an interval with two digits.

    >>> interval_digits(12.1, 12.9), interval_digits(-0.0006, 0.0003, least=3)
    (2, 5)
    """
    width = high - low
    if not math.isfinite(width) or width <= 0:
        return least
    return min(MOST_DIGITS, max(least, 1 - math.floor(math.log10(width))))


def table_digits(rows: Iterable[Row]) -> int:
    """The decimals one column of perplexities needs: enough for its narrowest interval."""
    widths = [(row.low, row.high) for row in rows if row.low is not None and row.high is not None]
    return max((interval_digits(low, high) for low, high in widths), default=2)


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with fixed decimals, or a dash where there is none.

    >>> decimal(1234.5, 1), decimal(None)
    ('1,234.5', '-')
    """
    return MISSING if value is None else f"{value:,.{digits}f}"


def over_seeds(mean: float | None, seeds: Sequence[float], digits: int = 2) -> str:
    """A perplexity's geometric mean over seeds; the seeds beside it where they differ by an order of magnitude.

    >>> over_seeds(5.61, (2.23, 2.26, 35.13)), over_seeds(4.0, (2.0, 8.0)), over_seeds(None, ())
    ('5.61 (seeds 2.23, 2.26, 35.13)', '4.00', '-')
    """
    beside = f" (seeds {', '.join(decimal(value, digits) for value in seeds)})" * far_apart(seeds)
    return decimal(mean, digits) + beside


def bounds(low: float | None, high: float | None, digits: int = 2) -> str:
    """An interval, or a dash where there is none.

    >>> bounds(11.5, 12.25)
    '[11.50, 12.25]'
    """
    return MISSING if low is None or high is None else f"[{low:,.{digits}f}, {high:,.{digits}f}]"


def count(value: int | None) -> str:
    """A whole number with thousands separated.

    >>> count(35840)
    '35,840'
    """
    return MISSING if value is None else f"{value:,}"


def short(value: float | str | None) -> str:
    """A number with four significant digits, a word as it is.

    >>> short(0.0125), short(3e-05), short(None)
    ('0.0125', '3e-05', '-')
    """
    return MISSING if value is None else value if isinstance(value, str) else f"{value:.4g}"


def seconds(value: float | None) -> str:
    """A duration in the unit that reads best.

    >>> seconds(0.0154), seconds(75.0), seconds(None)
    ('15.4 ms', '75.0 s', '-')
    """
    if value is None:
        return MISSING
    if value < 1:
        return f"{1000 * value:.1f} ms"
    return f"{value:.1f} s" if value < 600 else f"{value / 60:.1f} min"


def size(value: int | None) -> str:
    """Bytes in decimal units.

    >>> size(144_000), size(3_210_000_000)
    ('144.0 kB', '3.2 GB')
    """
    if value is None:
        return MISSING
    scaled = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if scaled < 1000 or unit == "GB":
            break
        scaled /= 1000
    return f"{value} B" if unit == "B" else f"{scaled:.1f} {unit}"


def seed_list(seeds: Iterable[int]) -> str:
    """The seeds of a row.

    >>> seed_list((0, 1, 2))
    '3 (0, 1, 2)'
    """
    shown = tuple(seeds)
    return f"{len(shown)} ({', '.join(str(seed) for seed in shown)})" if shown else "0"
