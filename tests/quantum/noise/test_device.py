"""Device files: whole, of sensible size, and equal to the calibrations they were taken from."""

import json
from pathlib import Path

import pytest

from qpeft.errors import ConfigError
from qpeft.quantum.noise import DEVICES, device, load_device


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("n", range(1, 13))
def test_registers_are_lines_of_calibrated_qubits(name: str, n: int) -> None:
    line = load_device(name, n)
    assert len(set(line.physical)) == len(line.qubits) == n == len(line.edges) + 1
    for qubit in line.qubits:
        assert 1e-6 < qubit.t1 < 1e-2
        assert 1e-6 < qubit.t2 < 1e-2
        assert 0 < qubit.sx_error < 0.01
        assert 0 <= min(qubit.p10, qubit.p01) <= max(qubit.p10, qubit.p01) < 0.2
    assert all(0 < edge.cz_error < 0.02 and 1e-8 < edge.cz_duration < 1e-6 for edge in line.edges)


@pytest.mark.parametrize("name", DEVICES)
def test_files_are_small_and_explain_themselves(name: str) -> None:
    path = Path(device.__file__).parent / "devices" / f"{name}.json"
    content = json.loads(path.read_text("utf-8"))
    assert path.stat().st_size < 8000
    assert {"about", "rule", "level", "seed", "versions", "calibrated"} <= set(content)


@pytest.mark.parametrize("name", DEVICES)
def test_numbers_are_those_of_the_snapshot(name: str) -> None:
    fake = pytest.importorskip("qiskit_ibm_runtime.fake_provider")
    backend = getattr(fake, f"Fake{name.capitalize()}")()
    target, properties, line = backend.target, backend.properties(), load_device(name, 12)
    assert line.calibrated == properties.last_update_date.isoformat()
    for number, qubit in zip(line.physical, line.qubits, strict=True):
        readout = {item.name: item.value for item in properties.qubits[number]}
        theirs = target.qubit_properties[number]
        sx, x = target["sx"][(number,)], target["x"][(number,)]
        assert (qubit.t1, qubit.t2) == pytest.approx((theirs.t1, theirs.t2), rel=1e-5)
        assert (qubit.p10, qubit.p01) == pytest.approx(
            (readout["prob_meas1_prep0"], readout["prob_meas0_prep1"]), rel=1e-5
        )
        assert (qubit.sx_error, qubit.sx_duration) == pytest.approx((sx.error, sx.duration), rel=1e-5)
        assert (qubit.x_error, qubit.x_duration) == pytest.approx((x.error, x.duration), rel=1e-5)
    pairs = zip(line.physical, line.physical[1:], strict=False)
    for pair, edge in zip(pairs, line.edges, strict=True):
        cz = target["cz"][pair]
        assert (edge.cz_error, edge.cz_duration) == pytest.approx((cz.error, cz.duration), rel=1e-5)


def test_errors_name_the_way_on() -> None:
    with pytest.raises(ConfigError, match="nearest: torino"):
        load_device("torinno", 3)
    with pytest.raises(ConfigError, match="1 to 12 qubits; the circuit has 13"):
        load_device("fez", 13)
