"""Quantum-amplitude embedded adaptation (arXiv:2509.16244)."""

from qpeft.records.signatures import failure_signatures as failure_signatures
from qpeft.tuners.qaa.config import QAAConfig as QAAConfig
from qpeft.tuners.qaa.layer import QAADelta as QAADelta
from qpeft.tuners.qaa.model import QAALayer as QAALayer
from qpeft.tuners.qaa.model import QAAModel as QAAModel
