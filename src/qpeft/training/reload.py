"""Come back to a finished run: load its adapter with plain peft, measure it again, export it, prove the export."""

import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from qpeft.data import encode_texts, load_texts
from qpeft.errors import ConfigError, ExportError, RecordError, ResourceError
from qpeft.foreign import as_ours, ours
from qpeft.method import METHODS, of_kind
from qpeft.qpa import save_adapter
from qpeft.quantum import Backend, open_backend
from qpeft.records import RECORD, Metric, ModelSpec, RunRecord, read_record, require_place
from qpeft.records.drafts import RANDOM, draft_prefix, sweep
from qpeft.records.spec import GenerationSpec
from qpeft.registry import plugins
from qpeft.training.digests import data_files
from qpeft.training.measure import Split, measure_answers, measure_split, probe_logits
from qpeft.training.methods import check_method, whole_model
from qpeft.training.models import Base, load_base, untie_for
from qpeft.training.origin import check_base, check_texts
from qpeft.training.run import ADAPTER, PROBE

# Largest difference of a logit, relative to the largest logit: another device or thread count adds in another order,
# and merging re-associates W x + B A x to (W + B A) x and rounds W + B A to the base model's dtype.
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its logits are from those at the end of training."""

    kind: str
    difference: float


def open_run(folder: Path) -> tuple[RunRecord, Base, Any]:
    """The record, the base and the adapted model of a finished run.

    Raises:
        RecordError: The folder holds no finished run, or its base is no longer the one it was trained on.
        ExportError: The adapter's files are missing or damaged.
    """
    record = read_record(folder / RECORD)
    check_method(record.spec.method)
    if whole_model(record.spec.method):
        whole = record.spec.model.model_copy(update={"name": str(folder / "model"), "revision": None})
        return record, load_base(whole), None
    base = load_base(record.spec.model)
    check_base(record.meta_info.model_info, base.info, folder)
    if record.run_info.peft_config is None:
        return record, base, base.model.requires_grad_(False)
    return record, base, load_adapter(base, folder / ADAPTER)


def load_adapter(base: Base, folder: Path) -> Any:
    """Put a saved adapter on a base model, as any user of peft would.

    Raises:
        ExportError: A file is missing, damaged, or does not fit the base.
    """
    missing = [name for name in ("adapter_config.json", "adapter_model.safetensors") if not (folder / name).exists()]
    if missing:
        raise ExportError(
            f"{folder} must hold adapter_config.json and adapter_model.safetensors; {missing[0]} is missing"
        )
    plugins()  # the type may be one of theirs
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        untie_for(base.model, config)
        with warnings.catch_warnings():
            # peft only warns where numbers of the adapter are missing, and goes on with random ones.
            warnings.filterwarnings("error", ".*missing adapter keys")
            return peft.PeftModel.from_pretrained(base.model, str(folder)).eval()
    except Exception as error:
        known = as_ours(error)
        if isinstance(known, ResourceError):
            raise known from error
        raise ExportError(f"the adapter in {folder} cannot be loaded: {type(error).__name__}: {error}") from error


@ours("measuring")
def measure_saved(
    folder: Path,
    *,
    data: str | None,
    split: Split,
    padded: bool,
    token_accuracy: bool = False,
    generation: GenerationSpec | None = None,
    backend: str | None = None,
) -> list[Metric]:
    """What `measure` finds, of a saved run on one split of its own or of other data.

    With ``generation`` the model also answers the split's prompts, and the first answers are kept in the folder. With
    ``backend`` the circuits of QAA's modules run there, with the run's seed.

    Raises:
        ConfigError: The backend cannot be opened, or the model has no circuit left to run on it.
        RecordError: The base, or where no other data are named the data, are not those of the run.
    """
    place = None if backend is None else open_backend(backend)
    record, base, adapted = open_run(folder)
    spec = record.spec.data.model_copy(update={"name": data} if data else {})
    texts = load_texts(spec, base.tokenizer)
    if data is None:
        check_texts(record.meta_info.dataset_info, {"sha256": texts.sha256, "files": data_files(spec.name)}, folder)
    encoded = encode_texts(texts, base.tokenizer, spec)
    own = record.spec.eval
    asked = {"padded": padded, "token_accuracy": token_accuracy or own.token_accuracy}
    evaluation = own.model_copy(update={**asked, "generation": generation or own.generation})
    run = record.spec.model_copy(update={"data": spec, "eval": evaluation})
    model, rows = base.model if adapted is None else adapted, getattr(encoded, split)
    if place is not None:
        move(model, place, record)
    answers = measure_answers(run, model, base, rows, split, folder) if generation else []
    return [*measure_split(run, model, base, rows, split)[0], *answers]


def move(model: Any, place: Backend, record: RunRecord) -> None:
    """Run the circuits of a saved model on a backend.

    Raises:
        ConfigError: There is none.
    """
    facts = of_kind(kind_of(model))
    if facts.move is None or not facts.sites(model):
        raise ConfigError(
            f"--backend moves the circuits inside a model, which {movable()} has; a run of "
            f"{record.spec.method.name!r} has none (QPA's circuit is done once its adapter is written)"
        )
    facts.move(model, place, record.seed)


def movable() -> str:
    """The methods with circuits inside the model."""
    return ", ".join(row.kind for row in METHODS.values() if row.move is not None)


def kind_of(model: Any) -> str | None:
    """The type of a model's adapter, as peft names it; None without one."""
    config = getattr(model, "active_peft_config", None)
    kind = getattr(config, "peft_type", None)
    return getattr(kind, "value", kind)


