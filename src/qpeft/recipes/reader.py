"""Read YAML: floats like 1e-3, line numbers of keys, ``extends``, and ``--set a.b=c``; never code."""

import re
from pathlib import Path
from typing import Any

import yaml

from qpeft.errors import ConfigError


class Loader(yaml.SafeLoader):
    """SafeLoader that also reads 1e-3 as a number, as YAML 1.2 does, and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; plain YAML would silently keep the last of two equal keys."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


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
    below: dict[str, Any] = {}
    for _, body in reversed(chain(path)):
        below = merge(below, body)
    return below


def chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A file and all it extends, nearest first, each with its own keys.

    Raises:
        ConfigError: A file is missing, is no mapping, or extends itself.
    """
    found: dict[Path, dict[str, Any]] = {}
    current: Path | None = path
    while current is not None:
        # Resolved, so that a cycle through ../ is seen as one.
        place = current.resolve()
        if place in found:
            raise ConfigError(f"{path} extends itself through {' -> '.join(p.name for p in [*found, place])}")
        body = read_file(current)
        parent = body.pop("extends", None)
        found[place] = body
        current = None if parent is None else parent_file(place, str(parent))
    return list(found.items())


def parent_file(place: Path, name: str) -> Path:
    """The file that ``extends`` names: one beside the recipe, else one that ships with qpeft (``demo``)."""
    beside = place.parent / name
    if beside.exists():
        return beside
    shipped = Path(__file__).parent.rglob("*.yaml")
    return next((path for path in shipped if name in (path.name, path.stem)), beside)


def read_file(path: Path) -> dict[str, Any]:
    """The mapping one YAML file holds.

    Raises:
        ConfigError: The file is missing, is no text, or is no mapping.
    """
    try:
        body = parse(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"a recipe was expected at {path}: {error.strerror}; see `qpeft recipes`") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} must be UTF-8 text; byte {error.start} is not") from error
    if not isinstance(body, dict):
        raise ConfigError(f"{path} must hold a mapping of keys; got {type(body).__name__}")
    return body


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


def place_of(path: Path, keys: tuple[Any, ...], settings: list[str]) -> str:
    """Where a (nested) key was given: ``--set``, or a file with its line, or the file that lacks it.

    Args:
        path: The recipe; the files it extends are looked at, too.
        keys: The key's path; numbers are places in a list.
        settings: The ``--set`` texts, the last of which wins.
    """
    words = [str(key) for key in keys]
    for setting in reversed(settings):
        given = setting.partition("=")[0].split(".")
        if given[: len(words)] == words or words[: len(given)] == given:
            return "--set"
    for file, _ in chain(path):
        line = line_of(file, words)
        if line is not None:
            return f"{file.name}:{line}"
    return path.name


def line_of(path: Path, keys: list[str]) -> int | None:
    """The line of a (nested) key in a YAML file, or None where it does not stand there."""
    node = yaml.compose(path.read_text("utf-8"), Loader)
    line = None
    for key in keys:
        if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        match = next(((k, v) for k, v in pairs if k.value == key), None)
        if match is None:
            return None
        line, node = match[0].start_mark.line + 1, match[1]
    return line
