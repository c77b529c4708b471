"""The exact simulator: compile a circuit once, then run it as a few large tensor operations."""

from qpeft.quantum.engine.readout import marginal as marginal
from qpeft.quantum.engine.readout import pauli_z as pauli_z
from qpeft.quantum.engine.simulate import final_state as final_state
from qpeft.quantum.engine.simulate import probabilities as probabilities
from qpeft.quantum.engine.states import amplitude_embed as amplitude_embed
from qpeft.quantum.engine.states import basis_bits as basis_bits
from qpeft.quantum.engine.states import basis_state as basis_state
