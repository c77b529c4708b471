"""Read YAML: floats like 1e-3, line numbers of keys, ``extends``, and ``--set a.b=c``; never code."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from qpeft.errors import ConfigError

# A recipe is some kilobytes; larger texts would keep the parser busy for seconds and minutes.
MOST_BYTES, MOST_VALUES, DEEPEST = 1 << 17, 50_000, 50
# Only what JSON can hold is a value: a record is JSON. A date stays the text it was typed as.
KINDS = {*(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")), "!"}
MERGE = "tag:yaml.org,2002:merge"


class Loader(yaml.SafeLoader):
    """SafeLoader that also reads 1e-3 as a number, as YAML 1.2 does, and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; plain YAML would silently keep the last of two equal keys."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
            # A key is the text that stands there, also where it looks like a number, a date or a yes.
            key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value; PyYAML lets Python's own errors through where a value does not fit its tag."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"this is no {kind}: {error}", node.start_mark
            ) from error


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":timestamp", ":value"))]
    for first, found in Loader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse(text: str, where: str) -> Any:
    """The value of a YAML text: texts, numbers, true, false, null, lists and mappings with texts as keys.

    Raises:
        ConfigError: The text is no YAML, holds other kinds of values, or is too large or too deep for a recipe.
    """
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{where}: a recipe has at most {MOST_BYTES:,} characters; got {len(text):,}")
    loader: Loader | None = None
    try:
        # Also the constructor reads the text: its first characters tell the encoding.
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        check_node(node, {}, 0)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: no valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: no valid YAML: it is nested too deeply for a recipe") from error
    finally:
        if loader is not None:
            loader.dispose()


def check_node(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """How many values a node holds, each alias counted as what it stands for.

    Raises:
        ConstructorError: A value is of a kind no record can hold, or there are too many, or too deep.
    """

    def refuse(what: str) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, what, node.start_mark)

    if id(node) in sizes:
        if not sizes[id(node)]:
            raise refuse("it holds itself through an alias")
        return sizes[id(node)]
    if depth > DEEPEST:
        raise refuse(f"it is nested more than {DEEPEST} deep")
    # PyYAML names what it has no kind for when it builds it.
    if node.tag.startswith("tag:yaml.org,2002:") and ":python/" not in node.tag and node.tag not in {*KINDS, MERGE}:
        raise refuse(f"a value of kind {node.tag.rpartition(':')[2]} cannot stand in a recipe")
    shape = {"seq": yaml.SequenceNode, "map": yaml.MappingNode}.get(node.tag.rpartition(":")[2], yaml.ScalarNode)
    if node.tag != "!" and not isinstance(node, shape):
        raise refuse(f"this is no {node.tag.rpartition(':')[2]}")
    sizes[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.ScalarNode):
        if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in node.value):
            raise refuse("it holds a character that no text file can")
    else:
        parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
    total = 1 + sum(check_node(part, sizes, depth + 1) for part in parts)
    if total > MOST_VALUES:
        raise refuse(f"it stands for more than {MOST_VALUES:,} values")
    sizes[id(node)] = total
    return total


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
        try:
            place = current.resolve()
        except (OSError, RuntimeError) as error:  # a loop of links, until Python 3.13 and from it on
            raise ConfigError(f"a recipe was expected at {current}: {error}; see `qpeft recipes`") from error
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
    if os.path.lexists(beside):
        return beside
    shipped = Path(__file__).parent.rglob("*.yaml")
    return next((path for path in shipped if name in (path.name, path.stem)), beside)


def read_file(path: Path) -> dict[str, Any]:
    """The mapping one YAML file holds.

    Raises:
        ConfigError: The file is missing, is no text, or is no mapping.
    """
    try:
        # A pipe or a device would never end.
        if path.exists() and not path.is_file():
            raise ConfigError(f"a recipe was expected at {path}, which is no file; see `qpeft recipes`")
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: a recipe has at most {MOST_BYTES:,} bytes; got {path.stat().st_size:,}")
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
