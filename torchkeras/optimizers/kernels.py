"""Updates as plain functions of parameters, gradients, state and hyperparameters.

A kernel is what one step of an algorithm does to a list of tensors, without the Python
that `torch.optim` runs around it: lists are made once, and called with each batch's
gradients. The state is the one that the torch optimizer itself holds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras.optimizers import foreach

Group = dict[str, Any]
State = Sequence[list[Tensor]]
Update = Callable[[list[Tensor], Sequence[Tensor], State, Group], None]


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An update, and the state of a torch optimizer that it works on.

    Args:
        update: the function of ``(params, grads, state, group)``.
        keys: from a parameter group to the names of the state that `update` takes.
        option: the option of a group under which torch runs the same code.
        counts: whether each parameter's state has a ``"step"`` that is to be counted
            up before `update` is called.
    """

    update: Update
    keys: Callable[[Group], tuple[str, ...]]
    option: str = "fused"
    counts: bool = True


def fused_adam(
    params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
) -> None:
    """Adam, or AdamW where the group's weight decay is decoupled, in one call."""
    steps, exp_avgs, exp_avg_sqs, *largest = state
    beta1, beta2 = group["betas"]
    decoupled = group["decoupled_weight_decay"]
    (foreach.fused_adamw_ if decoupled else foreach.fused_adam_)(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        largest[0] if largest else [],
        steps,
        lr=group["lr"],
        beta1=beta1,
        beta2=beta2,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=group["amsgrad"],
        maximize=group["maximize"],
    )


def fused_sgd(
    params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
) -> None:
    """Gradient descent, with momentum where there is any, in one call."""
    foreach.fused_sgd_(
        params,
        grads,
        state[0] if state else [],
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
        is_first_step=False,
    )


def fused_adagrad(
    params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
) -> None:
    """Adagrad in one call."""
    steps, sums = state
    foreach.fused_adagrad_(
        params,
        grads,
        sums,
        steps,
        lr=group["lr"],
        lr_decay=group["lr_decay"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
    )


def foreach_nadam(
    params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
) -> None:
    """NAdam, a handful of calls for all parameters."""
    steps, exp_avgs, exp_avg_sqs, products = state
    beta1, beta2 = group["betas"]
    step, decay = steps[0].item(), group["momentum_decay"]
    mu = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
    foreach.mul_(products, mu)
    product = products[0].item()
    foreach.lerp_(exp_avgs, grads, 1 - beta1)
    foreach.mul_(exp_avg_sqs, beta2)
    foreach.addcmul_(exp_avg_sqs, grads, grads, 1 - beta2)
    scales = foreach.sqrt(exp_avg_sqs)
    foreach.div_(scales, math.sqrt(1 - beta2**step))
    foreach.add_(scales, group["eps"])
    by_grad = -group["lr"] * (1 - mu) / (1 - product)
    by_average = -group["lr"] * mu_next / (1 - product * mu_next)
    foreach.addcdiv_(params, grads, scales, by_grad)
    foreach.addcdiv_(params, exp_avgs, scales, by_average)


def foreach_adadelta(
    params: list[Tensor], grads: Sequence[Tensor], state: State, group: Group
) -> None:
    """Adadelta, a handful of calls for all parameters."""
    _, squares, deltas = state
    rho, eps = group["rho"], group["eps"]
    foreach.mul_(squares, rho)
    foreach.addcmul_(squares, grads, grads, 1 - rho)
    steps = foreach.add(deltas, eps)
    foreach.sqrt_(steps)
    scales = foreach.add(squares, eps)
    foreach.sqrt_(scales)
    foreach.div_(steps, scales)
    foreach.mul_(steps, grads)
    foreach.mul_(deltas, rho)
    foreach.addcmul_(deltas, steps, steps, 1 - rho)
    foreach.add_(params, steps, alpha=-group["lr"])


def _adam_keys(group: Group) -> tuple[str, ...]:
    return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if group["amsgrad"] else 2]


def _sgd_keys(group: Group) -> tuple[str, ...]:
    return ("momentum_buffer",) if group["momentum"] else ()


def _constant(*keys: str) -> Callable[[Group], tuple[str, ...]]:
    return lambda group: keys


