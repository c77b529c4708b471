"""One run: from a RunSpec to a trained adapter, its measurements and its record; resumes where it stopped."""

import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from qpeft.card import write_card
from qpeft.data import Encoded, collate_for, encode_texts, features, load_texts
from qpeft.errors import RecordError
from qpeft.foreign import ours
from qpeft.qpa import save_adapter
from qpeft.qpa.bake import save_generator
from qpeft.qpa.optimizer import QPAOptimizer
from qpeft.records import (
    RECORD,
    RunRecord,
    RunSpec,
    final_row,
    read_record,
    require_place,
    write_atomically,
    write_record,
)
from qpeft.records.place import LEAST_BYTES
from qpeft.training.account import Trained, curve, qpa_optimizer, quantum, run_info, step_notes, train_info
from qpeft.training.callbacks import Checkpoints, Progress, Silent, Watch, resume_point
from qpeft.training.environment import meta_info
from qpeft.training.fits import check_fit
from qpeft.training.guard import guarded
from qpeft.training.measure import answer_notes, check_answers, data_notes, dataset_info, measure, probe
from qpeft.training.methods import Built, build_method, check_method, open_execution
from qpeft.training.models import Base, load_base
from qpeft.training.origin import begin, check_origin
from qpeft.training.ranks import is_main, n_processes, writing_place
from qpeft.training.trackers import Trackers
from qpeft.tuners.qaa.monitor import QAAMonitor

ADAPTER, CHECKPOINTS, PROBE = "adapter", "checkpoints", "probe.safetensors"
OWNER = "identity.txt"


@ours("the run")
def train_run(
    spec: RunSpec, folder: Path, progress: Progress | None = None, report_to: Sequence[str] = ()
) -> RunRecord:
    """Do one run, or finish it, or return the record of a finished one.

    Args:
        spec: Everything that decides the result.
        folder: Of this run alone; receives ``adapter/``, ``probe.safetensors`` and ``record.json``.
        progress: Shows steps and phases.
        report_to: Trackers that follow the run; they do not decide its result.

    Returns:
        The record, also on disk.

    Raises:
        LockError: Another process is at work in the folder.
        QpeftError: A part of the spec cannot be used, or the disk or the memory does not suffice; the base model and
            finished runs are untouched.
    """
    done = finished(spec, folder)
    if done is not None:
        return done
    require_place(folder)
    with guarded(folder, progress or Silent()) as shown:
        done = finished(spec, folder)  # by another process, since the look above
        if done is not None:
            return done
        with Trackers(report_to if is_main() else (), folder) as trackers, writing_place(folder) as place:
            return new_run(spec, folder, place, shown, trackers)


def new_run(spec: RunSpec, folder: Path, place: Path, progress: Progress, trackers: Trackers) -> RunRecord:
    """Do one run that has no record yet; results go to ``place``, the other arguments are those of `train_run`."""
    began, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    check_method(spec.method)
    open_execution(spec.method, spec.execution, spec.seed)
    progress.phase("load")
    check_fit(spec)
    base = load_base(spec.model)
    texts = load_texts(spec.data, base.tokenizer)
    data = encode_texts(texts, base.tokenizer, spec.data)
    made_of = dataset_info(texts, data, spec.data.name)
    about = [*base.notes, *data_notes(texts, data, spec)]
    check_answers(spec, base, data.test)
    built = build_method(base.model, spec.method, spec.seed, spec.execution)
    folder.mkdir(parents=True, exist_ok=True)
    begin(folder / CHECKPOINTS, base.info, made_of, write=built.trained and is_main())
    for note in (*about, *built.notes):
        progress.note(note)
    progress.phase("train")
    trained = train(spec, built, base, data, folder, progress, trackers) if built.trained else None
    optimizer = qpa_optimizer(trained)
    if optimizer is not None:
        optimizer.finish()
    progress.phase("measure")
    metrics, blocks = measure(spec, built.model, base, data, place)
    progress.phase("save")
    size = save(built, base, place, optimizer)
    record = RunRecord(
        identity=spec.identity(),
        seed=spec.seed,
        spec=spec,
        run_info=run_info(spec, built, created, time.perf_counter() - began),
        train_info=train_info(built, optimizer, trained, size),
        meta_info=meta_info(base.info, made_of),
        metrics=metrics,
        blocks=blocks,
        curve=curve(trained),
        quantum=quantum(built, optimizer, trained),
        notes=[*about, *built.notes, *notes_after(spec, built, optimizer)],
    )
    rows = record.train_info.model_copy(update={"metrics": [final_row(record)]})
    record = record.model_copy(update={"train_info": rows})
    if built.peft_config is not None:
        write_card(place / ADAPTER, {f"{metric.name} ({metric.split})": metric.value for metric in metrics})
    write_record(record, place / RECORD)
    trackers.finish(metrics)
    shutil.rmtree(place / CHECKPOINTS, ignore_errors=True)
    return record


