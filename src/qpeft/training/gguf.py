"""GGUF: a base model and its tokenizer from a .gguf file, as plain tensors, and what the file says beyond them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from qpeft.errors import ModelError, QpeftError, import_extra
from qpeft.training.catalogue import Place

# Splits of a byte-level vocabulary that transformers rebuilds as GPT-2's, and that are GPT-2's.
SAME_SPLIT = ("default", "gpt-2", "gpt2")
# Names of llama.cpp for GPT-2's split after every digit stands alone.
DIGITS = ("codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder")
INSTALL = "pip install 'qpeft[gguf]'"
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


# A model of at most so many bytes is kept to be copied for the next run: reading a file costs 10 to 20 s of processor.
KEPT_BYTES = 1 << 30


@dataclass(frozen=True)
class Header:
    """What stands before the tensors of a .gguf file.

    Attributes:
        values: Key and value of the metadata; of an array its length.
        tensors: Name and count of numbers of every tensor.
    """

    values: Mapping[str, Any]
    tensors: Mapping[str, int]

    @property
    def architecture(self) -> str:
        """The model type, by llama.cpp's name."""
        architecture: str = self.values["general.architecture"]
        return architecture


class File:
    """A .gguf file; each part is read once a process, and handed out as a copy of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.loaded: tuple[torch.dtype, Any, dict[str, Any]] | None = None

    @cached_property
    def header(self) -> Header:
        """Metadata and tensor names."""
        gguf = import_extra("gguf", f"{self.place.gguf} is read by the library gguf", INSTALL)
        with damage_told(self.place.path):
            reader = gguf.GGUFReader(self.place.path)
            values = {
                key: len(field.data) if gguf.GGUFValueType.ARRAY in field.types else field.contents()
                for key, field in reader.fields.items()
            }
            tensors = {tensor.name: int(tensor.n_elements) for tensor in reader.tensors}
            values["general.architecture"] = str(values["general.architecture"])
            return Header(values, tensors)

    @cached_property
    def config(self) -> Any:
        """The transformers config; copy it before it is changed."""
        with self.readable():
            return AutoConfig.from_pretrained(self.place.source, gguf_file=self.place.gguf)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer; copy it before it is changed."""
        with self.readable():
            return AutoTokenizer.from_pretrained(self.place.source, gguf_file=self.place.gguf)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """After the header was read, whatever transformers raises is about this file."""
        self.header  # noqa: B018 - a missing library or a damaged file is told before anything else
        with damage_told(self.place.path):
            yield

    def model(self, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
        """The model, and transformers' report of loading it."""
        if self.loaded is not None and self.loaded[0] == dtype:
            return deepcopy(self.loaded[1:])
        self.loaded = None
        config = getattr(transformers, "GgufConfig", None)
        # Where transformers could compute with packed weights it is told not to: those do not train.
        options = {} if config is None else {"quantization_config": config(dequantize=True)}
        with self.readable():
            model, report = AutoModelForCausalLM.from_pretrained(
                self.place.source,
                gguf_file=self.place.gguf,
                config=deepcopy(self.config),
                dtype=dtype,
                output_loading_info=True,
                **options,
            )
        unmark(model)
        # peft writes this into the adapter's config, as what it was trained on.
        model.name_or_path = model.config._name_or_path = str(self.place.path)
        report["unexpected_keys"] = {*report["unexpected_keys"], *unplaced(self.header, model)}
        if sum(p.numel() * p.element_size() for p in model.parameters()) > KEPT_BYTES:
            return model, report
        self.loaded = (dtype, model, report)
        return deepcopy((model, report))


def open_file(place: Place) -> File:
    """The file of a place, as read before if it has not changed since."""
    stat = place.path.stat()
    return _file(place, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=1)
def _file(place: Place, stamp: tuple[int, int]) -> File:
    return File(place)


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn what a damaged file makes a reader raise, which can be anything, into a ModelError."""
    try:
        yield
    except QpeftError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path} must be a whole .gguf file of a causal language model that transformers reads; "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}. Fetch the file again, or give a "
            f"folder with safetensors"
        ) from error


def load_gguf(place: Place, dtype: torch.dtype) -> tuple[Any, dict[str, Any], list[str]]:
    """The model of a file, dequantised by transformers; transformers' report of loading it; notes.

    Raises:
        MissingExtraError: The library gguf is not installed.
        ModelError: The file is damaged, or transformers does not read its architecture.
    """
    file = open_file(place)
    model, report = file.model(dtype)
    return model, report, differences(file.header, file.tokenizer, model.config)


def load_gguf_tokenizer(place: Place) -> Any:
    """The tokenizer of a file; errors as of `load_gguf`."""
    return deepcopy(open_file(place).tokenizer)


def load_gguf_config(place: Place) -> Any:
    """The transformers config of a file; errors as of `load_gguf`."""
    return deepcopy(open_file(place).config)


def unmark(model: Any) -> None:
    """Take the marks of a quantised model off a dequantised one; with them it would neither train nor save."""
    model.hf_quantizer, model.is_quantized = None, False
    for holder, mark in ((model.config, "quantization_config"), (model, "quantization_method")):
        if hasattr(holder, mark):
            delattr(holder, mark)


def unplaced(header: Header, model: Any) -> list[str]:
    """Tensors of a file that transformers left out, by name; none where the file and the model hold as many numbers.

    A head that the file repeats and the model ties to its embedding is not among them.
    """
    spare = sum(header.tensors.values()) - sum(p.numel() for p in model.parameters())
    if model.config.tie_word_embeddings:
        spare -= header.tensors.get("output.weight", 0)
    if spare <= 0:
        return []
    known = mapped(header.architecture, model)
    return sorted(name for name in header.tensors if name not in known and name != "output.weight") or ["unknown"]


def mapped(architecture: str, model: Any) -> set[str]:
    """The names that gguf has for the tensors of a transformers model."""
    gguf = import_extra("gguf", "a .gguf file is read by the library gguf", INSTALL)
    kind = next((key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture), None)
    if kind is None:
        return set()
    names = gguf.get_tensor_name_map(kind, model.config.num_hidden_layers)
    found = (names.get_name(name, try_suffixes=(".weight", ".bias")) for name in model.state_dict())
    return {name for name in found if name is not None}


def differences(header: Header, tokenizer: Any, config: Any = None) -> list[str]:
    """What a file says about text and positions that the loaded tokenizer and config do not, in plain sentences.

    Args:
        header: Of the file.
        tokenizer: As transformers rebuilt it.
        config: As transformers rebuilt it; None: the tokenizer alone is compared.
    """
    said = [*split_differences(header, tokenizer), *special_differences(header, tokenizer)]
    template = header.values.get("tokenizer.chat_template")
    if template != getattr(tokenizer, "chat_template", None):
        said.append("its chat template is not the tokenizer's")
    scaling = header.values.get(f"{header.architecture}.rope.scaling.type")
    if config is not None and scaling not in (None, "none"):
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type", "default") == "default":
            said.append(f"it scales rotary positions ({scaling}), which transformers does not read from it")
    return [f"the .gguf file differs from what transformers made of it: {text}" for text in said]


def split_differences(header: Header, tokenizer: Any) -> Iterable[str]:
    """Whether a byte-level tokenizer splits text as the file says before it merges."""
    named = header.values.get("tokenizer.ggml.pre", "default")
    if header.values.get("tokenizer.ggml.model") != "gpt2" or named in SAME_SPLIT:
        return
    splitter = str(tokenizer.backend_tokenizer.pre_tokenizer)
    if "Split(" in splitter or "Digits(" in splitter:
        return
    what = "digits do not stand alone before merging" if named in DIGITS else "words may be cut in other places"
    yield f"its pre-tokenizer {named!r} became GPT-2's; {what}"


def special_differences(header: Header, tokenizer: Any) -> Iterable[str]:
    """Special tokens, the first token of a text and the size of the vocabulary, file against tokenizer."""
    for ours, theirs in SPECIAL.items():
        wanted = header.values.get(f"tokenizer.ggml.{theirs}_token_id")
        found = getattr(tokenizer, f"{ours}_token_id")
        if wanted is not None and wanted != found:
            yield f"its {ours} token is {wanted}, the tokenizer's {found}"
    begins = header.values.get("tokenizer.ggml.add_bos_token")
    first = tokenizer("a").input_ids[:1]
    if begins is not None and bool(begins) != (first == [tokenizer.bos_token_id]):
        yield f"its texts {'begin' if begins else 'do not begin'} with the bos token, the tokenizer's differ"
    size = header.values.get("tokenizer.ggml.tokens")
    if size is not None and size != len(tokenizer):
        yield f"it has {size} tokens, the tokenizer {len(tokenizer)}"
