"""Footprint: bytes of an adapted model in memory while it trains and in the file that is saved, from shapes alone."""

import json
from dataclasses import dataclass
from typing import Any

import peft
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from qpeft.qpa import Generator
from qpeft.qpa.generator import ChunkGenerator
from qpeft.qpa.sources import CircuitSource
from qpeft.records import RunSpec
from qpeft.training.methods import Built
from qpeft.tuners._residual import hidden_size

FLOAT = 4
# Numbers kept for the backward pass, a token and block, for each (weight of the block / width of the model).
# Measured over 15 dense families: from 1.0 (OPT: a ReLU) to 2.9 (GPT-2: a GELU of many steps, dropout); three with
# experts: 1.3 to 2.9, and 5 where LoRA sits on the experts themselves, whose changed weights are kept, too.
KEPT = 2
# Float32 copies of the logits at the turn to the backward pass: log-probabilities, their gradient, the logits' own.
LOGITS = 3
# Bytes a kept number takes in a model of half precision. peft keeps adapters in float32 there, and with them a float32
# copy of what they read: on SmolLM2 with LoRA on every linear 37.0 kB a token and block, in float32 40.1 kB.
HALF, HALF_AND_COPY = 2, 3
# Of a process on the CPU, measured on SmolLM2: torch, transformers and peft as loaded, and what the allocator keeps of
# memory that was freed, as a part of what a step holds for a while.
LIBRARIES, FREED = 600 << 20, 0.4
# Positions whose logits are in float32 at one time while a model is measured, twice.
MEASURED = 2 * 1024
# Amplitude vectors kept for each angle of a qubit in a circuit that is simulated exactly; measured at 13 qubits.
STATES = 6


@dataclass(frozen=True)
class Memory:
    """Bytes of tensors at the peak of a training step: an estimate.

    Against the allocator's count `total` is within a factor of two for dense models; an adapter on experts takes more.
    `process` is within 1.3 of the peak of a process on the CPU for LoRA on SmolLM2-135M (4 x 128 tokens in float32
    and bfloat16, 8 x 256 in bfloat16).

    Attributes:
        parameters: Every number of the adapted model.
        generator: QPA's numbers and basis bits, four vectors of m, inputs and hidden units of every chunk, and six
            amplitude vectors for each angle of a qubit.
        gradients: Of everything that is trained.
        optimizer: AdamW's two moments; nothing for SGD.
        activations: Kept for the backward pass: rows x tokens x bytes x 2 W / d, summed over the blocks from the
            lowest trained one upward; W weights of the block (of the experts a token uses), d width of the model.
            Attention is taken to keep no matrix of tokens x tokens. With gradient checkpointing: every block's
            input, and one block.
            In half precision two bytes a number, three where the adapter is in float32.
        logits: Three times rows x tokens x vocabulary in float32.
        measuring: While the model is measured and not trained: the logits of a batch, and two parts of 1,024 positions
            in float32; not in `total`.
    """

    parameters: int
    generator: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    measuring: int = 0

    @property
    def total(self) -> int:
        """The sum of the parts."""
        parts = (self.parameters, self.generator, self.gradients, self.optimizer, self.activations, self.logits)
        return sum(parts)

    @property
    def process(self) -> int:
        """The whole process on a CPU: `total` or what measuring takes, the libraries, and freed memory it keeps."""
        passing = max(self.activations + self.logits, self.measuring)
        lasting = self.parameters + self.generator + self.gradients + self.optimizer
        return LIBRARIES + lasting + round((1 + FREED) * passing)


class ShapesStay(TorchFunctionMode):
    """A tensor that would be moved to the CPU, as peft does with prompts to save them, stays where it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The function's result; for ``Tensor.cpu`` the tensor."""
        return args[0] if func is torch.Tensor.cpu else func(*args, **(kwargs or {}))


