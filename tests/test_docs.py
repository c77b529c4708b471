"""The documents are true: every Python block of README and tour runs, every named file exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qpeft.assets import model_folder

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```(?:bash|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.skipif(not (model_folder() / "config.json").exists(), reason="the embedded model is not installed")
@pytest.mark.parametrize("name", ["README.md", "docs/tour.md"])
def test_python_blocks_run_in_order(name: str, tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / name).read_text("utf-8"))
    assert blocks, f"{name} shows no Python"
    script = tmp_path / "blocks.py"
    script.write_text("import torch\ntorch.set_num_threads(1)\n" + "\n".join(blocks), encoding="utf-8")
    done = subprocess.run([sys.executable, "-W", "ignore", str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def commands(name: str) -> list[str]:
    """The qpeft commands of a document's shell blocks."""
    lines = "\n".join(SHELL.findall((ROOT / name).read_text("utf-8"))).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("qpeft ")]


@pytest.mark.parametrize("name", ["README.md", "docs/tour.md"])
def test_shell_commands_exist(name: str) -> None:
    """Every command and every flag of the shell blocks is one the command line knows."""
    found = commands(name)
    assert found
    for line in found:
        words = line.split()
        command = words[1:3] if words[1] == "papers" and len(words) > 2 else words[1:2]
        text = subprocess.run(
            [sys.executable, "-m", "qpeft", *command, "--help"], capture_output=True, text=True
        ).stdout
        for flag in re.findall(r"(?<=\s)--[a-z-]+", line):
            assert flag in text, f"{name}: {line}: {command} has no {flag}"


@pytest.mark.parametrize("name", ["README.md", "docs/tour.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_tables_are_what_records_and_code_say() -> None:
    done = subprocess.run([sys.executable, "scripts/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_of_the_papers_is_what_recipes_and_records_say() -> None:
    done = subprocess.run([sys.executable, "scripts/papers.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (ROOT / "docs" / "papers.md").read_text("utf-8")
    for figure in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (ROOT / "docs" / figure).exists(), figure
