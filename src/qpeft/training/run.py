"""One run: from a RunSpec to a trained adapter, its measurements and its record; resumes where it stopped."""

import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from qpeft.data import Encoded, Row, collate_for, encode_texts, features, load_texts
from qpeft.data.examples import Texts
from qpeft.metrics.intervals import into_blocks
from qpeft.metrics.perplexity import measure_perplexity
from qpeft.qpa import QPAOptimizer, save_adapter
from qpeft.records import (
    RECORD,
    Blocks,
    CurvePoint,
    Metric,
    Quantum,
    RunInfo,
    RunRecord,
    RunSpec,
    TrainInfo,
    read_record,
    write_record,
)
from qpeft.training.callbacks import Checkpoints, Progress, Silent, Watch, last_complete
from qpeft.training.environment import meta_info, peak_memory
from qpeft.training.methods import Built, build_method, check_method
from qpeft.training.models import Base, load_base

ADAPTER, CHECKPOINTS, PROBE = "adapter", "checkpoints", "probe.safetensors"


@dataclass
class Trained:
    """What training leaves behind."""

    trainer: Trainer
    watch: Watch
    seconds: float


def train_run(spec: RunSpec, folder: Path, progress: Progress | None = None) -> RunRecord:
    """Do one run, or finish it, or return the record of a finished one.

    Args:
        spec: Everything that decides the result.
        folder: Of this run alone; receives ``adapter/``, ``probe.safetensors`` and ``record.json``.
        progress: Shows steps and phases.

    Returns:
        The record, also on disk.

    Raises:
        QpeftError: A part of the spec cannot be used; the base model and finished runs are untouched.
    """
    if (folder / RECORD).exists():
        return read_record(folder / RECORD)
    progress = progress or Silent()
    began, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    check_method(spec.method)
    progress.phase("load")
    base = load_base(spec.model)
    texts = load_texts(spec.data, base.tokenizer)
    data = encode_texts(texts, base.tokenizer, spec.data)
    built = build_method(base.model, spec.method, spec.seed)
    folder.mkdir(parents=True, exist_ok=True)
    progress.phase("train")
    trained = train(spec, built, base, data, folder, progress) if built.trained else None
    optimizer = qpa_optimizer(trained)
    if optimizer is not None:
        optimizer.finish()
    progress.phase("measure")
    metrics, blocks = measure(spec, built, base, data)
    size = save(built, base, folder, optimizer)
    record = RunRecord(
        identity=spec.identity(),
        seed=spec.seed,
        spec=spec,
        run_info=RunInfo(
            created_at=created,
            total_time=round(time.perf_counter() - began, 3),
            experiment_name=f"{spec.method.name}/{spec.label}",
            train_config=spec.train.model_dump(),
            peft_config=plain(built.peft_config),
        ),
        train_info=train_info(spec, built, optimizer, trained, size),
        meta_info=meta_info(base.info, dataset_info(texts, data)),
        metrics=metrics,
        blocks=blocks,
        curve=curve(trained),
        quantum=quantum(optimizer),
    )
    write_record(record, folder / RECORD)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return record


def train(spec: RunSpec, built: Built, base: Base, data: Encoded, folder: Path, progress: Progress) -> Trained:  # noqa: PLR0913, PLR0917
    """Train through transformers.Trainer, from the last complete checkpoint if there is one."""
    watch = Watch(progress)
    trainer = Trainer(
        model=built.model,
        args=arguments(spec, folder / CHECKPOINTS),
        train_dataset=features(data.train),
        data_collator=collate_for(spec.data, base.tokenizer),
        optimizer_cls_and_kwargs=built.optimizer(spec.train),
        callbacks=[watch, Checkpoints()],
    )
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=last_complete(folder / CHECKPOINTS))
    return Trained(trainer, watch, time.perf_counter() - began)


def arguments(spec: RunSpec, folder: Path) -> TrainingArguments:
    """The Trainer's arguments of a spec."""
    train, cuda = spec.train, torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=train.steps,
        per_device_train_batch_size=train.batch_size,
        gradient_accumulation_steps=train.gradient_accumulation,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        lr_scheduler_type=train.scheduler,
        warmup_steps=train.warmup_steps,
        max_grad_norm=train.max_grad_norm,
        bf16=train.precision == "bf16",
        logging_steps=train.log_steps,
        save_strategy="steps" if train.checkpoint_steps else "no",
        save_steps=train.checkpoint_steps or train.steps,
        save_total_limit=1,
        seed=spec.seed,
        data_seed=spec.seed,
        include_num_input_tokens_seen="non_padding",
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=cuda,
        use_cpu=not cuda,
        disable_tqdm=True,
        report_to="none",
        **({"gradient_checkpointing": True} if train.gradient_checkpointing else {}),
    )


def qpa_optimizer(trained: Trained | None) -> QPAOptimizer | None:
    """The QPAOptimizer below accelerate's wrapper, if QPA trained."""
    if trained is None:
        return None
    optimizer = getattr(trained.trainer.optimizer, "optimizer", trained.trainer.optimizer)
    return optimizer if isinstance(optimizer, QPAOptimizer) else None


def measure(spec: RunSpec, built: Built, base: Base, data: Encoded) -> tuple[list[Metric], list[Blocks]]:
    """Perplexities on validation and, for final runs, on test."""
    splits = {"valid": data.valid} if spec.purpose == "tune" else {"valid": data.valid, "test": data.test}
    metrics, blocks = [], []
    for split, rows in splits.items():
        found, sums = measure_split(spec, built, base, rows, split)
        metrics += found
        blocks.append(sums)
    return metrics, blocks


