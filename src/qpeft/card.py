"""The part of an adapter's model card that qpeft writes at every save: what it is, how large, how to load it."""

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from qpeft.errors import ExportError
from qpeft.method import of_kind

QPEFT = "qpeft"
BEGIN, END = "<!-- qpeft -->", "<!-- /qpeft -->"
# QPA's sources in words; the others stand in the circuit's place.
GENERATED_BY = {
    "circuit": "a circuit and a mapping generated the numbers",
    "hash": "a random signed hash generated the numbers, in the place of circuit and mapping",
}


def write_card(folder: Path | str, metrics: Mapping[str, float] | None = None) -> None:
    """Write or renew qpeft's part of the README.md of a saved adapter; what else stands there is kept.

    Everything but the metrics is read from the files beside it, so that the card cannot differ from them.

    Args:
        folder: Holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        metrics: Name and value, from the run that made the adapter.

    Raises:
        ExportError: The folder holds no adapter.
    """
    folder = Path(folder)
    card = folder / "README.md"
    text = card.read_text("utf-8") if card.exists() else ""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] or "\n"
    block = f"{BEGIN}\n{card_text(folder, metrics or {})}{END}"
    draft = folder / ".README.md.draft"
    draft.write_text(f"{before.rstrip()}\n\n{block}{after}", encoding="utf-8")
    draft.replace(card)


def card_text(folder: Path, metrics: Mapping[str, float]) -> str:
    """The Markdown between the marks.

    Raises:
        ExportError: The folder holds no adapter.
    """
    config = _read_json(folder / "adapter_config.json", "peft_type")
    kind, base = str(config["peft_type"]), config.get("base_model_name_or_path") or "BASE_MODEL"
    rows = {
        "method": f"`{kind}`" + (f", preset `{config['preset']}`" if config.get("preset") else ""),
        "base model": f"`{base}`",
        "numbers in the file": f"{stored_numbers(folder / 'adapter_model.safetensors'):,}",
    }
    generator = folder / "qpa_config.json"
    if generator.exists():
        qpa = _read_json(generator, "trained")
        source = qpa["config"].get("source", "circuit")
        what = GENERATED_BY.get(source, f"a mapping generated the numbers, with `{source}` in the circuit's place")
        rows["trained by"] = f"QPA, preset `{qpa['config']['preset']}`: {what}"
        rows["numbers QPA trained"] = f"{qpa['trained']:,}"
    rows["can be merged into the base model"] = "no" if of_kind(kind).unmergeable else "yes"
    rows |= {name: f"{value:.4g}" for name, value in metrics.items()}
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return f"## Adapter\n\n| | |\n|:---|:---|\n{table}\n## How to load\n\n{loading(kind, base)}"


def loading(kind: str, base: str) -> str:
    """The lines that load an adapter of a type on its base; with the import of its package where it is not peft's."""
    package = of_kind(kind).provider
    needed = "" if package == QPEFT else ", a plug-in of qpeft that must be installed"
    reason = (
        f"`{kind}` is a method of {package}{needed}; peft knows it after `import {package}`."
        if package
        else f"`{kind}` is a method of peft; qpeft is not needed."
    )
    lines = [f"import {package}  # makes the type known to peft"] if package else []
    folder, _, file = base.rpartition("/")
    where = f'"{folder or "."}", gguf_file="{file}"' if file.endswith(".gguf") else f'"{base}"'
    lines += [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        "",
        f"base = AutoModelForCausalLM.from_pretrained({where})",
        'model = PeftModel.from_pretrained(base, "FOLDER_OF_THIS_FILE")',
    ]
    return f"{reason}\n\n```python\n" + "\n".join(lines) + "\n```\n"


def stored_numbers(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header alone; 0 where there is no file.

    Raises:
        ExportError: The file has no header of this format.
    """
    if not path.exists():
        return 0
    try:
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(min(length, path.stat().st_size)))
    except (struct.error, ValueError) as error:
        raise ExportError(f"{path} must be a safetensors file; its header cannot be read: {error}") from error
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _read_json(path: Path, key: str) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(path.read_text("utf-8"))
        body[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} must describe the adapter and hold {key!r}: {error}") from error
    return body
