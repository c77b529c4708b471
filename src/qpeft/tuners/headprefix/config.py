"""HeadPrefixConfig, and the readings of what the QPA paper calls prefix tuning."""

from dataclasses import dataclass
from typing import ClassVar

from qpeft.errors import ConfigError
from qpeft.tuners._residual import ResidualConfig, check_fields


@dataclass
class HeadPrefixConfig(ResidualConfig):
    """A trained vector for each position, added at the input of the output head, as a peft config.

    ``h_t + P_t`` for the positions t = 0 ... num_positions - 1, nothing beyond; P starts at zero. The QPA paper
    (arXiv:2410.09846) reports a "PT" of 512 x d numbers at the head's input, 393,216 on GPT-2, and does not say more.
    The words have four readings:

    1. Rows put before the sequence at the head's input. The head maps each position by itself, so these rows change
       the logits of no other position: the gradient of the loss is exactly zero and nothing is trained.
    2. A table of positions added there, as here: the one reading with an effect and these numbers at this place.
    3. peft's ``PROMPT_TUNING`` with 512 virtual tokens has the same count, but sits at the input of the model.
    4. peft's ``PREFIX_TUNING``, keys and values before those of every layer, is what the field calls prefix tuning.

    The last two are methods of peft, by those names.

    >>> HeadPrefixConfig().num_positions
    512

    Args:
        num_positions: Rows of P.
        target_modules: The body of the model, the module whose output the head reads; None looks it up by model
            family.
        init_weights: P starts at zero; False starts at random, for tests.

    Raises:
        ConfigError: num_positions is no whole number of at least 1, or layers are chosen, of which the head has none.
    """

    METHOD: ClassVar[str] = "headprefix"
    insertion: ClassVar[str] = "after"

    num_positions: int = 512

    def __post_init__(self) -> None:
        """Check every field at the door."""
        super().__post_init__()
        check_fields(
            self,
            {
                "num_positions": ("a whole number of at least 1", lambda value: type(value) is int and value >= 1),
                "init_weights": ("true or false", lambda value: isinstance(value, bool)),
            },
        )
        if self.layers_to_transform is not None:
            raise ConfigError(
                f"headprefix.layers_to_transform must be left out: the table stands at the output head, behind all "
                f"layers; got {self.layers_to_transform!r}"
            )
