"""Noise without a quantum library: channels, calibrated devices, native gates, and an exact noisy simulator."""

from qpeft.quantum.noise.device import DEVICES, Device, load_device
from qpeft.quantum.noise.model import NoiseModel
from qpeft.quantum.noise.native import NativeCircuit, native_circuit
from qpeft.quantum.noise.simulate import noisy_observables, noisy_probabilities

__all__ = [
    "DEVICES",
    "Device",
    "NativeCircuit",
    "NoiseModel",
    "load_device",
    "native_circuit",
    "noisy_observables",
    "noisy_probabilities",
]
