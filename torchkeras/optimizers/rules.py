"""Torch optimizers for the algorithms that torch lacks, or does otherwise than Keras.

Each one is an update over lists of tensors; the base does the rest. Their state is made
by the optimizer that owns them, when it is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchkeras.optimizers import foreach
from torchkeras.optimizers.kernels import Group, Kernel, State


class ForeachOptimizer(torch.optim.Optimizer):
    """A torch optimizer whose subclass only says how tensors are updated."""

    kernel: ClassVar[Kernel]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kernel = Kernel(cls.advance, cls.keys, option="", counts=False)

    def __init__(self, groups: list[Group], **defaults: Any) -> None:
        super().__init__(groups, {"lr": 0.001, "step": 0, **defaults})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters by their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                if params:
                    grads = [p.grad.to_dense() for p in params]
                    states = [self.state[p] for p in params]
                    state = [[s[key] for s in states] for key in self.keys(group)]
                    self.advance(params, grads, state, group)
        return loss

    @classmethod
    def advance(
        cls, params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        """Count the step and make it."""
        group["step"] += 1
        cls.update(params, grads, state, group)

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        """Return the names of the state that `update` takes."""
        raise NotImplementedError

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        """Change parameters and state in place; ``group["step"]`` counts from 1."""
        raise NotImplementedError


class RMSprop(ForeachOptimizer):
    """Keras's RMSprop: epsilon is under the root, the momentum holds steps."""

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        momentum = ("momentum",) if group["momentum"] else ()
        centered = ("average_gradient",) if group["centered"] else ()
        return ("velocity", *momentum, *centered)

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        velocities, *others = state
        rho = group["rho"]
        foreach.mul_(velocities, rho)
        foreach.addcmul_(velocities, grads, grads, 1 - rho)
        scales = foreach.add(velocities, group["eps"])
        if group["centered"]:
            averages = others[-1]
            foreach.lerp_(averages, grads, 1 - rho)
            foreach.addcmul_(scales, averages, averages, -1)
        foreach.sqrt_(scales)
        if group["momentum"]:
            steps = others[0]
            foreach.mul_(steps, group["momentum"])
            foreach.addcdiv_(steps, grads, scales, group["lr"])
            foreach.sub_(params, steps)
        else:
            foreach.addcdiv_(params, grads, scales, -group["lr"])


class Adamax(ForeachOptimizer):
    """Keras's Adamax: epsilon is added to the norm, and does not enter it."""

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        return ("momentum", "norm")

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        momentums, norms = state
        beta1, beta2 = group["betas"]
        foreach.lerp_(momentums, grads, 1 - beta1)
        foreach.mul_(norms, beta2)
        foreach.maximum_(norms, foreach.abs(grads))
        scales = foreach.add(norms, group["eps"])
        rate = -group["lr"] / (1 - beta1 ** group["step"])
        foreach.addcdiv_(params, momentums, scales, rate)


class Ftrl(ForeachOptimizer):
    """Follow the regularized leader."""

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        return ("accumulator", "linear")

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        accumulators, linears = state
        rate, power = group["lr"], -group["power"]
        before = foreach.pow(accumulators, power)
        foreach.addcmul_(accumulators, grads, grads, 1)
        quadratics = foreach.pow(accumulators, power)
        foreach.div_(quadratics, rate)
        growth = foreach.sub(quadratics, foreach.div(before, rate))
        foreach.add_(linears, grads)
        foreach.addcmul_(linears, growth, params, -1)
        if group["shrinkage"]:
            foreach.add_(linears, params, alpha=2 * group["shrinkage"])
        foreach.add_(quadratics, 2 * group["l2"] + group["beta"] / rate)
        steps = foreach.clamp_min(linears, -group["l1"])
        foreach.clamp_max_(steps, group["l1"])
        foreach.sub_(steps, linears)
        foreach.div_(steps, quadratics)
        foreach.copy_(params, steps)


class Lion(ForeachOptimizer):
    """Steps of one size, in the direction of a sign."""

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        return ("momentum",)

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        (momentums,) = state
        beta1, beta2 = group["betas"]
        steps = foreach.mul(momentums, beta1)
        foreach.add_(steps, grads, alpha=1 - beta1)
        foreach.sign_(steps)
        foreach.add_(params, steps, alpha=-group["lr"])
        foreach.mul_(momentums, beta2)
        foreach.add_(momentums, grads, alpha=1 - beta2)


class Lamb(ForeachOptimizer):
    """Adam's direction, as long as the weight it changes."""

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        return ("momentum", "velocity")

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        steps = _adam_steps(grads, state, group)
        lengths = zip(foreach.norm(params), foreach.norm(steps), strict=True)
        ratios = [
            torch.where((weight > 0) & (step > 0), weight / step, 1.0)
            for weight, step in lengths
        ]
        foreach.mul_(steps, ratios)
        foreach.add_(params, steps, alpha=-group["lr"])


