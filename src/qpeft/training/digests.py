"""Digests of files: those beside the weights that decide what a base computes, and those of a data set."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from qpeft.data.readers import known_suffix

# Weights have a digest of their own. A model card or a log that is added changes nothing.
DECIDING = (
    "*config.json",
    "*.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.model",
    "*tokens*.json",
    "chat_template*",
)


@lru_cache(maxsize=4096)
def _sha256(paths: tuple[Path, ...], states: tuple[tuple[int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as handle:
            while piece := handle.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def sha256_of_all(paths: Sequence[Path]) -> str:
    """The sha256 of files one after the other; read once a process while sizes, times and inodes stay the same."""
    states = [(status.st_size, status.st_mtime_ns, status.st_ino) for status in (path.stat() for path in paths)]
    return _sha256(tuple(path.resolve() for path in paths), tuple(states))


def base_files(place: Path | str) -> dict[str, str]:
    """Config, tokenizer and template of a local model folder, name -> sha256; empty for anything else."""
    folder = Path(place)
    found = {path for pattern in DECIDING for path in folder.glob(pattern)} if folder.is_dir() else set()
    return {path.name: sha256_of_all([path]) for path in sorted(found) if path.is_file()}


def data_files(name: str) -> dict[str, str]:
    """The files of a data set, name -> sha256; empty where it is no file or folder here."""
    place = Path(name).expanduser()
    paths = sorted(place.iterdir()) if place.is_dir() else [place]
    return {path.name: sha256_of_all([path]) for path in paths if known_suffix(path.name) and path.is_file()}


def commit_of(config: Any) -> str | None:
    """The hub's commit a loaded model came from; None for local files."""
    found = getattr(config, "_commit_hash", None)
    return str(found) if found else None