def measure_split(
    spec: RunSpec, built: Built, base: Base, rows: list[Row], split: str
) -> tuple[list[Metric], Blocks]:
    """Masked perplexity, and on test the papers' padded one from the same pass, with sums over blocks of rows."""
    # The padded view costs several times the masked one; validation only selects.
    padded = spec.eval.padded and split == "test"
    result = measure_perplexity(
        built.model,
        rows,
        pad_id=base.tokenizer.pad_token_id,
        eos_id=base.tokenizer.eos_token_id,
        max_length=spec.data.max_length,
        batch_size=spec.eval.batch_size,
        stride=spec.eval.stride,
        padded=padded,
    )
    metrics = [Metric(name="perplexity", split=split, value=result.masked, signature=result.signature_masked)]
    if result.padded is not None:
        padded_signature = str(result.signature_padded)
        metrics.append(Metric(name="perplexity_padded", split=split, value=result.padded, signature=padded_signature))
    nll, tokens = into_blocks(result.row_nll, result.row_tokens)
    return metrics, Blocks(split=split, nll=[round(float(x), 4) for x in nll], tokens=[int(x) for x in tokens])


def dataset_info(texts: Texts, data: Encoded) -> dict[str, Any]:
    """Where the rows came from."""
    return {
        "name": texts.source,
        "sha256": texts.sha256,
        "format": texts.format,
        "rows": {"train": len(data.train), "valid": len(data.valid), "test": len(data.test)},
        "rows_sha256": data.fingerprint,
        "truncated": data.truncated,
        "dropped": data.dropped,
    }


def save(built: Built, base: Base, folder: Path, optimizer: QPAOptimizer | None) -> int:
    """Write adapter (or full model) and probe; the bytes of the weights."""
    if built.peft_config is not None:
        save_adapter(built.model, folder / ADAPTER, optimizer)
        (folder / PROBE).unlink(missing_ok=True)
        save_file(probe(built.model, base), folder / PROBE)
        return (folder / ADAPTER / "adapter_model.safetensors").stat().st_size
    if built.trained:
        built.model.save_pretrained(folder / "model")
        base.tokenizer.save_pretrained(folder / "model")
        return sum(file.stat().st_size for file in (folder / "model").glob("*.safetensors"))
    return 0


def probe(model: Any, base: Base) -> dict[str, torch.Tensor]:  # noqa: ANN401 - any causal model
    """Fixed token ids (4, 16) and the trained model's last logits (4, V) on them; exports are checked against it."""
    vocabulary = model.get_output_embeddings().weight.shape[0]
    ids = torch.randint(vocabulary, (4, 16), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "logits": probe_logits(model, ids)}


def probe_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - any causal model
    """The last position's logits, shape (B, V), on the CPU."""
    model.eval()
    with torch.inference_mode():
        logits = model(input_ids=ids.to(next(model.parameters()).device)).logits[:, -1]
    return logits.float().cpu().contiguous().clone()


def train_info(spec: RunSpec, built: Built, optimizer: QPAOptimizer | None, trained: Trained | None, size: int) -> TrainInfo:
    """Counts and costs."""
    adapter = sum(p.numel() for _, p in built.named_trainable()) if built.trained else 0
    device_peak, process_peak = peak_memory()
    state = trained.trainer.state if trained else None
    return TrainInfo(
        accelerator_memory_max=device_peak,
        process_memory_max=process_peak,
        train_time=round(trained.seconds, 3) if trained else 0.0,
        step_time_median=round(trained.watch.median(), 5) if trained else 0.0,
        file_size=size,
        num_trainable_params=optimizer.generator.n_trainable if optimizer else adapter,
        num_adapter_params=adapter,
        num_total_params=sum(p.numel() for p in built.model.parameters()),
        effective_params=optimizer.generator.n_effective if optimizer else None,
        train_tokens=int(state.num_input_tokens_seen) if state else 0,
        status="success",
    )


def curve(trained: Trained | None) -> list[CurvePoint]:
    """The logged training losses, of all sessions of the run."""
    history = trained.trainer.state.log_history if trained else []
    return [
        CurvePoint(step=row["step"], loss=row["loss"], learning_rate=row["learning_rate"])
        for row in history
        if "loss" in row
    ]


def quantum(optimizer: QPAOptimizer | None) -> Quantum | None:
    """The circuit block of the record."""
    if optimizer is None:
        return None
    generator, config = optimizer.generator, optimizer.config
    return Quantum(
        n_qubits=generator.n_qubits,
        depth=config.depth,
        ansatz=config.ansatz,
        entangler="none" if config.source == "no_entangler" else config.entangler,
        source=config.source,
        preset=config.preset,
        n_angles=generator.n_angles,
        n_generated=generator.m,
        n_chunks=sum(part.n_chunks for part in generator.chunk_generators()),
        n_mlp=config.n_mlp,
        circuit_executions=generator.executions,
    )


def plain(config: Any) -> dict[str, Any] | None:  # noqa: ANN401 - any peft config
    """A peft config as JSON values."""
    if config is None:
        return None
    body = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    return {key: getattr(value, "value", value) for key, value in body.items() if is_plain(getattr(value, "value", value))}


def is_plain(value: Any) -> bool:  # noqa: ANN401
    """Whether a value has a place in JSON."""
    return value is None or isinstance(value, (bool, int, float, str, list, dict))
