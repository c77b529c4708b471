"""What QPA says of itself."""

from qpeft.method import Method
from qpeft.qpa.config import SOURCES

METHOD = Method(
    "qpa",
    help="a circuit and a mapping generate the numbers of another method",
    trains="over",
    circuits_in="generator",
    sources=SOURCES,
)
