"""Circuits as plain data: gates, ansaetze, sizing, cost, drawings and OpenQASM 3; imports no torch."""

from qpeft.circuits.ansatz import ANSATZE as ANSATZE
from qpeft.circuits.ansatz import ENTANGLERS as ENTANGLERS
from qpeft.circuits.ansatz import Ansatz as Ansatz
from qpeft.circuits.ansatz import Entangler as Entangler
from qpeft.circuits.ansatz import angles_per_layer as angles_per_layer
from qpeft.circuits.ansatz import build_ansatz as build_ansatz
from qpeft.circuits.circuit import Circuit as Circuit
from qpeft.circuits.circuit import Operation as Operation
from qpeft.circuits.circuit import Parameter as Parameter
from qpeft.circuits.cost import Cost as Cost
from qpeft.circuits.cost import circuit_cost as circuit_cost
from qpeft.circuits.draw import draw_text as draw_text
from qpeft.circuits.gates import GATES as GATES
from qpeft.circuits.gates import Gate as Gate
from qpeft.circuits.gates import gate_named as gate_named
from qpeft.circuits.qasm import to_qasm3 as to_qasm3
from qpeft.circuits.sizing import n_chunks as n_chunks
from qpeft.circuits.sizing import qubits_for_chunks as qubits_for_chunks
from qpeft.circuits.sizing import qubits_for_dimension as qubits_for_dimension
from qpeft.circuits.svg import draw_svg as draw_svg
