"""The parts of a record that say what was trained and what it cost."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import peft
from transformers import Trainer

from qpeft.circuits import Circuit, own_entangler
from qpeft.circuits.own import label_of
from qpeft.qpa import QPAOptimizer
from qpeft.quantum import Execution
from qpeft.records import CurvePoint, Quantum, RunInfo, RunSpec, TrainInfo
from qpeft.records.peft_layout import experiment_name
from qpeft.training.callbacks import Watch
from qpeft.training.environment import peak_memory
from qpeft.training.methods import Built
from qpeft.training.spent import Spent


@dataclass
class Trained:
    """What training leaves behind."""

    trainer: Trainer
    watch: Watch
    seconds: float
    spent: Spent


def qpa_optimizer(trained: Trained | None) -> QPAOptimizer | None:
    """The QPAOptimizer below accelerate's wrapper, if QPA trained."""
    if trained is None:
        return None
    optimizer = getattr(trained.trainer.optimizer, "optimizer", trained.trainer.optimizer)
    return optimizer if isinstance(optimizer, QPAOptimizer) else None


def run_info(spec: RunSpec, built: Built, created: str, seconds: float) -> RunInfo:
    """When and how the run was made; ``model_id`` and the peft release are what peft's tools look for."""
    return RunInfo(
        created_at=created,
        total_time=round(seconds, 3),
        experiment_name=experiment_name(spec),
        peft_branch=f"v{peft.__version__}",
        train_config={"model_id": spec.model.name, **spec.train.model_dump()},
        peft_config=plain(built.peft_config, spec.model.name),
    )


def train_info(built: Built, optimizer: QPAOptimizer | None, trained: Trained | None, size: int) -> TrainInfo:
    """Counts and costs."""
    adapter = sum(p.numel() for _, p in built.named_trainable()) if built.trained else 0
    device_peak, process_peak = peak_memory()
    state = trained.trainer.state if trained else None
    reserved = trained.watch.reserved if trained else []
    return TrainInfo(
        accelerator_memory_max=device_peak,
        accelerator_memory_reserved_avg=int(np.mean(reserved or [0])),
        accelerator_memory_reserved_99th=int(np.percentile(reserved or [0], 99)),
        process_memory_max=process_peak,
        train_time=round(trained.seconds, 3) if trained else 0.0,
        step_time_median=round(trained.watch.median(), 5) if trained else 0.0,
        optimizer_time_median=round(trained.watch.optimizer_median(), 6) if trained else None,
        file_size=size,
        num_trainable_params=optimizer.generator.n_trainable if optimizer else adapter,
        num_adapter_params=adapter,
        num_total_params=sum(p.numel() for p in built.model.parameters()),
        effective_params=optimizer.generator.n_effective if optimizer else pruned_size(built),
        train_tokens=int(state.num_input_tokens_seen) if state else 0,
        status="success",
    )


def pruned_size(built: Built) -> int | None:
    """Numbers of a SoRA that its pruned LoRA keeps; None for other methods."""
    effective = built.facts.effective
    return None if effective is None else effective(built.model)


def curve(trained: Trained | None) -> list[CurvePoint]:
    """The logged training losses, of all sessions of the run."""
    history = trained.trainer.state.log_history if trained else []
    return [
        CurvePoint(step=row["step"], loss=row["loss"], learning_rate=row["learning_rate"])
        for row in history
        if "loss" in row
    ]


def step_notes(optimizer: QPAOptimizer | None) -> list[str]:
    """What should be known of the optimizer's steps."""
    left_out = 0 if optimizer is None else optimizer.skipped
    return [f"{left_out} steps were left out, as their gradients were not finite"] if left_out else []


def quantum(built: Built, optimizer: QPAOptimizer | None, trained: Trained | None) -> Quantum | None:
    """The circuit block of the record: QPA's generator, or the circuits inside the model."""
    if optimizer is not None:
        return generator_block(optimizer, trained)
    block = built.facts.block(built.model)
    return None if block is None else modules_block(built, block, trained)


def modules_block(built: Built, block: dict[str, Any], trained: Trained | None) -> Quantum:
    """The circuits of modules; one execution for each real token, module and forward pass, none for a twin."""
    tokens = int(trained.trainer.state.num_input_tokens_seen) if trained else 0
    circuit = block.pop("circuit")
    return Quantum(
        **block,
        circuit_executions=tokens * block["n_circuits"],
        executions_spent=trained.spent.circuits if trained else None,
        **executed(built.execution, circuit),
    )


def generator_block(optimizer: QPAOptimizer, trained: Trained | None) -> Quantum:
    """The circuit of QPA."""
    generator, config = optimizer.generator, optimizer.config
    sources = generator.circuit_sources()
    return Quantum(
        n_qubits=generator.n_qubits,
        depth=config.depth,
        ansatz=label_of(config.ansatz),
        entangler="none" if config.source == "no_entangler" else config.entangler or own_entangler(config.ansatz),
        source=config.source,
        preset=config.preset,
        n_angles=generator.n_angles,
        n_generated=generator.m,
        n_chunks=sum(part.n_chunks for part in generator.chunk_generators()),
        n_mlp=config.n_mlp,
        circuit_executions=generator.executions,
        executions_spent=trained.spent.circuits if trained and sources else None,
        **(executed(generator.execution, sources[0].circuit, trained, generator.shots_spent) if sources else {}),
    )


def executed(
    execution: Execution, circuit: Circuit, trained: Trained | None = None, needed: int | None = None
) -> dict[str, Any]:
    """Where circuits ran and how their gradient was found; what exact circuits by autograd do is not repeated."""
    backend = execution.backend
    shots = None if backend.shots is None else backend.shots.of(circuit.n_qubits)
    return {
        "backend": backend.name,
        "shots": shots,
        "noise": backend.noise,
        "grad_method": execution.written,
        "shots_spent": trained.spent.shots if trained and shots is not None else None,
        "shots_needed": None if shots is None else needed,
        "backend_details": backend.details(circuit) or None,
    }


def plain(config: Any, model: str) -> dict[str, Any] | None:
    """A peft config as JSON values; the base model by the name it was asked for, not by a path of this machine."""
    if config is None:
        return None
    body = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    body["base_model_name_or_path"] = model
    return {
        key: getattr(value, "value", value) for key, value in body.items() if is_plain(getattr(value, "value", value))
    }


def is_plain(value: Any) -> bool:
    """Whether a value has a place in JSON."""
    return value is None or isinstance(value, (bool, int, float, str, list, dict))
