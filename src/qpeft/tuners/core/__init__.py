"""core: a small trained matrix inside a frozen informed basis, ``dW = s U R V^T``; LoRA-XS and what comes after it."""

from qpeft.tuners.core.config import CoreConfig as CoreConfig
from qpeft.tuners.core.export import core_as_lora as core_as_lora
from qpeft.tuners.core.fit import Fitted as Fitted
from qpeft.tuners.core.fit import fit_basis as fit_basis
from qpeft.tuners.core.layer import CoreDelta as CoreDelta
from qpeft.tuners.core.layer import CoreLinear as CoreLinear
from qpeft.tuners.core.model import CoreModel as CoreModel
