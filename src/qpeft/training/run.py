"""One run: from a RunSpec to a trained adapter, its measurements and its record; resumes where it stopped."""

import dataclasses
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback

from qpeft.card import write_card
from qpeft.data import Encoded, collate_for, encode_texts, features, load_texts
from qpeft.errors import LockError, RecordError
from qpeft.foreign import ours
from qpeft.qpa import save_adapter
from qpeft.qpa.bake import save_generator
from qpeft.qpa.optimizer import QPAOptimizer
from qpeft.records import (
    RECORD,
    RunRecord,
    RunSpec,
    final_row,
    holding,
    read_record,
    require_place,
    write_atomically,
    write_record,
)
from qpeft.records.drafts import ANY, sweep
from qpeft.records.lock import LOCK
from qpeft.records.place import LEAST_BYTES
from qpeft.records.signatures import kind_of
from qpeft.training.account import Trained, curve, qpa_optimizer, quantum, run_info, step_notes, train_info
from qpeft.training.callbacks import Checkpoints, Progress, Silent, Watch
from qpeft.training.checkpoints import checkpoints, resume_point
from qpeft.training.environment import meta_info
from qpeft.training.failures import failure_notes
from qpeft.training.fits import check_fit
from qpeft.training.guard import guarded
from qpeft.training.interrupt import Interrupt
from qpeft.training.measure import answer_notes, check_answers, data_notes, dataset_info, measure, probe
from qpeft.training.methods import Built, build_method, check_method, open_execution
from qpeft.training.models import Base, load_base
from qpeft.training.origin import ORIGIN, begin, check_origin
from qpeft.training.ranks import from_main, is_main, n_processes, writing_place
from qpeft.training.session import Loop, Session
from qpeft.training.spent import SPENT, ModulesSpent, Spent
from qpeft.training.trackers import Trackers

ADAPTER, CHECKPOINTS, PROBE = "adapter", "checkpoints", "probe.safetensors"
OWNER = "identity.txt"
# Files that are drafts before they are whole; killed runs leave drafts of them.
DRAFTED = (RECORD, ADAPTER, "samples.json", "error.txt", "report.html", "runs.csv")


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
    if is_main():
        tidy(folder, done is not None)
    if done is not None:
        return done
    require_place(folder)
    with guarded(folder, progress or Silent()) as shown:
        done = finished(spec, folder)  # by another process, since the look above
        if done is not None:
            return done
        followed = Trackers(report_to if is_main() else (), folder)
        with followed as trackers, writing_place(folder) as place, Interrupt() as interrupt:
            return new_run(spec, folder, place, shown, trackers, interrupt)


def new_run(
    spec: RunSpec, folder: Path, place: Path, progress: Progress, trackers: Trackers, interrupt: Interrupt
) -> RunRecord:
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
    built.begin(spec.method, data.train)
    folder.mkdir(parents=True, exist_ok=True)
    begin(folder / CHECKPOINTS, base.info, made_of, write=built.trained and is_main())
    for note in (*about, *built.notes):
        progress.note(note)
    session = Session(Watch(progress), interrupt)
    trained = train(spec, built, base, data, folder, session, trackers) if built.trained else None
    optimizer = qpa_optimizer(trained)
    if optimizer is not None:
        optimizer.finish()
    progress.phase("measure")
    metrics, blocks = measure(spec, built.model, base, data, place)
    failures = failure_notes(spec, built, base, data.valid, trained, metrics)
    for note in filter(kind_of, failures):
        progress.note(note)
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
        notes=[*about, *built.notes, *built.told(), *notes_after(spec, failures, optimizer)],
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
    begun, owner = folder / CHECKPOINTS / OWNER, owner_of(record.spec if record else spec)
    if record is None and begun.exists() and checkpoints(folder / CHECKPOINTS):
        owner = begun.read_text("utf-8")
    if owner not in (owner_of(spec), spec.identity()):
        raise RecordError(f"{folder} holds another run ({owner}); name another folder, or delete it to run this one")
    if record is not None:
        check_origin(record, folder)
    return record


