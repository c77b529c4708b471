"""SVG drawings: well-formed, self-contained, one box per boxed gate, coloured by the page."""

import re
from xml.etree import ElementTree

from qpeft.circuits import Circuit, Operation, build_ansatz, draw_svg


def test_is_one_self_contained_element() -> None:
    svg = draw_svg(build_ansatz("ryrz_cnot", 4, 3), [0.5] * 24)
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"href|url\(|<script|style=", svg)
    colours = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg))
    assert colours == {"none", "currentColor"}


def test_shows_every_gate() -> None:
    circuit = build_ansatz("rx_cnot", 3, 2)
    svg = draw_svg(circuit)
    texts = re.findall(r">([^<]+)</text>", svg)
    assert sorted(texts) == sorted(["q0", "q1", "q2"] + [f"RX(θ{i})" for i in range(6)])
    assert svg.count("<circle") == 4


def test_folds_and_stays_inside_the_picture() -> None:
    circuit = build_ansatz("ry_cnot", 3, 12) + Circuit(3, (Operation("swap", (0, 2)),))
    svg = draw_svg(circuit, width=500)
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert width <= 500
    assert height > 2 * float(ElementTree.fromstring(draw_svg(circuit, width=None)).attrib["height"])
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert 0 <= float(box.attrib["x"]) <= width - float(box.attrib["width"])
        assert 0 <= float(box.attrib["y"]) <= height - float(box.attrib["height"])


def test_wires_stop_at_boxes() -> None:
    svg = draw_svg(Circuit(1, (Operation("h", (0,)),)))
    box = re.search(r'<rect x="(\d+)" y="\d+" width="(\d+)"', svg)
    assert box
    start, size = map(int, box.groups())
    assert f"H{start}M{start + size} " in svg
