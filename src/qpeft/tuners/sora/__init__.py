"""Sparse low-rank adaptation (arXiv:2311.11696): LoRA with gates that a proximal step sets to zero."""

from qpeft.tuners.sora.config import SoraConfig as SoraConfig
from qpeft.tuners.sora.layer import SoraDelta as SoraDelta
from qpeft.tuners.sora.layer import SoraLinear as SoraLinear
from qpeft.tuners.sora.model import SoraModel as SoraModel
from qpeft.tuners.sora.prox import ProximalGates as ProximalGates
from qpeft.tuners.sora.prox import parameter_groups as parameter_groups
from qpeft.tuners.sora.prox import released_threshold as released_threshold
from qpeft.tuners.sora.prox import soft_threshold as soft_threshold
from qpeft.tuners.sora.prune import prune as prune
from qpeft.tuners.sora.prune import sparsity as sparsity
