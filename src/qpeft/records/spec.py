"""RunSpec: everything that decides the result of one training run, and its identity."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SPEC_VERSION = 1
# What torch, numpy and transformers all take as a seed, and a count that no machine works off: far above it numbers
# no longer fit where libraries keep them.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
MOST = 10**9


class Strict(BaseModel):
    """A frozen pydantic model that refuses unknown keys."""

    # A diverged run has an infinite perplexity, which plain JSON cannot hold.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


def later(default: Any, description: str) -> Any:
    """A field added after the first records were written; the default must mean what every run did before.

    It is not written where it has its default, so a spec that does not use it keeps its JSON and its identity.
    """
    return Field(default, description=description, exclude_if=lambda value: bool(value == default))


class ModelSpec(Strict):
    """The base model."""

    name: str = Field(
        "embedded", description="bundled or another name of `qpeft models`, a folder, a .gguf file, or a hub name"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="dtype the base is loaded in")
    revision: str | None = Field(None, description="hub revision")
    unfit: tuple[str, ...] = later(
        (),
        "tensors, by name or pattern with *, that may be missing in the model's files (they start random) or be "
        "left over; any other is an error",
    )

    @field_validator("name")
    @classmethod
    def one_name(cls, name: str) -> str:
        """The bundled model by the name of the first records, so that both names have one identity."""
        return "embedded" if name == "bundled" else name


# A table's columns may be named by numbers, which YAML reads as such.
ColumnName = Annotated[str, Field(coerce_numbers_to_str=True)]


class DataSpec(Strict):
    """The texts, how they are cut into rows, and which tokens count in the loss."""

    name: str = Field("embedded", description="'embedded', a folder, a file, or a hub name")
    format: Literal["auto", "text", "alpaca", "messages", "sharegpt", "prompt_completion"] = "auto"
    layout: Literal["rows", "packed"] = Field("rows", description="one row a text, or concatenated and cut")
    loss: Literal["masked", "padded"] = Field(
        "masked", description="masked: real tokens only; padded: padding counts too, as the QPA authors do"
    )
    max_length: int = Field(128, ge=8, le=MOST, description="tokens a row")
    drop_empty: bool = Field(True, description="leave empty lines out")
    train_rows: int | None = Field(None, ge=1, le=MOST, description="use only the first rows of the training split")
    eval_rows: int | None = Field(None, ge=1, le=MOST, description="use only the first rows of validation and test")
    seed: Seed = Field(0, description="seed of the split when the data has none of its own")
    columns: dict[str, ColumnName] = later({}, "columns of one's own: name that is read -> name in the data")
    template: Literal["auto", "chat", "plain"] = later(
        "auto", "auto: the tokenizer's chat template where it has one; chat: that or an error; plain: never"
    )
    end_token: Literal["count", "ignore"] = later(
        "count", "whether the end token of a plain text counts in loss and perplexity; the other figure is told, too"
    )

    @model_validator(mode="after")
    def one_rule_for_the_end(self) -> "DataSpec":
        """The padded loss counts every position, the end token's and its copies' among them."""
        if self.end_token == "ignore" and self.loss == "padded":
            raise ValueError("end_token 'ignore' needs loss 'masked': the padded loss counts every position")
        return self

    def __hash__(self) -> int:
        """Of the content: a dict has no hash of its own."""
        return hash(self.model_dump_json())


class TrainSpec(Strict):
    """The optimisation of one run; equal for every method of a comparison unless a method says otherwise."""

    steps: int = Field(200, ge=1, le=MOST, description="optimizer steps")
    batch_size: int = Field(8, ge=1, le=MOST, description="rows a micro-batch")
    gradient_accumulation: int = Field(1, ge=1, le=MOST)
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    adam_eps: float = Field(1e-8, gt=0, allow_inf_nan=False)
    scheduler: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int = Field(0, ge=0, le=MOST)
    max_grad_norm: float = Field(1.0, ge=0, allow_inf_nan=False, description="0 switches clipping off")
    precision: Literal["float32", "bf16"] = "float32"
    gradient_checkpointing: bool = False
    checkpoint_steps: int = Field(
        0, ge=0, le=MOST, description="steps between checkpoints, besides those every few minutes; 0: no others"
    )
    log_steps: int = Field(5, ge=1, le=MOST)


class BertScoreSpec(Strict):
    """The encoder of BERTScore, and what is made of its hidden states."""

    encoder: str = Field(description="a folder with an encoder and its tokenizer, or a hub name")
    layer: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="layer compared; none: the one bert-score has tuned for this encoder, else the last",
    )
    rescale: bool = Field(False, description="rescale with the English baseline bert-score has for this encoder")


class GenerationSpec(Strict):
    """Answers written by the model, greedily, and scored by BLEU, ROUGE and, with an encoder, BERTScore."""

    rows: int | None = Field(None, ge=1, le=MOST, description="answer only the first rows; none: all")
    max_new_tokens: int = Field(128, ge=1, le=MOST, description="the most tokens of an answer")
    batch_size: int = Field(8, ge=1, le=MOST, description="prompts a batch; in half precision it can change answers")
    stop: tuple[str, ...] = Field((), description="tokens that end an answer, besides the end token")
    bertscore: BertScoreSpec | None = Field(None, description="none: BERTScore is left out")


class EvalSpec(Strict):
    """What is measured, and how."""

    batch_size: int = Field(16, ge=1, le=MOST)
    stride: int | None = Field(None, ge=1, le=MOST, description="new tokens a window for rows longer than max_length")
    padded: bool = Field(True, description="also measure the papers' padded perplexity")
    token_accuracy: bool = later(False, "also measure token accuracy, in the same pass as perplexity")
    generation: GenerationSpec | None = later(None, "answers to the test prompts, scored; none: no answers")
    metrics: tuple[str, ...] = later((), "names of metrics that plug-ins registered, measured on every split")


class ExecutionSpec(Strict):
    """Where the circuits of a method run, and how the gradient of their angles is found."""

    backend: str = Field("exact", description="exact, sampled:shots=20x, noisy:device=torino,shots=20x, aer:..., ...")
    gradient: str = Field("auto", description="auto, autograd, surrogate, shift, spsa, nelder-mead, cobyla or none")


class MethodSpec(Strict):
    """One method: a name of the dict of methods, its own options, and the method it works over."""

    name: str = Field(description="a name of `qpeft.training.methods.METHODS`: base, full, lora, qaa, qpa, ...")
    options: dict[str, Any] = Field(default_factory=dict, description="fields of the method's config")
    over: "MethodSpec | None" = Field(None, description="the method whose numbers QPA generates")


class RunSpec(Strict):
    """One run: model, data, training, method, seed."""

    method: MethodSpec
    label: str = Field(description="the name of the row in the comparison table")
    seed: Seed = 0
    model: ModelSpec = ModelSpec()
    data: DataSpec = DataSpec()
    train: TrainSpec = TrainSpec()
    eval: EvalSpec = EvalSpec()
    execution: ExecutionSpec = later(ExecutionSpec(), "exact circuits, where it is not given")
    purpose: Literal["final", "tune"] = Field("final", description="tune runs are measured on validation only")

    def identity(self) -> str:
        """Sixteen hex digits of the sha256 of the canonical JSON; equal specs have equal identities.

        >>> a = RunSpec(method=MethodSpec(name="frozen"), label="base")
        >>> a.identity() == RunSpec.model_validate(a.model_dump()).identity()
        True
        """
        body = {"version": SPEC_VERSION, **self.model_dump(mode="json")}
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def folder(self) -> str:
        """The name of the run's folder: readable first, unique at the end."""
        readable = "".join(c if c.isalnum() or c in "-." else "-" for c in self.label)
        return f"{readable}-s{self.seed}-{self.purpose}-{self.identity()[:8]}"