def finished(spec: RunSpec, folder: Path) -> RunRecord | None:
    """The record of a run that is done in this folder, or None.

    Raises:
        RecordError: The folder holds another run, or the checkpoints of one, or this run on other data or another
            base; their numbers would pass for this run's.
    """
    record = read_record(folder / RECORD) if (folder / RECORD).exists() else None
    begun, owner = folder / CHECKPOINTS / OWNER, record.identity if record else spec.identity()
    if record is None and begun.exists() and any(folder.glob(f"{CHECKPOINTS}/*/")):
        owner = begun.read_text("utf-8")
    if owner != spec.identity():
        raise RecordError(f"{folder} holds another run ({owner}); name another folder, or delete it to run this one")
    if record is not None:
        check_origin(record, folder)
    return record


def train(
    spec: RunSpec, built: Built, base: Base, data: Encoded, folder: Path, progress: Progress, trackers: Trackers
) -> Trained:
    """Train through transformers.Trainer, from the last complete checkpoint if there is one."""
    # Weights once at the end, and twice in checkpoints: the least that is going to be written.
    require_place(folder, LEAST_BYTES + built.trained_bytes() * (3 if spec.train.checkpoint_steps else 1))
    if is_main():
        write_atomically(folder / CHECKPOINTS / OWNER, spec.identity())
    watch = Watch(progress)
    trainer = Trainer(
        model=built.model,
        args=arguments(spec, folder / CHECKPOINTS),
        train_dataset=features(data.train),
        data_collator=collate_for(spec.data, base.tokenizer),
        optimizer_cls_and_kwargs=built.optimizer(spec.train),
        callbacks=[watch, Checkpoints(), *built.callbacks, trackers],
    )
    trainer.remove_callback(PrinterCallback)
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=resume_point(folder / CHECKPOINTS))
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
        report_to="none",  # `Trackers` does it
        run_name=spec.folder(),
        project="qpeft",
        **({"gradient_checkpointing": True} if train.gradient_checkpointing else {}),
    )


def notes_after(spec: RunSpec, built: Built, optimizer: QPAOptimizer | None) -> list[str]:
    """What is known once a run is done: of its processes, of QAA's monitor, of QPA's steps, of the answers."""
    told = [*notes_of_processes(spec), *warnings_of(built), *step_notes(optimizer)]
    return [*told, *answer_notes(spec.eval.generation)]


def notes_of_processes(spec: RunSpec) -> list[str]:
    """How many rows a step had, where several processes trained."""
    rows = n_processes() * spec.train.batch_size * spec.train.gradient_accumulation
    return [f"{n_processes()} processes trained together: {rows} rows a step"] if n_processes() > 1 else []


def warnings_of(built: Built) -> list[str]:
    """What QAA's monitor saw last, and what it warns of."""
    monitors = [watcher for watcher in built.callbacks if isinstance(watcher, QAAMonitor)]
    return [text for monitor in monitors for text in (monitor.summary(), *monitor.warnings) if text]


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
        if optimizer is not None:
            save_generator(optimizer, folder / "model")
        return sum(file.stat().st_size for file in (folder / "model").glob("*.safetensors"))
    return 0
