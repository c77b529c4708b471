"""Where the table of positions goes in a model, as peft's tuner model."""

import re
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from qpeft.errors import ModelError
from qpeft.tuners._residual import ResidualModel, hidden_size, linear_widths
from qpeft.tuners._sites import body_path
from qpeft.tuners.headprefix.config import HeadPrefixConfig
from qpeft.tuners.headprefix.layer import HeadPrefixDelta, HeadPrefixLayer


class HeadPrefixModel(ResidualModel):
    """A base model with a table of positions at the input of its output head."""

    prefix = "headprefix_"
    tuner_layer_cls = HeadPrefixLayer
    linear_layer_cls = HeadPrefixLayer

    def build_delta(self, config: HeadPrefixConfig, d_in: int, d_out: int) -> nn.Module:
        """The table."""
        return HeadPrefixDelta(config, d_out)

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        """Fill in the body of the model family where the user named none."""
        if peft_config.target_modules is None:
            peft_config.target_modules = re.escape(body_path(str(model_config.get("model_type"))))
        return peft_config

    def widths(self, module: nn.Module, insertion: str, key: str) -> tuple[int, int]:
        """Width of what the head reads, twice.

        Raises:
            ModelError: The module is no body, or lies inside one, so that it is not told the positions.
        """
        if not isinstance(module, PreTrainedModel):
            raise ModelError(
                f"headprefix.target_modules must name the body of the model, which returns its last hidden states; "
                f"got {key}, a {type(module).__name__}; leave target_modules out where the model family is known"
            )
        head = self.model.get_output_embeddings() if isinstance(self.model, PreTrainedModel) else None
        # OPT-350m projects its hidden states before the head.
        read = None if head is None else linear_widths(head)
        width = hidden_size(self.model) if read is None else read[0]
        return width, width
