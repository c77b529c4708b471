"""Feed-forward adapters: bottlenecks after, beside or before any module (arXiv:1902.00751, arXiv:2110.04366)."""

from qpeft.tuners.ffa.config import FFAConfig as FFAConfig
from qpeft.tuners.ffa.layer import FFADelta as FFADelta
from qpeft.tuners.ffa.model import FFALayer as FFALayer
from qpeft.tuners.ffa.model import FFAModel as FFAModel