def _adam_steps(
    grads: Sequence[Tensor], state: State, group: Group
) -> list[Tensor] | tuple[Tensor, ...]:
    """Update Adam's moments and return the direction that they give."""
    momentums, velocities = state
    beta1, beta2 = group["betas"]
    foreach.lerp_(momentums, grads, 1 - beta1)
    foreach.mul_(velocities, beta2)
    foreach.addcmul_(velocities, grads, grads, 1 - beta2)
    scales = foreach.div(velocities, 1 - beta2 ** group["step"])
    foreach.sqrt_(scales)
    foreach.add_(scales, group["eps"])
    steps = foreach.div(momentums, 1 - beta1 ** group["step"])
    foreach.div_(steps, scales)
    return steps


class Adafactor(ForeachOptimizer):
    """Adam with a second moment kept by its rows and columns.

    Rows and columns are those of Keras's layout, given by the axes in the state.
    """

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        return ("axes", "rows", "columns", "velocity")

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        step = group["step"]
        rate = min(group["lr"], 1 / math.sqrt(step))
        weight = step ** group["beta_2_decay"]
        for param, grad, axes, *moments in zip(params, grads, *state, strict=True):
            param, grad = param.permute(axes), grad.permute(axes)
            squares = grad.square().add_(group["epsilon_1"])
            direction = grad / _factored(squares, weight, *moments).sqrt()
            scale = _rms(direction).div_(group["clip_threshold"]).clamp_(min=1.0)
            length = _rms(param).clamp_(min=group["epsilon_2"]).mul_(rate)
            param.sub_(direction.mul_(length / scale))


def _factored(
    squares: Tensor, weight: float, rows: Tensor, columns: Tensor, velocity: Tensor
) -> Tensor:
    """Take squared gradients into the second moment and return it."""
    if squares.ndim < 2:
        return velocity.lerp_(squares, weight)
    rows.lerp_(squares.mean(-1), weight)
    columns.lerp_(squares.mean(-2), weight)
    return second_moment(rows, columns)


def second_moment(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the second moment that its rows and columns stand for."""
    rows = rows / rows.mean(-1, keepdim=True)
    return rows.unsqueeze(-1) * columns.unsqueeze(-2)


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


class Muon(ForeachOptimizer):
    """Orthogonal steps for the groups of matrices, Adam for the others."""

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        return ("momentum",) if group["matrices"] else ("momentum", "velocity")

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        rate = group["lr"]
        if group["decay"]:
            foreach.mul_(params, 1 - rate * group["decay"])
        if not group["matrices"]:
            group = {**group, "eps": _placed_epsilon(group)}
            steps = _adam_steps(grads, state, group)
            foreach.add_(params, steps, alpha=-rate * group["ratio"])
            return
        (momentums,) = state
        foreach.mul_(momentums, group["momentum"])
        foreach.add_(momentums, grads)
        ahead: Sequence[Tensor] = momentums
        if group["nesterov"]:
            ahead = foreach.mul(momentums, group["momentum"])
            foreach.add_(ahead, grads)
        for param, direction in zip(params, ahead, strict=True):
            step = _orthogonal(direction, group["coefficients"], group["ns_steps"])
            scale = 1.0
            if group["rms_rate"] is not None:
                scale = math.sqrt(max(param.shape)) * group["rms_rate"]
            param.sub_(step, alpha=rate * scale)


def _placed_epsilon(group: Group) -> float:
    """Return the epsilon that, added after bias correction, is Keras's before it."""
    return group["eps"] / math.sqrt(1 - group["betas"][1] ** group["step"])


def _orthogonal(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int
) -> Tensor:
    """Return the orthogonal matrix nearest to one, by Newton-Schulz iterations."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.t()
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.t() if tall else x


class ScheduleFreeAdamW(ForeachOptimizer):
    """Adam whose iterates are averaged, in the place of a schedule."""

    @staticmethod
    def keys(group: Group) -> tuple[str, ...]:
        return ("momentum", "velocity")

    @staticmethod
    def update(
        params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
    ) -> None:
        points, velocities = state
        (beta1, beta2), step = group["betas"], group["step"]
        rate = group["lr"]
        if group["warmup_steps"]:
            rate *= min(step / group["warmup_steps"], 1.0)
        foreach.mul_(velocities, beta2)
        foreach.addcmul_(velocities, grads, grads, 1 - beta2)
        scales = foreach.div(velocities, 1 - beta2**step)
        foreach.sqrt_(scales)
        foreach.add_(scales, group["eps"])
        averages = foreach.sub(params, foreach.mul(points, 1 - beta1))
        foreach.div_(averages, beta1)
        foreach.addcdiv_(points, grads, scales, -rate)
        foreach.lerp_(averages, points, 1 / step)
        foreach.lerp_(averages, points, 1 - beta1)
        foreach.copy_(params, averages)
