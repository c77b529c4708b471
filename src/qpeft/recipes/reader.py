"""Read YAML: floats like 1e-3, line numbers of keys, ``extends``, and ``--set a.b=c``; never code."""

import re
from pathlib import Path
from typing import Any

import yaml

from qpeft.errors import ConfigError


class Loader(yaml.SafeLoader):
    """SafeLoader that also reads 1e-3 as a number, as YAML 1.2 does."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse(text: str, where: str) -> Any:
    """The value of a YAML text.

    Raises:
        ConfigError: The text is no YAML.
    """
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: no valid YAML: {' '.join(str(error).split())}") from error


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping, merged over the file it extends.

    Raises:
        ConfigError: The file is missing, is no mapping, or extends itself.
    """
    return _read(path, ())


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path in seen:
        raise ConfigError(f"{path} extends itself through {' -> '.join(p.name for p in seen)}")
    try:
        body = parse(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"a recipe was expected at {path}: {error.strerror}; see `qpeft recipes`") from error
    if not isinstance(body, dict):
        raise ConfigError(f"{path} must hold a mapping of keys; got {type(body).__name__}")
    parent = body.pop("extends", None)
    return body if parent is None else merge(_read(path.parent / str(parent), (*seen, path)), body)


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, nested mappings key by key.

    >>> merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


def apply_settings(body: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Apply ``a.b=value`` texts, values read as YAML.

    >>> apply_settings({"train": {"steps": 1}}, ["train.steps=20"])
    {'train': {'steps': 20}}

    Raises:
        ConfigError: A text has no ``=``, or goes through a key that holds no mapping.
    """
    for setting in settings:
        path, found, value = setting.partition("=")
        if not found or not path:
            raise ConfigError(f"--set takes key.key=value, for example --set train.steps=100; got {setting!r}")
        nested: Any = parse(value, f"--set {setting}")
        keys = path.split(".")
        place: Any = body
        for depth, key in enumerate(keys[:-1]):
            place = place.get(key, {}) if isinstance(place, dict) else None
            if not isinstance(place, dict):
                raise ConfigError(f"--set {setting}: {'.'.join(keys[: depth + 1])} holds no keys")
        for key in reversed(keys):
            nested = {key: nested}
        body = merge(body, nested)
    return body


def line_of(path: Path, keys: tuple[Any, ...]) -> int | None:
    """The line of a (nested) key in a YAML file, or None where it does not stand there."""
    try:
        node = yaml.compose(path.read_text("utf-8"), Loader)
    except (OSError, yaml.YAMLError):
        return None
    line = None
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        match = next(((k, v) for k, v in pairs if k.value == str(key)), None)
        if match is None:
            return line
        line, node = match[0].start_mark.line + 1, match[1]
    return line
