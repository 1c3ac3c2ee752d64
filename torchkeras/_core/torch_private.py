"""The names of torch that it does not promise to keep, behind one door.

Each is used under the name that it has here; a torch that lacks one fails where this
module is imported, and a test says what each is needed for. Nested structures have a
door of their own, ``_core/tree.py``, and so have the kernels over lists of tensors,
``optimizers/foreach.py``.
"""

from __future__ import annotations

import contextlib
import inspect
import operator
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn.modules import conv
from torch.nn.modules import module as modules
from torch.optim.optimizer import (
    _global_optimizer_post_hooks,
    _global_optimizer_pre_hooks,
)
from torch.utils.data import dataloader

_torch: Any = torch
_aten: Any = torch.ops.aten

# Tensors

#: What makes a subclass of tensors cost no dispatch, as `nn.Parameter` has it.
disabled_torch_function = _torch._C._disabled_torch_function_impl
#: Makes a tensor of a subclass that shares the memory of another.
make_subclass = _torch.Tensor._make_subclass
#: Says whether a tensor can take another one's place; asked while modules are moved.
has_compatible_shallow_copy_type = _torch._has_compatible_shallow_copy_type
#: Draw from distributions with a generator, which torch's public functions do not take.
standard_gamma = _aten._standard_gamma
sample_dirichlet = _aten._sample_dirichlet
#: Says whether this thread's operations are recorded for gradients: `torch.no_grad`
#: costs as much as an operation.
set_grad_enabled: Callable[[bool], None] = _torch._C._set_grad_enabled
#: Returns how often a tensor was changed in place.
version_of: Callable[[Tensor], int] = operator.attrgetter("_version")


def is_traced() -> bool:
    """Say whether tensors may have no values now: compiled, exported or made fake."""
    return torch.compiler.is_compiling() or bool(_torch._C._len_torch_dispatch_stack())


# Modules

#: The bases of convolutions that share one `__init__` over the number of axes.
ConvNd = conv._ConvNd
ConvTransposeNd = conv._ConvTransposeNd
_CALL_OF_MODULES = nn.Module._call_impl.__code__
_forward_hooks_of_all = modules._global_forward_hooks
_backward_hooks_of_all = modules._global_backward_hooks
_backward_pre_hooks_of_all = modules._global_backward_pre_hooks


def module_calls(
    reach: int,
) -> Iterator[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]]:
    """Yield the calls of modules that this thread is in, the innermost first.

    A torch module says nothing of its calls unless all modules are made to, so the
    frames are looked through.

    Args:
        reach: how many frames are looked at beyond the last call found: where there is
            none, the walk costs as much in a deep stack as in a low one.

    Yields:
        The module, and the arguments of its call.
    """
    frame = sys._getframe(1)
    left = reach
    while frame is not None and left:
        left -= 1
        if frame.f_code is _CALL_OF_MODULES:
            values = frame.f_locals
            yield values["self"], values["args"], values["kwargs"]
            left = reach
        frame = frame.f_back


#: The code of the call of a module, and of the functions that it makes.
_CODES_OF_CALLS = {
    _CALL_OF_MODULES,
    *filter(inspect.iscode, _CALL_OF_MODULES.co_consts),
}


def wants_any_tensor() -> bool:
    """Say whether what called the caller is torch, on its way to any tensor.

    For backward hooks that are not full, it takes what a module returned apart until it
    comes to one.
    """
    return sys._getframe(2).f_code in _CODES_OF_CALLS


def sees_outputs(module: nn.Module) -> bool:
    """Say whether a hook, of the module or of all modules, gets what it returns."""
    return bool(  # asked in each call of a layer
        module._forward_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _forward_hooks_of_all
        or _backward_hooks_of_all
        or _backward_pre_hooks_of_all
    )


def hooks_calls(module: nn.Module) -> bool:
    """Say whether hooks, of the module or of all modules, are run in its call."""
    return bool(
        module._forward_pre_hooks or modules._global_forward_pre_hooks
    ) or sees_outputs(module)


def unsaved_buffers(module: nn.Module) -> set[str]:
    """Return the names of the buffers that `state_dict` leaves out."""
    return module._non_persistent_buffers_set


def refresh_flat_weights(module: nn.RNNBase) -> None:
    """Let a recurrent module see weights that were put in place of its own."""
    module._init_flat_weights()


# Optimizers and metrics


def is_hooked(optimizer: optim.Optimizer) -> bool:
    """Say whether hooks, of the optimizer or of all, watch its steps."""
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    )


def states_of(metric: Any) -> list[str]:
    """Return the names of the states of a metric of torchmetrics."""
    return list(metric._defaults)


# Compilation

_FLAG = "trace_autograd_ops"
_lock = threading.Lock()
_users = 0
_before: Any = None


@contextlib.contextmanager
def backward_in_graph() -> Generator[None]:
    """Let what is compiled meanwhile hold `torch.autograd.grad` in its graph.

    The setting is the process's: it is put back by the last thread that leaves. A torch
    that lacks it compiles the two passes as two graphs.
    """
    global _users, _before
    settings = _torch._dynamo.config
    if not hasattr(settings, _FLAG):
        yield
        return
    with _lock:
        if not _users:
            _before = getattr(settings, _FLAG)
            setattr(settings, _FLAG, True)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                setattr(settings, _FLAG, _before)


# Data


def shut_down_workers(iterator: Any) -> None:
    """End the processes that an iterator over a `DataLoader` began, if it began any.

    Those that are to persist are the loader's to end.
    """
    has_own = isinstance(iterator, dataloader._MultiProcessingDataLoaderIter)
    if has_own and not iterator._persistent_workers:
        iterator._shutdown_workers()