_KERNELS: dict[type, Kernel] = {
    torch.optim.Adam: Kernel(fused_adam, _adam_keys),
    torch.optim.AdamW: Kernel(fused_adam, _adam_keys),
    torch.optim.SGD: Kernel(fused_sgd, _sgd_keys, counts=False),
    torch.optim.Adagrad: Kernel(fused_adagrad, _constant("sum")),
    torch.optim.NAdam: Kernel(
        foreach_nadam, _constant("exp_avg", "exp_avg_sq", "mu_product"), "foreach"
    ),
    torch.optim.Adadelta: Kernel(
        foreach_adadelta, _constant("square_avg", "acc_delta"), "foreach"
    ),
}

#: Torch's classes that have a fused kernel.
FUSED = frozenset(cls for cls, k in _KERNELS.items() if k.option == "fused")


def fastest(params: Sequence[Tensor]) -> dict[str, bool]:
    """Return the option for torch's fastest code: fused where it has it."""
    devices = ("cpu", "cuda", "mps", "xpu")
    if all(p.device.type in devices and p.is_floating_point() for p in params):
        return {"fused": True}
    return {"foreach": True}


def kernel_of(optimizer: torch.optim.Optimizer) -> Kernel | None:
    """Return the kernel that does exactly what the optimizer's own step does.

    None where there is none: for a class without one, a subclass that may override
    `step`, or options under which torch runs other code.
    """
    kernel = getattr(type(optimizer), "kernel", None) or _KERNELS.get(type(optimizer))
    if kernel is None or not kernel.option:
        return kernel
    groups = optimizer.param_groups
    if kernel.option == "foreach" and any(map(_has_extras, groups)):
        return None
    plain = all(g.get(kernel.option) and not g["differentiable"] for g in groups)
    return kernel if plain else None


def _has_extras(group: Group) -> bool:
    return bool(group["weight_decay"] or group["maximize"] or group["capturable"])


class Bucket:
    """One parameter group with all that its kernel needs, in lists made once."""

    __slots__ = ("counter", "group", "indices", "params", "state", "update")

    params: list[Tensor]
    state: list[list[Tensor]]
    group: Group
    update: Update
    counter: Tensor | None
    indices: list[int]

    def __init__(
        self,
        kernel: Kernel,
        optimizer: torch.optim.Optimizer,
        group: Group,
        position: dict[Tensor, int],
    ) -> None:
        self.group = group
        self.update = kernel.update
        self.params = [p for p in group["params"] if p in position]
        self.indices = [position[p] for p in self.params]
        states = [optimizer.state[p] for p in self.params]
        self.state = [[state[k] for state in states] for k in kernel.keys(group)]
        self.counter = None
        if kernel.counts:
            # As views of one tensor, all the counters go up by one addition.
            self.counter = torch.stack([state["step"] for state in states])
            steps = list(self.counter.unbind())
            for state, step in zip(states, steps, strict=True):
                state["step"] = step
            self.state.insert(0, steps)

    def run(self, grads: Sequence[Tensor]) -> None:
        """Update the parameters by their gradients."""
        if self.counter is not None:
            self.counter.add_(1)
        self.update(self.params, grads, self.state, self.group)


def make_buckets(
    optimizer: torch.optim.Optimizer, trainable: Sequence[Tensor]
) -> list[Bucket] | None:
    """Return the buckets of an optimizer, or None where its own step is needed.

    Args:
        optimizer: the torch optimizer, after its first step.
        trainable: the parameters that get gradients.
    """
    kernel = kernel_of(optimizer)
    position = {p: i for i, p in enumerate(trainable)}
    if kernel is None:
        return None
    buckets = []
    for group in optimizer.param_groups:
        params = [p for p in group["params"] if p in position]
        if not params:
            continue
        needed = {*kernel.keys(group), *(("step",) if kernel.counts else ())}
        if any(
            optimizer.state.get(p, {}).get(k) is None for p in params for k in needed
        ):
            return None
        if len({(p.device, p.dtype) for p in params}) > 1:
            return None
        if any(p.grad is not None and p.grad.is_sparse for p in params):
            return None
        buckets.append(Bucket(kernel, optimizer, group, position))
    return buckets
