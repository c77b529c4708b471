"""QPA: a circuit and a mapping network generate the numbers of any peft adapter (arXiv:2410.09846)."""

from qpeft.qpa.bake import load_generator as load_generator
from qpeft.qpa.bake import save_adapter as save_adapter
from qpeft.qpa.config import PRESETS as PRESETS
from qpeft.qpa.config import SOURCES as SOURCES
from qpeft.qpa.config import QPAConfig as QPAConfig
from qpeft.qpa.facts import METHOD as _METHOD
from qpeft.qpa.generator import Generator as Generator
from qpeft.qpa.mapping import collapse as collapse
from qpeft.qpa.optimizer import QPAOptimizer as QPAOptimizer
from qpeft.qpa.plan import Plan as Plan

ROWS = (_METHOD,)
