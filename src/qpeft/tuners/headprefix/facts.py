"""What the method says of itself."""

from qpeft.method import Method

METHOD = Method(
    "head_prefix",
    "HEADPREFIX",
    "a trained table of positions at the output head",
    fixed={"peft_type": "HEADPREFIX"},
    provider="qpeft",
    unmergeable="it computes with the hidden states themselves and is no change of a weight",
)
