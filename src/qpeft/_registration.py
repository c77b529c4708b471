"""``import qpeft`` makes our methods known to peft: at once where peft is imported already, else when it will be.

peft takes seconds to import and most commands never need it, so it is not imported here.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

TUNERS = "qpeft.tuners"


class _RegisterAfter(Loader):
    """peft's own loader, followed by our registration."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on peft has its own loader back, as whoever inspects the module expects.
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _PeftFinder)]
        import_module(TUNERS)


class _PeftFinder(MetaPathFinder):
    """Finds the top-level package peft, until it has been imported, and nothing else.

    It stays while peft is only looked for, as transformers does to learn whether peft is installed.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "peft":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisterAfter(spec.loader)
        return spec


def register_with_peft() -> None:
    """Register now, or as soon as peft is imported."""
    if "peft" in sys.modules:
        import_module(TUNERS)
    elif not any(isinstance(finder, _PeftFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PeftFinder())
