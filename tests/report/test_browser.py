"""The page in a real browser, where there is one: drawn, silent, offline; skipped where no Chromium is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qpeft.records import RunRecord
from qpeft.report import circuit_verdicts, summarise, write_page
from qpeft.report.gallery import gallery

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=20000",
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")


def browse(page: Path, folder: Path, *flags: str) -> tuple[str, str]:
    """The document after its scripts have run, and what the browser logged."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def complaints(log: str) -> list[str]:
    """Lines the page itself caused: its console, and network errors."""
    return [line for line in log.splitlines() if "CONSOLE" in line or "net::ERR" in line or "net_error" in line]


@pytest.fixture(scope="module")
def opened(comparison: list[RunRecord], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    folder = tmp_path_factory.mktemp("browser")
    page = write_page(comparison, folder / "report.html", "A comparison", ["qpeft report runs"])
    picture = folder / "page.png"
    return *browse(page, folder, "--window-size=390,3000", f"--screenshot={picture}"), picture


def test_nothing_is_complained_about_or_asked_of_the_network(opened: tuple[str, str, Path]) -> None:
    document, log, _ = opened
    assert complaints(log) == []
    # Names of XML dialects are no addresses; nothing else may look like one in what was drawn.
    body = re.sub(r"<script.*?</script>", "", document, flags=re.DOTALL)
    assert set(re.findall(r"https?://[^\"'\s<>)]+", body)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_every_figure_is_drawn_and_can_be_saved(opened: tuple[str, str, Path], comparison: list[RunRecord]) -> None:
    document, _, picture = opened
    drawings = gallery(comparison, summarise(comparison), circuit_verdicts(comparison))
    for drawing in drawings:
        part = document[document.index(f'id="figure-{drawing.name}"') :]
        assert 'class="main-svg"' in part[: part.index("</figure>")]
    assert document.count('class="export"') == len(drawings)
    assert "hidden" not in "".join(re.findall(r'<div class="export"[^>]*>', document))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_a_fault_would_be_seen(comparison: list[RunRecord], tmp_path: Path) -> None:
    """The check above can fail: a page that throws and one that loads something are both complained about."""
    page = write_page(comparison, tmp_path / "report.html", "A comparison")
    faults = "<script>console.error('on purpose')</script><img src='http://example.invalid/x.png'>"
    page.write_text(page.read_text("utf-8").replace("</main>", f"{faults}</main>"), "utf-8")
    found = " ".join(complaints(browse(page, tmp_path)[1]))
    assert "on purpose" in found
    assert "Content Security Policy" in found
