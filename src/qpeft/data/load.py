"""load_texts: from a DataSpec to the three splits of examples."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qpeft.assets.texts import demo_texts
from qpeft.data.examples import SPLITS, Example, Texts, digest
from qpeft.data.files import read_folder, unread
from qpeft.data.formats import FIELDS, Record, to_example
from qpeft.data.hub import read_hub
from qpeft.data.readers import known_suffix, read_file
from qpeft.data.split import carve
from qpeft.data.templates import Render, chat_turns, plain_turns
from qpeft.data.told import EMPTY, REPEATED, REPLACED, Told
from qpeft.data.values import sound, unsound
from qpeft.errors import DataError, nearest, require_choice
from qpeft.records.spec import DataSpec


def load_texts(spec: DataSpec, tokenizer: Any = None) -> Texts:
    """The texts a DataSpec names: embedded, a folder, a file or a hub data set.

    Args:
        spec: name, format, columns, template, drop_empty, train_rows, eval_rows and seed are used.
        tokenizer: a transformers tokenizer; where it has a chat template, conversations, instructions and prompts
            are written with it, unless template is 'plain'.

    Returns:
        Three non-empty splits. Splits the source lacks are taken out of its training part by seed.

    Raises:
        DataError: where the source is missing, unreadable, or in no known layout.

    >>> texts = load_texts(DataSpec(train_rows=10, eval_rows=5))
    >>> len(texts.train), len(texts.valid), len(texts.test), texts.format
    (10, 5, 5, 'text')
    """
    render = renderer(spec, tokenizer)
    records, source, notes = _read(spec.name)
    # A single file is told of as a whole, however it is split.
    told = dict.fromkeys(SPLITS, Told()) if len(records) == 1 else {name: Told() for name in SPLITS}
    splits: dict[str, list[Example]] = {}
    formats: set[str] = set()
    for name, part in records.items():
        where = f"{source}, {name}"
        mapped = rename(part, spec.columns, where)
        splits[name] = _convert(mapped, where, spec.format, render, formats, told[name])
    missing = [name for name in SPLITS if name not in splits]
    if missing:
        before = sum(map(len, splits.values()))
        splits |= carve(splits["train"], missing, spec.seed)
        told["train"].add(REPEATED, rows=before - sum(map(len, splits.values())))
    for name in SPLITS:
        splits[name] = _cut(splits[name], spec, name, told[name])
    layout = "+".join(sorted(formats))
    if render is not plain_turns and formats - {"text"}:
        layout += " by chat template"
        notes += _written_anew(formats, source)
    notes += [
        line for name in records for line in told[name].lines(source if len(records) == 1 else f"{source}, {name}")
    ]
    return Texts(**splits, source=source, sha256=digest(splits), format=layout, notes=tuple(notes))


def renderer(spec: DataSpec, tokenizer: Any) -> Render:
    """How conversations become text, by data.template and what the tokenizer has.

    Raises:
        DataError: the template is asked for, and the tokenizer has none.
    """
    templated = tokenizer is not None and bool(getattr(tokenizer, "chat_template", None))
    if spec.template == "chat" and not templated:
        raise DataError("data.template 'chat' needs a tokenizer with a chat template; it has none. Use plain or auto")
    return chat_turns(tokenizer) if templated and spec.template != "plain" else plain_turns


def rename(records: list[Record], columns: Mapping[str, str], where: str) -> list[Record]:
    """Records with columns of one's own under the names that are read.

    Args:
        records: of one split.
        columns: name that is read -> name in the records.
        where: of the records, for errors.

    Raises:
        ConfigError: nothing is read under a name.
        DataError: no record has a column.

    >>> rename([{"frage": "2+2?", "antwort": "4"}], {"prompt": "frage", "completion": "antwort"}, "d.csv")
    [{'prompt': '2+2?', 'completion': '4'}]
    """
    for ours, theirs in columns.items():
        require_choice("a name in data.columns", ours, FIELDS)
        names = {str(name) for record in records if not isinstance(record, str) for name in record}
        if theirs not in names:
            have = f"the columns {', '.join(sorted(names))}" if names else "lines of text, which have no columns"
            raise DataError(
                f"data.columns asks for {theirs!r} as {ours}; {where} has {have}{nearest(theirs, names)}. Correct it"
            )
    return [record if isinstance(record, str) else _renamed(record, columns) for record in records]


def _renamed(record: Mapping[str, Any], columns: Mapping[str, str]) -> Mapping[str, Any]:
    if not columns:
        return record
    taken = set(columns.values())
    # A field that another column now stands for is kept, so that it is told as not read.
    rest = {
        f"{name} (its own)" if name in columns else name: value for name, value in record.items() if name not in taken
    }
    return rest | {ours: record[theirs] for ours, theirs in columns.items() if theirs in record}


def _written_anew(formats: set[str], source: str) -> list[str]:
    single = sorted(formats & {"alpaca", "prompt_completion"})
    told = f"{source}: {' and '.join(single)} rows are written as turns of the tokenizer's chat template"
    return [f"{told}; data.template: plain keeps plain headings"] if single else []


def _read(name: str) -> tuple[dict[str, list[Record]], str, list[str]]:
    if name == "embedded":
        splits = {"train": demo_texts("train"), "valid": demo_texts("valid"), "test": demo_texts("test")}
        return {split: [*lines] for split, lines in splits.items()}, name, []
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            others = unread(path)
            notes = [f"{path.resolve().name}: files not read: {', '.join(others)}"] if others else []
            return read_folder(path), path.resolve().name, notes
        if path.is_file():
            return {"train": read_file(path)}, path.name, []
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"data.name must be a path that can be followed; got {name!r:.80}: {error}") from error
    if known_suffix(name) or name.startswith((".", "~", "/")) or name.count("/") > 1 or "\\" in name:
        raise DataError(
            f"data.name must be 'embedded', a folder, a file or a hub name; there is no {name!r} "
            f"(looked from the folder {Path.cwd().name}). Check the path"
        )
    return read_hub(name), name, []


def _convert(
    records: list[Record], where: str, layout: str, render: Render, formats: set[str], told: Told
) -> list[Example]:
    examples = []
    for number, record in enumerate(records, start=1):
        row = Told()
        try:
            example, found = to_example(record, layout, render, row)
        except DataError as error:
            raise DataError(f"record {number} of {where}: {error}") from error
        except RecursionError as error:
            raise DataError(f"record {number} of {where}: its lists and objects are nested too deeply") from error
        if unsound(example.text):
            row.add(REPLACED)
            example = replace(example, segments=tuple((sound(text), counts) for text, counts in example.segments))
        told.add_row(row)
        formats.add(found)
        examples.append(example)
    return examples


def _cut(examples: list[Example], spec: DataSpec, name: str, told: Told) -> list[Example]:
    kept = [example for example in examples if not (spec.drop_empty and example.empty)]
    # Blank lines of a text are its paragraphs' ends; an empty row of another layout is a fault of the data.
    told.add(EMPTY, rows=sum(example.text.strip() != "" for example in examples if example.empty) * spec.drop_empty)
    if not kept:
        raise DataError(
            f"the {name} split of {spec.name!r} must have an example with text; it has none. Check the file"
        )
    return kept[: spec.train_rows if name == "train" else spec.eval_rows]
