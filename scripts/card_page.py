"""The pages of the model card: its Markdown from a template, its loss curve as a small SVG, its source table."""

import csv
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

# The first mark found in a source's licence names its group.
LICENCES = (
    ("CC0", "CC0, or public domain as a US government work or by its authors"),
    ("ublic domain", "public domain (published before 1929)"),
    ("CC-BY-3.0", "[CC BY 3.0](https://creativecommons.org/licenses/by/3.0/)"),
    ("CC-BY-4.0", "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)"),
    ("MIT", "MIT (some also Apache-2.0)"),
    ("Apache-2.0", "Apache-2.0"),
    ("BSD-3-Clause", "BSD-3-Clause"),
)
# Whom the CC BY sources ask to be named.
HOLDERS = {
    "aosa": 'the chapter authors of "The Architecture of Open Source Applications"',
    "cncf-glossary": "the CNCF Glossary authors",
    "cpp-docs": "Microsoft and contributors",
    "deep-review": "the Deep Review authors",
    "eltec-eng": "the COST-ELTeC contributors, for the encoding of public-domain novels",
    "eng-practices": "Google",
    "opensource-guide": "GitHub and contributors",
    "powershell-docs": "Microsoft and contributors",
    "react-docs": "Meta and contributors",
    "todogroup": "TODO Group",
    "turing-way": "The Turing Way Community",
}
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 320, 50, 30, 625, 275


def licence_group(licence: str) -> str:
    """The group of one licence text.

    >>> licence_group("PD (US Gov work) + CC0-1.0").split(",")[0]
    'CC0'
    """
    for mark, group in LICENCES:
        if mark in licence:
            return group
    raise SystemExit(f"the licence {licence!r} belongs to no group of the card; add it to LICENCES")


def source_table(path: Path) -> list[dict[str, Any]]:
    """One row per source of sources.tsv without the share-alike ones: repositories summed."""
    rows: dict[str, dict[str, Any]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, delimiter="\t"):
            if line["category"] == "sa":
                continue
            licence = line["licence"]
            row = rows.setdefault(
                line["source"],
                {
                    "source": line["source"],
                    "category": line["category"],
                    "licence": licence,
                    "documents": 0,
                    "bytes": 0,
                },
            )
            row["documents"] += int(line["docs_kept"])
            row["bytes"] += int(line["bytes_kept"])
            row.setdefault("repositories", []).append(line["repository"])
            if "CC-BY" in licence:
                row["attribution"] = HOLDERS[line["source"]]
    return list(rows.values())


def licence_rows(sources: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    """Group, its sources and their size in MB, in the order of LICENCES."""
    found = []
    for _, group in LICENCES:
        members = [row for row in sources if licence_group(row["licence"]) == group]
        if members:
            names = ", ".join(row["source"] for row in sorted(members, key=lambda row: -row["bytes"]))
            found.append((group, names, sum(row["bytes"] for row in members) / 1e6))
    return found


def curve_points(log: list[dict[str, float]]) -> list[dict[str, float]]:
    """The few points of the log that the card prints: every 500 steps and the last."""
    points = [entry for entry in log if "valid_loss" in entry]
    return [entry for entry in points if entry["step"] % 500 == 0 or entry is points[-1]]


def line(points: list[tuple[float, float]], colour: str) -> str:
    """One polyline."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def label(x: float, y: float, text: str, extra: str = "") -> str:
    """One piece of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{text}</text>'


def loss_curve(log: list[dict[str, float]]) -> str:
    """Training and held-out loss against tokens seen, drawn by hand: it must stay small and offline."""
    seen = log[-1]["tokens"] / 1e6
    values = [entry[key] for entry in log for key in ("train_loss", "valid_loss") if key in entry]
    low, high = int(min(values)), int(max(values)) + 1

    def place(tokens: float, loss: float) -> tuple[float, float]:
        return LEFT + (RIGHT - LEFT) * tokens / seen, BOTTOM - (BOTTOM - TOP) * (loss - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        "<title>Loss of the embedded model against tokens seen</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for loss in range(low, high + 1):
        _, y = place(0, loss)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="#ddd"/>')
        parts.append(label(LEFT - 8, y + 4, str(loss), 'text-anchor="end"'))
    for tokens in range(0, int(seen) + 1, 5 if seen > 10 else 1):
        parts.append(label(place(tokens, low)[0], BOTTOM + 18, str(tokens), 'text-anchor="middle"'))
    held = [place(e["tokens"] / 1e6, e["valid_loss"]) for e in log if "valid_loss" in e]
    parts += [
        line([place(e["tokens"] / 1e6, e["train_loss"]) for e in log], "#1f6fb4"),
        line(held, "#d1590f"),
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="#d1590f"/>' for x, y in held),
        label(LEFT, 18, "loss, nats per token"),
        label((LEFT + RIGHT) / 2, HEIGHT - 8, "million tokens seen", 'text-anchor="middle"'),
        label(RIGHT - 8, TOP + 16, "training (running mean)", 'text-anchor="end" fill="#1f6fb4"'),
        label(RIGHT - 8, TOP + 34, "held-out", 'text-anchor="end" fill="#d1590f"'),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def plain(text: str) -> str:
    r"""Text that Markdown shows as it is, line ends as slashes.

    >>> print(plain("a_b\nc"))
    a\_b / c
    """
    return re.sub(r"([\\`*_<>\[\]#|])", r"\\\1", text).replace("\n", " / ")


def render(card: dict[str, Any]) -> str:
    """The Markdown of the card from its numbers."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["plain"] = plain
    template = Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8")
    extra = {
        "licences": licence_rows(card["data"]["sources"]),
        "points": curve_points(card["training"]["log"]),
        "longest": list(card["scores"])[-1],
    }
    return environment.from_string(template).render({**card, **extra})
