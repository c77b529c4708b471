"""What a run was made of: digests of its data and its base, compared before its numbers or weights are used again."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from qpeft.data import load_texts
from qpeft.errors import DataError, ModelError, RecordError
from qpeft.records import DataSpec, ModelSpec, RunRecord, write_atomically
from qpeft.training.catalogue import locate
from qpeft.training.digests import base_files, data_files
from qpeft.training.models import fingerprint, load_tokenizer

ORIGIN = "origin.json"
# How messages name what has no file name.
WORDS = {"sha256": "weights", "commit": "commit on the hub"}
WAYS = "put the former files back, or name another folder, or delete this one to run again"

Info = Mapping[str, Any]


def base_changes(then: Info, now: Info) -> list[str]:
    """In which parts two bases differ, in words; a part that only one of them tells is no difference.

    Args:
        then: ``model_info`` of a record, of any age.
        now: The same of what is there now.

    >>> base_changes({"sha256": "aa", "files": {"config.json": "b" * 64}}, {"sha256": "aa", "files": {}})
    ['config.json (bbbbbbbbbbbb, now missing)']
    """
    changed = [
        _change(words, then[key], now[key])
        for key, words in WORDS.items()
        if key in then and key in now and then[key] != now[key]
    ]
    if "files" in then and "files" in now:
        changed += _file_changes(then["files"], now["files"])
    return changed


def check_base(then: Info, now: Info, folder: Path) -> None:
    """Refuse a base that is not the one a run was trained on.

    Raises:
        RecordError: It is another.
    """
    changed = base_changes(then, now)
    if changed:
        raise RecordError(
            f"the base model {then.get('name')} is not the one the run in {folder} was trained on: "
            f"{'; '.join(changed)}; {WAYS}"
        )


def check_texts(then: Info, now: Info, folder: Path) -> None:
    """Refuse data that are not those a run was made of.

    Raises:
        RecordError: They are others.
    """
    parts = {"sha256": "texts", "rows_sha256": "token ids of the rows"}
    key = next((key for key in parts if key in then and key in now and then[key] != now[key]), None)
    if key is None:
        return
    files = _file_changes(then.get("files", {}), now.get("files", {})) if "files" in then else []
    texts = _change(parts[key], then[key], now[key])
    raise RecordError(
        f"the data {then.get('name')} are not those the run in {folder} was made of: "
        f"{'; '.join([*files, texts])}; {WAYS}"
    )


def check_origin(record: RunRecord, folder: Path) -> None:
    """Compare a finished run's data and base with what is there now; no model is loaded.

    Raises:
        RecordError: One of them is another.
        DataError: The data are gone.
    """
    spec, meta = record.spec, record.meta_info
    check_base(meta.model_info, base_now(spec.model), folder)
    files, then = data_files(spec.data.name), meta.dataset_info
    if "sha256" not in then or (files and files == then.get("files")):
        return
    try:
        digest = _texts_digest(spec.data, spec.model, tuple(files.items()))
    except DataError:
        if files or "files" in then or Path(spec.data.name).expanduser().is_absolute():
            raise
        return  # a hub that cannot be reached shows nothing else
    except ModelError:
        return  # nor does one that has the tokenizer the texts would be written with
    check_texts(then, {"sha256": digest, "files": files}, folder)


def base_now(spec: ModelSpec) -> dict[str, Any]:
    """What can be told of a base without loading it, as in ``model_info``."""
    place = locate(spec.name)
    if place.path.exists():
        return {"sha256": fingerprint(place.path), "files": base_files(place.path)}
    commit = _commit(place.source, spec.revision)
    return {"sha256": None, **({"commit": commit} if commit else {})}


def begin(checkpoints: Path, base: Info, data: Info, *, write: bool) -> None:
    """Note beside the checkpoints what they are trained on; refuse to go on from checkpoints of something else.

    Args:
        checkpoints: Their folder.
        base: ``model_info`` of the loaded base.
        data: ``dataset_info`` of the encoded data.
        write: Whether this process writes.

    Raises:
        RecordError: There are checkpoints of another base or of other data, or the note is damaged.
    """
    path = checkpoints / ORIGIN
    if path.exists() and any(checkpoints.glob("*/")):
        try:
            then = json.loads(path.read_text("utf-8"))
            begun_base, begun_data = dict(then["base"]), dict(then["data"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path} is damaged; delete {checkpoints.parent} to begin the run anew") from error
        check_base(begun_base, base, checkpoints.parent)
        check_texts(begun_data, data, checkpoints.parent)
    elif write:
        write_atomically(path, json.dumps({"base": dict(base), "data": dict(data)}, indent=1) + "\n")


def _change(what: str, then: str | None, now: str | None) -> str:
    return f"{what} ({_short(then)}, now {_short(now)})"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "missing"


def _file_changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names: Sequence[str] = sorted({*then, *now})
    return [_change(name, then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)]


@lru_cache(maxsize=64)
def _texts_digest(data: DataSpec, model: ModelSpec, files: tuple[tuple[str, str], ...]) -> str:
    """The digest of the texts, as `load_texts` reads the files now; ``files`` are their digests."""
    options = {"revision": model.revision} if model.revision else {}
    tokenizer = None if data.name == "embedded" else load_tokenizer(model.name, **options)
    return load_texts(data, tokenizer).sha256


@lru_cache(maxsize=64)
def _commit(name: str, revision: str | None) -> str | None:
    """The commit of a hub model in the cache, or on the hub where it can be reached."""
    from transformers.utils.hub import cached_file, extract_commit_hash

    try:
        path = cached_file(name, "config.json", revision=revision)
        found = extract_commit_hash(path, None)
    except (OSError, ValueError):
        return None
    return str(found) if found else None
