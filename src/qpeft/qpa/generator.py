"""Generator: circuit and mapping together, from (theta, b) to the m numbers of an adapter (Eqs. 5-8)."""

import dataclasses

import torch
from torch import nn

from qpeft.circuits import n_chunks, qubits_for_chunks
from qpeft.qpa.config import QPAConfig
from qpeft.qpa.mapping import Mapping, build_mapping, effective_size
from qpeft.qpa.sources import CircuitSource, basis_bits, build_source
from qpeft.quantum import Execution
from qpeft.quantum.meter import mixed


class ChunkGenerator(nn.Module):
    """One circuit and one mapping that write ``size`` consecutive numbers in chunks of n_mlp."""

    bits: torch.Tensor
    order: torch.Tensor
    mapping: Mapping

    def __init__(self, size: int, config: QPAConfig, execution: Execution) -> None:
        """Draw angles, mapping weights and the basis order from torch's current generator."""
        super().__init__()
        self.lay_out(size, config)
        source = build_source(config, self.n_qubits, execution)
        inputs = self.n_qubits + (source is not None)
        self.source = source
        self.mapping = build_mapping(
            inputs, config.widths or (), config.n_mlp, str(config.activation), whiten=config.whiten
        )
        self.register_buffer("bits", basis_bits(self.n_qubits), persistent=False)
        self.register_buffer("order", torch.arange(2**self.n_qubits))
        if config.basis == "fixed":
            self.redraw(None)
        if config.whiten:
            with torch.no_grad():
                self.mapping.whiten(self._rows())

    def lay_out(self, size: int, config: QPAConfig) -> None:
        """Fix how many numbers are generated, in how many chunks, from how many qubits."""
        self.size, self.config = size, config
        self.n_chunks = n_chunks(size, config.n_mlp)
        self.n_qubits = qubits_for_chunks(size, config.n_mlp)

    def redraw(self, generator: torch.Generator | None) -> None:
        """Draw a new random order of the basis rows."""
        self.order = torch.randperm(len(self.order), generator=generator).to(self.order.device)

    def _rows(self, *, mean_basis: bool = False) -> torch.Tensor:
        """The mapping's input, a row a chunk, shape (nch, N) or, with a source, (nch, N + 1)."""
        bits = self.bits[self.order[: self.n_chunks]]
        if mean_basis:
            bits = torch.zeros_like(bits)
        return bits if self.source is None else torch.cat([bits, self.source()[: self.n_chunks, None]], dim=1)

    @property
    def n_effective(self) -> int:
        """Trained numbers that remain when an activation-free mapping is collapsed to one affine layer."""
        inputs = self.n_qubits + (self.source is not None)
        mapping = sum(p.numel() for p in self.mapping.parameters())
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        config = self.config
        return trained - mapping + effective_size(inputs, config.widths or (), config.n_mlp, str(config.activation))

    def forward(self, *, mean_basis: bool = False) -> torch.Tensor:
        """The numbers, shape (size,); mean_basis replaces the bits by their mean over all orders, zero."""
        chunks: torch.Tensor = self.mapping(self._rows(mean_basis=mean_basis))  # (nch, n_mlp)
        if self.config.layout == "interleaved":
            chunks = chunks.T
        flat = chunks.reshape(-1)[: self.size]
        return flat - flat.mean() if self.config.center else flat


class Generator(nn.Module):
    """All m numbers, from one ChunkGenerator (the paper) or several side by side.

    >>> from qpeft.qpa.config import QPAConfig
    >>> released = Generator(4 * (768 + 50257), QPAConfig(n_mlp=2048, preset="released"))  # GPT-2 head, rank 4
    >>> released.n_qubits, released.n_trainable  # Table 8 of arXiv:2410.09846
    (7, 106264)
    """

    def __init__(self, m: int, config: QPAConfig, execution: Execution | None = None) -> None:
        """Build for m numbers; everything random comes from config.seed and leaves torch's generator alone."""
        super().__init__()
        self.m, self.config = m, config.resolved()
        pieces = min(self.config.n_generators, m)
        sizes = [m // pieces + (i < m % pieces) for i in range(pieces)]
        self.config = self.config.of_sizes(qubits_for_chunks(size, config.n_mlp) for size in sizes)
        self.execution = execution or Execution()
        self.orders = torch.Generator().manual_seed(self.config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            self.parts = nn.ModuleList(self._part(size, place) for place, size in enumerate(sizes))

    def _part(self, size: int, place: int) -> ChunkGenerator:
        """What writes one stretch of the numbers."""
        if self.config.source == "hash":
            from qpeft.qpa.hashed import HashedGenerator  # a ChunkGenerator itself

            return HashedGenerator(size, self.config, self._execution(place), mixed(self.config.seed, place))
        return ChunkGenerator(size, self.config, self._execution(place))

    def _execution(self, place: int) -> Execution:
        """The execution of one part; no two parts draw the same shots."""
        seed = mixed(self.execution.seed, self.config.seed, place)
        return dataclasses.replace(self.execution, seed=seed)

    def chunk_generators(self) -> list[ChunkGenerator]:
        """The parts, typed."""
        return [part for part in self.parts if isinstance(part, ChunkGenerator)]

    def redraw(self) -> None:
        """Before each evaluation of the released preset: a new random basis order."""
        if self.config.basis == "random":
            for part in self.chunk_generators():
                part.redraw(self.orders)

    def forward(self, *, mean_basis: bool = False) -> torch.Tensor:
        """The m generated numbers, shape (m,)."""
        vectors = [part(mean_basis=mean_basis) for part in self.chunk_generators()]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors)  # cat would copy all m numbers

    @property
    def n_qubits(self) -> int:
        """Qubits of the (largest) circuit."""
        return max(part.n_qubits for part in self.chunk_generators())

    @property
    def n_trainable(self) -> int:
        """Numbers that are trained: angles and mapping weights."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def circuit_sources(self) -> list[CircuitSource]:
        """The circuits, trained or frozen; none where a twin has none."""
        return [part.source for part in self.chunk_generators() if isinstance(part.source, CircuitSource)]

    def rewind(self, *, counted: bool = True) -> None:
        """Let the next evaluation repeat the last one, shots included, and add to the counters or not."""
        for source in self.circuit_sources():
            source.executor.rewind(counted=counted)

    @property
    def evaluated(self) -> list[tuple[int, int]]:
        """For each circuit how often it was asked for and how often it was run; tells states of one run apart."""
        executors = [source.executor for source in self.circuit_sources()]
        return [(executor.age, executor.meter.circuits) for executor in executors]

    @property
    def n_angles(self) -> int:
        """Circuit angles, trained or frozen; zero where a twin has no circuit."""
        return sum(source.angles.numel() for source in self.circuit_sources())

    @property
    def n_effective(self) -> int:
        """Numbers that remain when an activation-free mapping is collapsed to one affine layer."""
        return sum(part.n_effective for part in self.chunk_generators())

    @property
    def executions(self) -> int:
        """Circuits run so far, those of gradients included; after a resume as many as without."""
        return sum(source.executor.meter.circuits for source in self.circuit_sources())

    @property
    def shots_spent(self) -> int:
        """Measurements so far, counted in the same way; zero where probabilities are exact."""
        return sum(source.executor.meter.shots_spent for source in self.circuit_sources())
