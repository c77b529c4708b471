"""A plug-in as a stranger writes one: an ansatz with its own entangler, a tuner, a backend, a metric and a figure."""

from lanterns.tuner import GlowConfig as GlowConfig
from lanterns.tuner import GlowModel as GlowModel


def register() -> None:
    """What the entry point calls."""
    from lanterns import parts

    parts.register()
