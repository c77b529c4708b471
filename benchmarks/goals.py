"""The goals the engine was built to, each with the committed number that says whether it is met."""

from collections.abc import Callable, Iterable
from typing import Any

Bodies = dict[str, Any]


def peers(bodies: Bodies, peer: str, qubits: Iterable[int]) -> list[float]:
    """Median ratios of one peer."""
    chosen = set(qubits)
    rows = (row for row in bodies["circuit"]["peers"] if row["peer"] == peer and row["n_qubits"] in chosen)
    return [row["ratio"][1] for row in rows if "ratio" in row]


def steps(bodies: Bodies, model: str) -> float:
    """The largest ratio of QPA's presets over LoRA on one kind of model."""
    rows = bodies["step"]["rows"]
    return max(row["ratio"] for row in rows if row["model"].startswith(model) and row["method"] != "lora")


def layers(bodies: Bodies) -> float:
    """PennyLane's time over ours, the smaller of the two circuits."""
    return min(float(row["ratio"]) for row in bodies["qaa"]["layers"])


def qaa_step(bodies: Bodies) -> float:
    """QAA after attention and feed-forward, over LoRA."""
    return max(
        float(row["ratio"]) for row in bodies["qaa"]["steps"] if row["method"] in ("qaa text", "qaa recommended")
    )


def added(bodies: Bodies) -> float:
    """Memory of the deepest circuit of 18 qubits over that of the shallowest."""
    rows = [row["added_mb"] for row in bodies["memory"]["circuits"] if row["n_qubits"] == 18]
    return max(rows) / min(rows)


def share(bodies: Bodies) -> float:
    """Of a transformer block, the larger of the two circuits."""
    return max(float(three[1]) for three in bodies["layer"]["shares"].values())


def peak(bodies: Bodies) -> float:
    """MB at 20 qubits."""
    return max(float(row["peak_mb"]) for row in bodies["memory"]["circuits"] if row["n_qubits"] == 20)


def over(peer: str, *qubits: int) -> Callable[[Bodies], float]:
    """The smallest ratio of one peer."""
    return lambda bodies: min(peers(bodies, peer, qubits))


# What, whether more or less is better, the bound, how the number is read, and how it is written.
GOALS: list[tuple[str, str, float, Callable[[Bodies], float], str]] = [
    ("circuit, N = 5 to 11, L = 8: TorchQuantum over ours", ">=", 20, over("torchquantum", 5, 7, 9, 11), ".1f"),
    ("circuit, N = 16, L = 8: TorchQuantum over ours", ">=", 5, over("torchquantum", 16), ".1f"),
    ("circuit, N = 5 to 16, L = 8: default.qubit over ours", ">=", 10, over("default.qubit", 5, 7, 9, 11, 16), ".1f"),
    ("QAA's layer, d = 768, 256 tokens: default.qubit over ours", ">=", 10, layers, ".1f"),
    ("QAA's layer as a share of a block of GPT-Neo-125M", "<=", 0.1, share, ".3f"),
    ("step of QPA over LoRA's, GPT-2", "<=", 1.05, lambda bodies: steps(bodies, "GPT-2"), ".3f"),
    ("step of QPA over LoRA's, embedded model", "<=", 1.1, lambda bodies: steps(bodies, "embedded"), ".3f"),
    ("step of QAA over LoRA's, 24 modules, GPT-Neo-125M", "<=", 1.25, qaa_step, ".3f"),
    ("memory added at N = 18, largest over smallest of L = 8, 32, 128", "<=", 1.1, added, ".2f"),
    ("peak at N = 20, MB", "<=", 2048, peak, ".0f"),
]


def rows(bodies: Bodies) -> list[list[str]]:
    """Each goal whose measurement is at hand: what, goal, found, met or missed."""
    found = []
    for what, sense, bound, read, written in GOALS:
        try:
            value = read(bodies)
        except (KeyError, ValueError):  # a benchmark was not run, or a peer skipped
            continue
        met = value >= bound if sense == ">=" else value <= bound
        found.append([what, f"{sense} {bound:g}", format(value, written), "met" if met else "missed"])
    return found
