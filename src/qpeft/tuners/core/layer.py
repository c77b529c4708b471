"""The update ``s U R V^T`` beside a linear layer: only R's numbers are trained."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from qpeft.errors import ModelError, ShapeError
from qpeft.tuners._linear import LinearLayer, layers_of
from qpeft.tuners._residual import exact
from qpeft.tuners.core.config import CoreConfig
from qpeft.tuners.core.cores import KINDS


class CoreDelta(nn.Module):
    """The update of one linear layer.

    Args:
        config: A checked config.
        d_in: Width of the layer's input.
        d_out: Width of its output.

    Attributes:
        U: Left basis, shape ``(d_out, r)``; zeros until there is a basis.
        V: Right basis, shape ``(d_in, r)``.
    """

    insertion = "parallel"
    U: Tensor
    V: Tensor

    def __init__(self, config: CoreConfig, d_in: int, d_out: int) -> None:
        super().__init__()
        self.config, self.kind = config, KINDS[config.core]
        self.scaling = float(config.chosen("scale"))
        self.register_buffer("U", torch.zeros(d_out, config.r))
        self.register_buffer("V", torch.zeros(d_in, config.r))
        trained, fixed = self.kind.trained(config), self.kind.fixed(config)
        for name, value in trained.items():
            self.register_parameter(name, nn.Parameter(value if config.init_weights else torch.randn_like(value) / 2))
        for name, value in fixed.items():
            self.register_buffer(name, value)
        self.names = (*trained, *fixed)
        self._fitted = False

    @property
    def fitted(self) -> bool:
        """Whether there is a basis: fitted here, or loaded."""
        # Whoever loads an adapter writes into the buffers and tells nobody.
        self._fitted = self._fitted or (self.V.device.type != "meta" and bool(self.V.any()))
        return self._fitted

    @torch.no_grad()
    def set_basis(self, left: Tensor, right: Tensor) -> None:
        """Take a basis, in place.

        Raises:
            ShapeError: The shapes are not those of U and V.
            ModelError: A number is not finite.
        """
        if left.shape != self.U.shape or right.shape != self.V.shape:
            raise ShapeError(
                f"a basis of shapes {tuple(self.U.shape)} and {tuple(self.V.shape)} is needed; got "
                f"{tuple(left.shape)} and {tuple(right.shape)}"
            )
        if not (torch.isfinite(left).all() and torch.isfinite(right).all()):
            raise ModelError("a basis must be finite; the weights or gradients it was taken from are not")
        self.U.copy_(left)
        self.V.copy_(right)

    def matrix(self) -> Tensor:
        """R, shape ``(r, r)``, float32."""
        tensors = {name: getattr(self, name) for name in self.names}
        return self.kind.matrix(
            self.config, {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
        )

    def forward(self, x: Tensor) -> Tensor:
        """The update, shape ``(..., d_out)``, from x of shape ``(..., d_in)``; float32.

        Raises:
            ModelError: It would be trained without a basis.
        """
        if self.training and torch.is_grad_enabled() and not self.fitted:
            raise ModelError(
                f"a core is trained inside a basis, and this one has none yet (basis {self.config.basis!r}); before "
                f"training call qpeft.fit_basis(model, batches) with batches of the training data, or give the "
                f"Trainer callbacks=[qpeft.CoreCallback()]"
            )
        with exact(x):
            inside = linear(linear(x.float(), self.V.float().T), self.matrix())
            return linear(inside, self.U.float()) * self.scaling

    @torch.no_grad()
    def weight(self) -> Tensor:
        """The update as a matrix, ``s U R V^T``, shape ``(d_out, d_in)``, float32."""
        A, B = self.factors()
        return B @ A

    @torch.no_grad()
    def factors(self) -> tuple[Tensor, Tensor]:
        """The update as a LoRA of scaling 1: A = V^T of shape (r, d_in), B = s U R of shape (d_out, r), float32."""
        return self.V.float().T.contiguous(), (self.scaling * self.U.float() @ self.matrix()).contiguous()


class CoreLinear(LinearLayer):
    """A linear layer with the updates of its adapters; peft's ``all-linear`` knows it by the word in its name."""

    container = "core_modules"


def core_layers(model: nn.Module, adapter_name: str) -> dict[str, CoreLinear]:
    """Names, as ``named_modules`` gives them, and layers that an adapter reaches.

    Raises:
        ModelError: The model has no core adapter of this name.
    """
    return layers_of(model, CoreLinear, adapter_name, "Core")