class Comparison(Strict):
    """Several methods on equal terms: the same data order a seed, the same grid of learning rates, the same steps."""

    name: str
    title: str
    baseline: str = Field(description="label every other method is compared with")
    runs: tuple[RunSpec, ...] = Field(description="one spec a label; seed and learning rate are filled in")
    seeds: tuple[Seed, ...] = (0, 1, 2)
    learning_rates: tuple[float, ...] = Field((), description="grid for every trained method; empty: no tuning")
    tune_seed: int = Field(1000, description="seed of the tuning runs, none of the final ones")

    def tune_specs(self, run: RunSpec) -> list[RunSpec]:
        """One tuning run for each learning rate of the grid."""
        return [
            run.model_copy(
                update={
                    "seed": self.tune_seed,
                    "purpose": "tune",
                    "train": run.train.model_copy(update={"learning_rate": rate}),
                }
            )
            for rate in self.learning_rates
        ]

    def final_specs(self, run: RunSpec, learning_rate: float | None) -> list[RunSpec]:
        """One final run for each seed, at the learning rate validation chose."""
        rate = run.train.learning_rate if learning_rate is None else learning_rate
        train = run.train.model_copy(update={"learning_rate": rate})
        return [run.model_copy(update={"seed": seed, "train": train}) for seed in self.seeds]