def file_bytes(built: Built) -> int | None:
    """Size of the safetensors file that is saved: a header in JSON, filled up to eights, then the numbers.

    None where peft computes with the numbers before it saves them, as CPT does.
    """
    if not built.trained:
        return 0
    if built.peft_config is not None:
        try:
            with ShapesStay():
                tensors = peft.get_peft_model_state_dict(built.model, save_embedding_layers=False)
        except RuntimeError:
            return None
    else:
        state = built.model.state_dict(keep_vars=True)
        first = {id(tensor): name for name, tensor in reversed(state.items())}
        # Tied tensors are one object and are written once.
        tensors = {name: tensor for name, tensor in state.items() if first[id(tensor)] == name}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    # The format's own order, which decides how long the offsets are: wide numbers first, then by name.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        start, end = end, end + tensor.numel() * tensor.element_size()
        kind = "BF16" if tensor.dtype == torch.bfloat16 else f"F{8 * tensor.element_size()}"
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = len(json.dumps(header, separators=(",", ":")))
    return 8 + -(-text // 8) * 8 + end


def blocks_of(model: Any) -> list[tuple[nn.Module, float]]:
    """The blocks of a base model, each with the numbers it keeps for the backward pass of one token."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    blocks = max(lists, key=lambda found: sum(p.numel() for p in found.parameters()))
    chosen = getattr(model.config.get_text_config(), "num_experts_per_tok", None) or 1
    sizes = [sum(used_weights(p, chosen) for p in block.parameters()) for block in blocks]
    return [(block, KEPT * size / hidden_size(model)) for block, size in zip(blocks, sizes, strict=True)]


def used_weights(parameter: Tensor, chosen: int) -> float:
    """The weights of a Parameter that one token meets: of the experts, one Parameter a layer, only the chosen ones."""
    if parameter.dim() < 2:
        return 0
    return parameter.numel() * (chosen / len(parameter) if parameter.dim() > 2 else 1)


def passed(built: Built, blocks: list[tuple[nn.Module, float]]) -> list[float]:
    """What the blocks keep that the gradient passes: those from the lowest trained one upward."""
    if not built.trained:
        return []
    prompt = built.peft_config is not None and built.peft_config.is_prompt_learning
    below = prompt or any(p.requires_grad for p in built.model.get_input_embeddings().parameters())
    trained = [below or any(p.requires_grad for p in block.parameters()) for block, _ in blocks]
    return [kept for index, (_, kept) in enumerate(blocks) if any(trained[: index + 1])]


def memory_of(
    built: Built, generator: Generator | None, spec: RunSpec, blocks: list[tuple[nn.Module, float]]
) -> Memory:
    """The bytes of a training step by the formula of `Memory`.

    Args:
        built: The adapted model.
        generator: QPA's.
        spec: Rows, tokens, precision, optimizer.
        blocks: `blocks_of` the model before it was adapted.
    """
    train, kept = spec.train, passed(built, blocks)
    gradients = sum(p.numel() * p.element_size() for _, p in built.named_trainable())
    moments, own = gradients, 0
    if generator is not None:
        moments = FLOAT * generator.n_trainable
        gradients += moments
        own = sum(t.numel() * t.element_size() for t in (*generator.parameters(), *generator.buffers()))
        own += FLOAT * 4 * generator.m + sum(map(kept_by_generator, generator.chunk_generators()))
    # Prompts lengthen every row; prefixes are keys and values only.
    prompt = getattr(built.peft_config, "num_virtual_tokens", 0) if built.facts.lengthens else 0
    tokens = train.batch_size * (spec.data.max_length + prompt)
    width = kept_bytes(built, spec)
    if train.gradient_checkpointing and kept:
        kept = [float(hidden_size(built.model)) * len(kept), max(kept)]
    head = built.model.get_output_embeddings().weight
    vocabulary, shown = head.shape[0], spec.eval.batch_size * (spec.data.max_length + prompt)
    return Memory(
        parameters=sum(p.numel() * p.element_size() for p in built.model.parameters()),
        generator=own,
        gradients=gradients,
        optimizer=2 * moments if train.optimizer == "adamw" else 0,
        activations=round(tokens * sum(kept) * width),
        logits=LOGITS * tokens * vocabulary * FLOAT,
        measuring=vocabulary * (shown * head.element_size() + min(shown, MEASURED) * FLOAT),
    )


def kept_bytes(built: Built, spec: RunSpec) -> int:
    """Bytes of a number that is kept for the backward pass."""
    if spec.model.dtype != "float32":
        return HALF_AND_COPY if any(p.element_size() == FLOAT for _, p in built.named_trainable()) else HALF
    return HALF if spec.train.precision == "bf16" else FLOAT


def kept_by_generator(part: ChunkGenerator) -> int:
    """Bytes a generator keeps from its evaluation to its gradient."""
    units = sum(part.config.widths or ()) * (1 if part.config.activation == "none" else 2)
    source = part.source
    angles = source.circuit.n_parameters if isinstance(source, CircuitSource) and source.angles.requires_grad else 0
    states: int = STATES * angles // part.n_qubits * 2**part.n_qubits
    return FLOAT * (part.n_chunks * (part.n_qubits + 1 + units) + states)