def owner_of(spec: RunSpec) -> str:
    """The identity of a run with the default checkpoints: how many there are changes no number."""
    train = spec.train.model_copy(update={"checkpoint_steps": 0})
    return spec.model_copy(update={"train": train}).identity()


def tidy(folder: Path, done: bool) -> None:
    """Remove what killed sessions left behind: drafts, and the checkpoints and the lock of a run that is done."""
    sweep(folder, DRAFTED, ANY)
    sweep(folder / CHECKPOINTS, (OWNER, ORIGIN), ANY)
    if done:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        if (folder / LOCK).exists():
            with suppress(LockError, OSError), holding(folder):
                pass  # taking it over and giving it back removes a dead holder's


def train(
    spec: RunSpec, built: Built, base: Base, data: Encoded, folder: Path, session: Session, trackers: Trackers
) -> Trained:
    """Train through transformers.Trainer, from the last good checkpoint if there is one.

    Raises:
        KeyboardInterrupt: A signal came; a checkpoint holds what is done.
    """
    place, note = folder / CHECKPOINTS, session.watch.progress.note
    session.watch.progress.phase("train")
    # Weights once at the end, and in one checkpoint or two: the least that is going to be written.
    require_place(folder, LEAST_BYTES + built.trained_bytes() * (3 if spec.train.checkpoint_steps else 2))
    if is_main():
        begin_checkpoints(place, owner_of(spec))
    spent = Spent(place)
    if spent.note:
        note(spent.note)
    built.execution = dataclasses.replace(built.execution, told=spent)
    for monitor in built.monitors():
        monitor.tell = note
    modules = built.facts.sites(built.model) if built.qpa is None else []
    trainer = Loop(
        model=built.model,
        args=arguments(spec, place),
        train_dataset=features(data.train),
        data_collator=collate_for(spec.data, base.tokenizer),
        optimizer_cls_and_kwargs=built.optimizer(spec.train),
        callbacks=[
            session.watch,
            Checkpoints(session, spec.train.checkpoint_steps),
            *built.callbacks,
            *([ModulesSpent(spent, len(modules))] if modules else []),
            trackers,
        ],
    )
    trainer.remove_callback(PrinterCallback)
    session.trainer, session.resumed = trainer, from_main(resume_point(place, note) if is_main() else None)
    trainer.train(resume_from_checkpoint=str(session.resumed) if session.resumed else None)
    if session.stopped or session.interrupt.asked:
        note(f"stopped after step {trainer.state.global_step} of {spec.train.steps}; a checkpoint holds them")
        raise KeyboardInterrupt
    return Trained(trainer, session.watch, session.seconds, spent)


def begin_checkpoints(place: Path, owner: str) -> None:
    """Make the folder of a run's checkpoints, or go on in it; what another run has spent there is not this one's."""
    kept = place / OWNER
    if kept.exists() and kept.read_text("utf-8") != owner:
        (place / SPENT).unlink(missing_ok=True)
    write_atomically(kept, owner)


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
        save_strategy="no",  # `Checkpoints` does it
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


def notes_after(spec: RunSpec, failures: list[str], optimizer: QPAOptimizer | None) -> list[str]:
    """What is known once a run is done: of its processes, of what failed, of QPA's steps, of the answers."""
    told = [*notes_of_processes(spec), *failures, *step_notes(optimizer)]
    return [*told, *answer_notes(spec.eval.generation)]


def notes_of_processes(spec: RunSpec) -> list[str]:
    """How many rows a step had, where several processes trained."""
    rows = n_processes() * spec.train.batch_size * spec.train.gradient_accumulation
    return [f"{n_processes()} processes trained together: {rows} rows a step"] if n_processes() > 1 else []


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
