"""What the method says of itself."""

from qpeft.method import Method

METHOD = Method(
    "ffa",
    "FFA",
    "bottleneck adapters",
    fixed={"peft_type": "FFA"},
    provider="qpeft",
    unmergeable="it computes with the hidden states themselves and is no change of a weight",
)
