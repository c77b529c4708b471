"""Run circuits: the exact simulator, gradients, and the backend protocol."""

from qpeft.quantum.backend import Backend as Backend
from qpeft.quantum.backend import is_exact as is_exact
from qpeft.quantum.backends.exact import ExactBackend as ExactBackend
from qpeft.quantum.backends.sampled import SampledBackend as SampledBackend
from qpeft.quantum.catalogue import BACKENDS as BACKENDS
from qpeft.quantum.catalogue import open_backend as open_backend
from qpeft.quantum.engine.readout import marginal as marginal
from qpeft.quantum.engine.readout import pauli_z as pauli_z
from qpeft.quantum.engine.simulate import final_state as final_state
from qpeft.quantum.engine.simulate import probabilities as probabilities
from qpeft.quantum.engine.states import amplitude_embed as amplitude_embed
from qpeft.quantum.engine.states import basis_bits as basis_bits
from qpeft.quantum.engine.states import basis_state as basis_state
from qpeft.quantum.execution import Execution as Execution
from qpeft.quantum.execution import Executor as Executor
from qpeft.quantum.gradient import Gradient as Gradient
from qpeft.quantum.layer import EmbeddedCircuit as EmbeddedCircuit
from qpeft.quantum.layer import QuantumLayer as QuantumLayer
from qpeft.quantum.meter import Meter as Meter
from qpeft.quantum.shift import finite_difference_vjp as finite_difference_vjp
from qpeft.quantum.shift import parameter_shift_vjp as parameter_shift_vjp
from qpeft.quantum.shift import shift_probabilities as shift_probabilities
from qpeft.quantum.shots import Shots as Shots
