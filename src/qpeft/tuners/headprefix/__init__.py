"""The "PT" of the QPA paper (arXiv:2410.09846): a trained table of positions at the input of the output head."""

from qpeft.tuners.headprefix.config import HeadPrefixConfig as HeadPrefixConfig
from qpeft.tuners.headprefix.layer import HeadPrefixDelta as HeadPrefixDelta
from qpeft.tuners.headprefix.layer import HeadPrefixLayer as HeadPrefixLayer
from qpeft.tuners.headprefix.model import HeadPrefixModel as HeadPrefixModel
