"""Methods as peft tuners that live outside peft; importing this package makes them known to peft.

The callbacks for the Trainer (``core.callback``, ``qaa.monitor``, ``sora.callback``) are not imported here:
transformers imports peft, and peft this package, before it has a Trainer.
"""

from qpeft.tuners._peft import register
from qpeft.tuners._residual import ResidualConfig as ResidualConfig
from qpeft.tuners._residual import ResidualLayer as ResidualLayer
from qpeft.tuners._residual import ResidualModel as ResidualModel
from qpeft.tuners.core import CoreConfig as CoreConfig
from qpeft.tuners.core import CoreModel
from qpeft.tuners.core import core_as_lora as core_as_lora
from qpeft.tuners.core import fit_basis as fit_basis
from qpeft.tuners.core.facts import METHOD as _CORE
from qpeft.tuners.ffa import FFAConfig as FFAConfig
from qpeft.tuners.ffa import FFAModel
from qpeft.tuners.ffa.facts import METHOD as _FFA
from qpeft.tuners.headprefix import HeadPrefixConfig as HeadPrefixConfig
from qpeft.tuners.headprefix import HeadPrefixModel
from qpeft.tuners.headprefix.facts import METHOD as _HEAD_PREFIX
from qpeft.tuners.known import register_method as register_method
from qpeft.tuners.qaa import QAAConfig as QAAConfig
from qpeft.tuners.qaa import QAADelta as QAADelta
from qpeft.tuners.qaa import QAAModel
from qpeft.tuners.qaa import failure_signatures as failure_signatures
from qpeft.tuners.qaa.facts import METHOD as _QAA
from qpeft.tuners.sora import SoraConfig as SoraConfig
from qpeft.tuners.sora import SoraModel
from qpeft.tuners.sora import prune as prune
from qpeft.tuners.sora.facts import METHOD as _SORA
from qpeft.tuners.stock import ANY as _ANY
from qpeft.tuners.stock import STOCK as _STOCK

register("core", CoreConfig, CoreModel)
register("ffa", FFAConfig, FFAModel)
register("headprefix", HeadPrefixConfig, HeadPrefixModel)
register("qaa", QAAConfig, QAAModel)
register("sora", SoraConfig, SoraModel)

# The methods of this room, in the order of lists.
ROWS = (*_STOCK, _SORA, _CORE, _HEAD_PREFIX, _FFA, _QAA, _ANY)
