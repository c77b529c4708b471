"""House rules that no linter knows: names, sizes, first lines, tests that mirror the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "qpeft"
FILES = sorted(SOURCE.rglob("*.py"))
ALL = [*FILES, *sorted((ROOT / "scripts").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]
FORBIDDEN = {"utils", "helpers", "common", "misc", "base", "core"}


def test_there_are_files() -> None:
    assert len(FILES) > 60


@pytest.mark.parametrize("path", ALL, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_is_short_named_and_says_what_it_is(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert path.stem not in FORBIDDEN
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(tree), "the first line says what the file is"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = (node.end_lineno or 0) - first.lineno + 1
            assert length <= 50, f"{node.name} has a body of {length} lines"


@pytest.mark.parametrize("room", sorted(p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"))
def test_every_room_has_tests(room: str) -> None:
    assert list((ROOT / "tests" / room).rglob("test_*.py"))


@pytest.mark.parametrize("folder", ["src", "tests", "scripts", "docs", "benchmarks", "results", ".ci"])
def test_no_machine_is_named(folder: str) -> None:
    """No path of a developer's machine, no registry host."""
    words = ["/" + "root/", "/" + "work/", "/" + "home/", "/" + "tmp/", "pypi" + ".org", "huggingface" + ".co/simple"]
    for path in (ROOT / folder).rglob("*"):
        if (
            path.is_file()
            and path.suffix in {".py", ".md", ".yaml", ".toml", ".json", ".csv", "", ".j2"}
            and "__pycache__" not in str(path)
        ):
            text = path.read_text("utf-8", errors="ignore")
            found = [word for word in words if word in text]
            assert not found, f"{path.relative_to(ROOT)} names {found}"
