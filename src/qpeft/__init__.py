"""qpeft: fine-tune language models with quantum circuits in the loop, and measure what the circuit was worth.

Names are imported on first use, so that ``import qpeft`` needs neither torch nor peft. Our own methods become known to
peft as soon as both are imported, in either order.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from qpeft._registration import register_with_peft

if TYPE_CHECKING:
    from qpeft.circuits import build_ansatz as build_ansatz
    from qpeft.circuits import register_ansatz as register_ansatz
    from qpeft.circuits import register_entangler as register_entangler
    from qpeft.errors import QpeftError as QpeftError
    from qpeft.metrics.own import register_metric as register_metric
    from qpeft.qpa import QPAConfig as QPAConfig
    from qpeft.qpa import QPAOptimizer as QPAOptimizer
    from qpeft.qpa import save_adapter as save_adapter
    from qpeft.quantum import register_backend as register_backend
    from qpeft.report import register_report_figure as register_report_figure
    from qpeft.training.compare import run_comparison as run_comparison
    from qpeft.training.models import load_base as load_base
    from qpeft.training.models import untie_head as untie_head
    from qpeft.training.run import train_run as train_run
    from qpeft.tuners import CoreConfig as CoreConfig
    from qpeft.tuners import FFAConfig as FFAConfig
    from qpeft.tuners import HeadPrefixConfig as HeadPrefixConfig
    from qpeft.tuners import QAAConfig as QAAConfig
    from qpeft.tuners import SoraConfig as SoraConfig
    from qpeft.tuners import core_as_lora as core_as_lora
    from qpeft.tuners import fit_basis as fit_basis
    from qpeft.tuners import prune as prune
    from qpeft.tuners import register_method as register_method
    from qpeft.tuners.core.callback import CoreCallback as CoreCallback
    from qpeft.tuners.qaa.monitor import QAAMonitor as QAAMonitor
    from qpeft.tuners.sora import ProximalGates as ProximalGates
    from qpeft.tuners.sora.callback import SoraCallback as SoraCallback

__version__ = version("qpeft")

_HOMES = {
    "CoreCallback": "qpeft.tuners.core.callback",
    "CoreConfig": "qpeft.tuners",
    "FFAConfig": "qpeft.tuners",
    "HeadPrefixConfig": "qpeft.tuners",
    "ProximalGates": "qpeft.tuners.sora",
    "QAAConfig": "qpeft.tuners",
    "QAAMonitor": "qpeft.tuners.qaa.monitor",
    "SoraCallback": "qpeft.tuners.sora.callback",
    "SoraConfig": "qpeft.tuners",
    "QPAConfig": "qpeft.qpa",
    "QPAOptimizer": "qpeft.qpa",
    "QpeftError": "qpeft.errors",
    "build_ansatz": "qpeft.circuits",
    "core_as_lora": "qpeft.tuners",
    "fit_basis": "qpeft.tuners",
    "load_base": "qpeft.training.models",
    "prune": "qpeft.tuners",
    "register_ansatz": "qpeft.circuits",
    "register_backend": "qpeft.quantum",
    "register_entangler": "qpeft.circuits",
    "register_method": "qpeft.tuners",
    "register_metric": "qpeft.metrics.own",
    "register_report_figure": "qpeft.report",
    "run_comparison": "qpeft.training.compare",
    "save_adapter": "qpeft.qpa",
    "train_run": "qpeft.training.run",
    "untie_head": "qpeft.training.models",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"qpeft has no {name!r}; public names: {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


register_with_peft()