@ours("the export")
def export_run(folder: Path, out: Path, *, merge: bool = False, pruned: bool = False, lora: bool = False) -> Exported:
    """Write a run's adapter, or its merged model, to a new folder after checking what it computes.

    Args:
        folder: A finished run.
        out: Must not exist; appears only when the check has passed.
        merge: Merge into a full model instead of copying the adapter.
        pruned: Write the ranks of a SoRA whose gates are not zero as an ordinary LoRA.
        lora: Write a core as an ordinary LoRA.

    Raises:
        ConfigError: More than one was asked for.
        RecordError: The run has no adapter.
        ExportError: The folder exists, the method cannot be merged or written so, or the logits differ.
    """
    if merge + pruned + lora > 1:
        raise ConfigError("export takes one of --merge or --prune or --lora, not several: each writes something else")
    if out.exists():
        raise ExportError(f"the folder to write must be new; {out} exists")
    check_exportable(folder)
    require_place(out.parent)
    record, base, adapted = open_run(folder)
    probe, tolerance = load_probe(folder / PROBE), TOLERANCES[record.spec.model.dtype]
    loaded = probe_logits(adapted, probe["input_ids"])
    check_equal(loaded, probe["logits"], tolerance, "the saved adapter")
    out.parent.mkdir(parents=True, exist_ok=True)
    sweep(out.parent, [out.name], RANDOM)
    draft = Path(tempfile.mkdtemp(dir=out.parent, prefix=draft_prefix(out)))
    try:
        if merge:
            difference = write_merged(adapted, base, probe, draft, tolerance)
        elif pruned or lora:
            stock = stock_lora(adapted, "prune" if pruned else "lora")
            difference = write_stock(stock, record.spec.model, probe, draft, tolerance)
        else:
            shutil.copytree(folder / ADAPTER, draft, dirs_exist_ok=True)
            difference = (loaded - probe["logits"]).abs().max().item()
        draft.chmod(0o755)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    kinds = {"merged model": merge, "pruned LoRA": pruned, "LoRA": lora}
    return Exported(next((kind for kind, asked in kinds.items() if asked), "peft adapter"), difference)


def check_exportable(folder: Path) -> None:
    """Refuse a run without an adapter before any model is loaded.

    Raises:
        RecordError: There is no finished run, or its method has no adapter.
    """
    record = read_record(folder / RECORD)
    if record.run_info.peft_config is None:
        name, whole = record.spec.method.name, whole_model(record.spec.method)
        home = f"the whole trained model is in {folder / 'model'}" if whole else "the base model is unchanged"
        raise RecordError(f"{folder} is a run of {name!r}, which has no adapter to export; {home}")


def load_probe(path: Path) -> dict[str, torch.Tensor]:
    """The token ids and the logits at the end of training.

    Raises:
        ExportError: The file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ExportError(
            f"{path} must hold the logits at the end of training, which exports are checked against: {error}; "
            f"train the run again"
        ) from error


def write_merged(adapted: Any, base: Base, probe: dict[str, torch.Tensor], draft: Path, tolerance: float) -> float:
    """Merge, write, load again, compare; the largest difference of a logit."""
    try:
        merged = adapted.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, ValueError) as error:
        kind = adapted.active_peft_config.peft_type
        raise ExportError(
            f"an adapter of type {getattr(kind, 'value', kind)} cannot be merged into the model ({error}); "
            f"export it without --merge"
        ) from error
    merged.save_pretrained(draft)
    base.tokenizer.save_pretrained(draft)
    again = type(merged).from_pretrained(draft, dtype=merged.dtype)
    logits = probe_logits(again, probe["input_ids"])
    check_equal(logits, probe["logits"], tolerance, "the merged model")
    return (logits - probe["logits"]).abs().max().item()


def stock_lora(adapted: Any, flag: str) -> Any:
    """The ordinary LoRA that an adapter of this type is.

    Raises:
        ExportError: There is no such way for its type.
    """
    kind = kind_of(adapted)
    turn = of_kind(kind).loras.get(flag)
    if turn is None:
        able = [row.kind for row in METHODS.values() if flag in row.loras]
        raise ExportError(
            f"--{flag} writes an adapter of type {' or '.join(able)} as an ordinary LoRA; this one is of type {kind}; "
            f"export it without --{flag}"
        )
    return turn(adapted)


def write_stock(stock: Any, model: ModelSpec, probe: dict[str, torch.Tensor], folder: Path, tolerance: float) -> float:
    """Write a LoRA, load it with plain peft on a fresh base, compare; the largest difference of a logit."""
    save_adapter(stock, folder)
    logits = probe_logits(load_adapter(load_base(model), folder), probe["input_ids"])
    check_equal(logits, probe["logits"], tolerance, "the LoRA")
    return (logits - probe["logits"]).abs().max().item()


def check_equal(found: torch.Tensor, wanted: torch.Tensor, tolerance: float, what: str) -> None:
    """Refuse an export whose logits are not those of the trained model.

    Raises:
        ExportError: They differ by more than the tolerance, relative to the largest logit.
    """
    difference = (found - wanted).abs().max().item()
    if not difference <= tolerance * wanted.abs().max().item():
        raise ExportError(
            f"{what} computes other logits than the trained model did (by {difference:.2e}); nothing was exported"
        )
