"""The call of a torch optimizer, on the shortest way there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, optim

from torchkeras._core.torch_private import is_hooked
from torchkeras.optimizers.kernels import Bucket, make_buckets
from torchkeras.optimizers.weights import strided_like

#: One gradient for each parameter; None leaves it as it is.
Gradients = Sequence[Tensor | None]


class Updater:
    """The update of parameters by a torch optimizer.

    Kernels are called with lists made once, where these do exactly what the torch
    optimizer's own step does, and that step is called where they do not: for another
    class, options or gradients, or when someone watches it.

    Args:
        optimizer: the torch optimizer. Its state is brought to the devices and the
            memory formats of its parameters, on which kernels rely.
        parameters: those that get gradients, in the order of the gradients.

    Example:
        >>> import torch
        >>> parameter = torch.nn.Parameter(torch.ones(2))
        >>> update = Updater(torch.optim.SGD([parameter], lr=0.5), [parameter])
        >>> update([torch.ones(2)])
        >>> parameter.tolist()
        [0.5, 0.5]
    """

    optimizer: optim.Optimizer
    parameters: list[Tensor]
    #: None where the torch optimizer's own step is needed, or may be until it was made.
    buckets: list[Bucket] | None

    _may_bucket: bool

    def __init__(self, optimizer: optim.Optimizer, parameters: list[Tensor]) -> None:
        self.optimizer = optimizer
        self.parameters = parameters
        _follow_parameters(optimizer)
        self.buckets = make_buckets(optimizer, parameters)
        self._may_bucket = self.buckets is None

    def __call__(self, gradients: Gradients | None = None) -> None:
        """Update the parameters by their gradients, by default each one's ``.grad``."""
        if gradients is None:
            grads = [g for p in self.parameters if (g := p.grad) is not None]
        else:
            gradients = self._strided_like_parameters(gradients)
            grads = [g for g in gradients if g is not None]
        buckets = self.buckets
        if (
            buckets is None
            or len(grads) != len(self.parameters)
            # Someone watches or replaces the torch optimizer's own step.
            or is_hooked(self.optimizer)
            or "step" in self.optimizer.__dict__
        ):
            self._update_by_torch(gradients)
        elif len(buckets) == 1:
            buckets[0].run(grads)
        else:
            for bucket in buckets:
                bucket.run([grads[i] for i in bucket.indices])

    def _strided_like_parameters(self, gradients: Gradients) -> list[Tensor | None]:
        # Fused kernels walk through memory: other strides would mix up the elements.
        return [
            g if g is None or g.stride() == p.stride() else strided_like(p, g)
            for p, g in zip(self.parameters, gradients, strict=True)
        ]

    def _update_by_torch(self, gradients: Gradients | None) -> None:
        if gradients is not None:
            for parameter, grad in zip(self.parameters, gradients, strict=True):
                parameter.grad = grad
        self.optimizer.step()
        if self.buckets is None and self._may_bucket:
            self.buckets = make_buckets(self.optimizer, self.parameters)
            self._may_bucket = False
        if gradients is not None:
            for parameter in self.parameters:
                parameter.grad = None

    def __getstate__(self) -> dict[str, Any]:
        # Buckets hold on to the tensors of one optimizer; a copy makes its own.
        return {**self.__dict__, "buckets": None, "_may_bucket": True}


def _follow_parameters(optimizer: optim.Optimizer) -> None:
    """Bring the state to the device and the memory format of its parameters.

    Both change with ``model.to(...)``.
    """
    for p, state in optimizer.state.items():
        for key, value in state.items():
            if not isinstance(value, Tensor) or key in ("step", "mu_product"):
                continue
            if value.shape != p.shape:
                state[key] = value.to(p.device)
            elif (value.device, value.stride()) != (p.device, p.stride()):
                state[key] = strided_like(p, value)
