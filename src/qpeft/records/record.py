"""RunRecord: what one run was, what it measured and what it cost, in peft's method_comparison layout plus ours."""

from typing import Any, Literal

from pydantic import Field

from qpeft.records.spec import RunSpec, Strict, later


class Metric(Strict):
    """One measured number and the exact definition it was measured by."""

    name: str = Field(description="perplexity, perplexity_padded, ...")
    split: Literal["train", "valid", "test"]
    value: float
    signature: str = Field(description="the definition: masking, weighting, lengths, counts")


class Blocks(Strict):
    """Sums over blocks of consecutive evaluation rows, so that intervals can weigh the text."""

    split: Literal["valid", "test"]
    nll: list[float] = Field(description="summed negative log-likelihood of each block, nats")
    tokens: list[int] = Field(description="counted tokens of each block")


class CurvePoint(Strict):
    """One point of the training curve."""

    step: int
    loss: float
    learning_rate: float


class Quantum(Strict):
    """The circuit of a run; absent for classical methods."""

    n_qubits: int
    depth: int
    ansatz: str
    entangler: str
    source: str = Field(description="circuit, or the twin that stood in for it: frozen, table, none, mlp, ...")
    preset: str
    n_angles: int = Field(description="angles of one circuit")
    n_circuits: int = Field(1, description="circuits of the model, one a module for QAA")
    n_generated: int = Field(0, description="QPA's m: adapter numbers the generator writes")
    n_chunks: int = Field(0, description="of QPA's generator")
    n_mlp: int = Field(0, description="numbers QPA generates from one basis state")
    backend: str = "exact"
    shots: int | None = Field(None, description="measurements of one circuit; None: exact probabilities")
    noise: str | None = None
    grad_method: str = "autograd"
    circuit_executions: int = Field(
        description="circuits a run without a break takes in training, those of gradients included"
    )
    executions_spent: int | None = later(
        None, "circuits asked of the backend by all processes and sessions, killed ones included; None: not counted"
    )
    shots_spent: int | None = later(
        None, "measurements of all processes and sessions, killed ones included; None: exact probabilities"
    )
    shots_needed: int | None = later(
        None, "measurements a run without a break takes in one process; None: exact, or as many as were spent"
    )
    backend_details: dict[str, str | int | float] | None = later(
        None, "what the backend tells about itself: layout, calibration date, level, seed, gate counts"
    )


class RunInfo(Strict):
    """When and how the run was made (peft: run_info)."""

    created_at: str
    total_time: float = Field(description="seconds from start to record; of a resumed run, its last session")
    experiment_name: str = Field(description="method/folder of the run")
    peft_branch: str | None = later(None, "the installed peft, as the tag of its release; peft's own runs: a branch")
    train_config: dict[str, Any]
    peft_config: dict[str, Any] | None
    error_msg: str = ""


class TrainInfo(Strict):
    """Sizes and cost (peft: train_info)."""

    accelerator_memory_max: int = Field(description="bytes; 0 on CPU")
    accelerator_memory_reserved_avg: int | None = later(
        None, "bytes reserved after a step, mean over the steps; 0 on CPU; None: not measured"
    )
    accelerator_memory_reserved_99th: int | None = later(None, "the same, 99th percentile")
    process_memory_max: int = Field(description="bytes of resident memory at its peak")
    train_time: float = Field(description="seconds inside the training loop, steps that a kill lost left out")
    step_time_median: float = Field(description="seconds of one optimizer step, median")
    optimizer_time_median: float | None = later(
        None, "seconds of the optimizer's part of a step, QPA's generator included; None: not measured"
    )
    file_size: int = Field(description="bytes of the saved adapter")
    num_trainable_params: int = Field(description="numbers the optimizer really trains")
    num_adapter_params: int = Field(description="numbers of the adapter that is saved")
    num_total_params: int
    effective_params: int | None = Field(
        None, description="numbers left when an affine mapping collapses, or zero gates are pruned"
    )
    train_tokens: int
    status: Literal["success", "failed"]
    metrics: list[dict[str, Any]] = Field(default_factory=list, description="peft's per-evaluation rows")


class MetaInfo(Strict):
    """The environment (peft: meta_info)."""

    model_info: dict[str, Any]
    dataset_info: dict[str, Any]
    package_info: dict[str, str | None]
    system_info: dict[str, Any]
    pytorch_info: str


class RunRecord(Strict):
    """Everything known about one finished run."""

    version: Literal[1] = 1
    identity: str
    seed: int
    spec: RunSpec
    run_info: RunInfo
    train_info: TrainInfo
    meta_info: MetaInfo
    metrics: list[Metric]
    blocks: list[Blocks] = Field(default_factory=list)
    curve: list[CurvePoint] = Field(default_factory=list)
    quantum: Quantum | None = None
    notes: list[str] = Field(default_factory=list, description="what was done to the model before training")

    def metric(self, name: str, split: str = "test") -> float | None:
        """The value of one metric, or None where it was not measured."""
        return next((m.value for m in self.metrics if m.name == name and m.split == split), None)

    def block(self, split: str) -> Blocks | None:
        """The block sums of one split, or None where it was not measured."""
        return next((b for b in self.blocks if b.split == split), None)
