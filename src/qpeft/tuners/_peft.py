"""The only place that knows peft's private names: registration of methods that live outside peft."""

from typing import Any

from peft import PeftConfig as PeftConfig
from peft import PeftModel as PeftModel
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTuner as BaseTuner
from peft.tuners.tuners_utils import BaseTunerLayer as BaseTunerLayer
from peft.tuners.tuners_utils import check_adapters_to_merge as check_adapters_to_merge
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, PeftType, register_peft_method

# Model family to the linear layers that peft gives LoRA.
LORA_TARGETS: dict[str, list[str]] = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING


def peft_type(name: str) -> Any:
    """The member ``NAME`` of peft's enum of methods, made if it is not there.

    peft has no way in for methods of other packages: its registration asks for a member of the enum first, and
    transformers reads ``.value``, so that a plain string is not enough.

    Args:
        name: Lower case; the member is its upper case.
    """
    value = name.upper()
    if value in PeftType.__members__:
        return PeftType[value]
    member = str.__new__(PeftType, value)
    member._name_ = value
    member._value_ = value
    member.__objclass__ = PeftType
    member._sort_order_ = len(PeftType)
    PeftType._member_names_.append(value)
    PeftType._member_map_[value] = member
    PeftType._value2member_map_[value] = member
    type.__setattr__(PeftType, value, member)
    return member


def register(name: str, config: type, model: type) -> None:
    """Make a method known to peft; a second call does nothing.

    Args:
        name: Lower case; every adapter attribute of the model starts with ``name_``.
        config: A PeftConfig that sets ``peft_type(name)``.
        model: A BaseTuner.
    """
    if peft_type(name) not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(name=name, config_cls=config, model_cls=model)
