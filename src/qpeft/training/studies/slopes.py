"""Growth of the gradient's variance with the number of qubits and with depth, as fitted slopes."""

from math import log2

from qpeft.records import StudyRow
from qpeft.training.studies.spread import fit_slope

# What is fitted: its key in a row, and the power of it that has the unit of a variance.
VALUES = {"variance": 1, "abs_median": 2, "normalised": 1}
# Against what: the key in a row, what stays fixed, and the function of the key on the horizontal axis.
AXES = {"n_qubits": "depth", "depth": "n_qubits"}
# Smaller values are rounding errors of zero: most angles do not reach qubit 0 of a shallow circuit.
ZERO = 1e-12


def slopes(rows: list[StudyRow]) -> list[StudyRow]:
    """Slopes of log2 of variance, squared median and normalised variance: a qubit, or a doubling of L.

    Returns:
        One row for each loss, layers, axis and value of what stays fixed, where there are two points or more.
    """
    found: list[StudyRow] = []
    for against, fixed in AXES.items():
        groups: dict[tuple[object, ...], list[StudyRow]] = {}
        for row in rows:
            groups.setdefault((row["loss"], row["preset"], row["layers"], row[fixed]), []).append(row)
        for group in groups.values():
            for key, power in VALUES.items():
                line = slope_row(group, key, power, against, fixed)
                found += [line] if line else []
    return found


def slope_row(group: list[StudyRow], key: str, power: int, against: str, fixed: str) -> StudyRow | None:
    """One fit; None where a value is missing or zero up to rounding, as the other points would then mislead."""
    kept = [(float(row[against] or 0), float(row[key] or 0)) for row in group]
    if any(value <= ZERO for _, value in kept):
        return None
    x = [place if against == "n_qubits" else log2(place) for place, _ in kept]
    line = fit_slope(x, [power * log2(value) for _, value in kept])
    if line is None:
        return None
    first = group[0]
    return {
        **{name: first[name] for name in ("loss", "preset", "layers")},
        **dict.fromkeys(AXES),
        fixed: first[fixed],
        "fit": f"log2 {key}{'^2' if power == 2 else ''} per {'qubit' if against == 'n_qubits' else 'doubling of L'}",
        "slope": line.slope,
        "slope_low": line.low,
        "slope_high": line.high,
        "points": line.points,
    }
