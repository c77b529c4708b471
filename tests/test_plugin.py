"""A stranger's package on the path does all that qpeft's own parts do, and no line of qpeft knows of it."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_plugin_trains_ablates_exports_reports_and_keeps_the_contracts(tmp_path: Path) -> None:
    path = os.pathsep.join(map(str, (HERE / "plugin", HERE, *sys.path)))
    command = [sys.executable, str(HERE / "plugin" / "use.py"), str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all of it\n")
    source = HERE.parent / "src" / "qpeft"
    for word in ("lantern", "glow", "GLOW", "confidence"):
        assert not [file.name for file in source.rglob("*.py") if f'"{word}"' in file.read_text("utf-8")]
