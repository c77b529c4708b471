"""One mechanism for all names: duplicates, nearest words, and plug-ins, of which a faulty one takes nothing down."""

import subprocess
import sys
from pathlib import Path

import pytest

from qpeft.circuits import ANSATZE, ENTANGLERS, build_ansatz, register_ansatz, register_entangler
from qpeft.errors import ConfigError
from qpeft.qpa import QPAConfig
from qpeft.quantum import BACKENDS, Entry, ExactBackend, open_backend, register_backend
from qpeft.registry import Registry
from qpeft.training.studies.gradient_check import Settings
from qpeft.tuners import QAAConfig


def install(site: Path, name: str, body: str) -> None:
    """What pip leaves behind of a package with an entry point: a module and its metadata."""
    (site / f"{name}.py").write_text(body, encoding="utf-8")
    info = site / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[qpeft.plugins]\n{name} = {name}\n", encoding="utf-8")


def outside(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A python of its own that has a folder on its path, as a site of installed packages."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {words[0]}", *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False)


CLI = "from qpeft.cli import main; main()"


def test_a_name_is_taken_once() -> None:
    found: Registry[int] = Registry("colour")
    found.register("red", 1)
    found.register("red", 1)
    with pytest.raises(ConfigError, match=r"colour 'red' is registered already; choose another name"):
        found.register("red", 2)
    for word in ("", "two words", "a:b", "1st", None):
        with pytest.raises(ConfigError, match="must be a word"):
            found.register(word, 3)  # type: ignore[arg-type]
    assert dict(found) == {"red": 1}
    assert [] not in found
    with pytest.raises(ConfigError, match=r"key must be one of red; got 'rde'; nearest: red"):
        found.need("key", "rde")


def test_names_added_late_are_known_wherever_a_name_is_taken() -> None:
    register_entangler("ends", lambda n, layer: ((0, n - 1),), "the first and the last")
    register_ansatz("late", lambda n, depth: build_ansatz("ry_cnot", n, depth, "ends"))
    register_backend("late", Entry("ours again", {}, lambda given: ExactBackend(), "all", "yes"))
    try:
        assert QPAConfig(n_mlp=4, ansatz="late", entangler="none").ansatz == "late"
        assert QPAConfig(n_mlp=4, entangler="ends").entangler == "ends"
        assert QAAConfig(ansatz="late").ansatz == "late"
        assert QAAConfig(ansatz="two_local:entangler=ends,gate=crz").depth == 2
        assert QAAConfig(entangler="ends").entangler == "ends"
        assert open_backend("late") == ExactBackend()
        settings = Settings(ansatze=("late",))
        assert settings.ansatze == ("late",)
        assert Settings(entanglers=("ends",)).entanglers == ("ends",)
        with pytest.raises(ConfigError, match=r"late.*; got 'lat'; nearest: late"):
            open_backend("lat")
    finally:
        ANSATZE.remove("late")
        ENTANGLERS.remove("ends")
        BACKENDS.remove("late")
    with pytest.raises(ConfigError, match=r"entangler must be one of chain"):
        QPAConfig(n_mlp=4, entangler="ends")


def test_plugins_are_loaded_at_the_first_strange_name_and_told(tmp_path: Path) -> None:
    install(
        tmp_path,
        "good",
        "from qpeft import register_entangler\nregister_entangler('ends', lambda n, layer: ((0, n - 1),))\n"
        "from qpeft import register_ansatz, build_ansatz\n"
        "register_ansatz('mine', lambda n, depth: build_ansatz('two_local:entangler=ends', n, depth))\n",
    )
    body = "from qpeft import build_ansatz as b; import sys; b('ry_cnot', 2, 1); print('good' in sys.modules)"
    assert outside(tmp_path, body).stdout == "False\n"
    drawn = outside(tmp_path, CLI, "draw", "--ansatz", "mine", "--qubits", "3", "--depth", "1")
    assert drawn.returncode == 0, drawn.stderr
    wrong = outside(tmp_path, CLI, "draw", "--ansatz", "min", "--qubits", "3")
    assert wrong.returncode == 2
    assert "nearest: mine" in wrong.stderr
    assert "mine" in outside(tmp_path, CLI, "draw", "--help").stdout
    told = outside(tmp_path, CLI, "doctor").stdout
    assert "plug-in good" in told
    assert "good 1.2: adds entangler ends, ansatz mine" in told


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise ValueError('out of order')", "ValueError: out of order"),
        ("import a_library_that_nobody_has", "ModuleNotFoundError: No module named 'a_library_that_nobody_has'"),
        ("register_ansatz('ry_cnot', print)", "ConfigError: ansatz 'ry_cnot' is registered already"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_faulty_plugin_is_named_and_nothing_of_it_stays(tmp_path: Path, fault: str, said: str) -> None:
    start = "from qpeft import register_ansatz, build_ansatz\nregister_ansatz('half', print)\n"
    install(tmp_path, "faulty", start + fault + "\n")
    install(tmp_path, "good", "from qpeft import register_entangler\nregister_entangler('ends', print)\n")
    drawn = outside(tmp_path, CLI, "draw", "--ansatz", "half", "--qubits", "2")
    assert drawn.returncode == 2
    assert f"plug-in faulty (faulty 1.2) cannot be loaded and is left out: {said}" in drawn.stderr
    assert "ansatz must be one of ry_cnot" in drawn.stderr
    told = outside(tmp_path, CLI, "doctor")
    assert told.returncode == 1
    assert f"faulty 1.2: FAULTY {said}" in told.stdout
    assert "good 1.2: adds entangler ends" in told.stdout
