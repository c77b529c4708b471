"""load_texts: from a DataSpec to the three splits of examples."""

from pathlib import Path
from typing import Any

from qpeft.assets.texts import demo_texts
from qpeft.data.examples import SPLITS, Example, Texts, digest
from qpeft.data.files import known_suffix, read_file, read_folder
from qpeft.data.formats import Record, Render, chat_turns, plain_turns, to_example
from qpeft.data.hub import read_hub
from qpeft.data.split import carve
from qpeft.errors import DataError
from qpeft.records.spec import DataSpec


def load_texts(spec: DataSpec, tokenizer: Any = None) -> Texts:
    """The texts a DataSpec names: embedded, a folder, a file or a hub data set.

    Args:
        spec: name, format, drop_empty, train_rows, eval_rows and seed are used.
        tokenizer: a transformers tokenizer; where it has a chat template, conversations are written with it.

    Returns:
        Three non-empty splits. Splits the source lacks are taken out of its training part by seed.

    Raises:
        DataError: where the source is missing, unreadable, or in no known layout.

    >>> texts = load_texts(DataSpec(train_rows=10, eval_rows=5))
    >>> len(texts.train), len(texts.valid), len(texts.test), texts.format
    (10, 5, 5, 'text')
    """
    templated = tokenizer is not None and bool(getattr(tokenizer, "chat_template", None))
    render = chat_turns(tokenizer) if templated else plain_turns
    splits: dict[str, list[Example]] = {}
    formats: set[str] = set()
    records, source = _read(spec.name)
    for name, part in records.items():
        splits[name] = _convert(part, f"{source}, {name}", spec.format, render, formats)
    missing = [name for name in SPLITS if name not in splits]
    if missing:
        splits |= carve(splits["train"], missing, spec.seed)
    splits = {name: _cut(splits[name], spec, name) for name in SPLITS}
    layout = "+".join(sorted(formats))
    if templated and formats & {"messages", "sharegpt"}:
        layout += " by chat template"
    return Texts(**splits, source=source, sha256=digest(splits), format=layout)


def _read(name: str) -> tuple[dict[str, list[Record]], str]:
    if name == "embedded":
        return {"train": [*demo_texts("train")], "valid": [*demo_texts("valid")], "test": [*demo_texts("test")]}, name
    path = Path(name).expanduser()
    if path.is_dir():
        return read_folder(path), path.resolve().name
    if path.is_file():
        return {"train": read_file(path)}, path.name
    if known_suffix(name) or name.startswith((".", "~", "/")) or name.count("/") > 1 or "\\" in name:
        raise DataError(
            f"data.name must be 'embedded', a folder, a file or a hub name; there is no {name!r} "
            f"(looked from the folder {Path.cwd().name}). Check the path"
        )
    return read_hub(name), name


def _convert(records: list[Record], where: str, layout: str, render: Render, formats: set[str]) -> list[Example]:
    examples = []
    for number, record in enumerate(records, start=1):
        try:
            example, found = to_example(record, layout, render)
        except DataError as error:
            raise DataError(f"record {number} of {where}: {error}") from error
        formats.add(found)
        examples.append(example)
    return examples


def _cut(examples: list[Example], spec: DataSpec, name: str) -> list[Example]:
    kept = [example for example in examples if not (spec.drop_empty and example.empty)]
    if not kept:
        raise DataError(
            f"the {name} split of {spec.name!r} must have an example with text; it has none. Check the file"
        )
    return kept[: spec.train_rows if name == "train" else spec.eval_rows]
