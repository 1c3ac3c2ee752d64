"""Random values: torch's numbers under Keras's names.

Without a seed, numbers come from torch's own generator, which `torch.manual_seed` and
`keras.utils.set_random_seed` seed. An integer gives the same numbers on every call; a
`SeedGenerator` gives new ones on each use, the same ones in each run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import get_worker_info

from torchkeras._core import gate, torch_private
from torchkeras._core.config import default_device
from torchkeras._core.dtypes import standardize_dtype, to_torch_dtype
from torchkeras._core.errors import invalid_argument, number_in, positive_integer
from torchkeras._core.missing import explain_missing
from torchkeras._core.naming import auto_name
from torchkeras._core.operation import Array, operation
from torchkeras._core.registry import Registry
from torchkeras._core.typing import DType
from torchkeras._core.variable import Variable

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]

Shape = Sequence[int]

seed_generators = Registry("seed generator", "keras.random")


# Seeds


@seed_generators.register()
class SeedGenerator:
    """A seed that moves on: each use draws new numbers, the same ones in each run.

    Give it as `seed` to the functions of this module, to random operations and to
    initializers. A function compiled with ``fullgraph=True`` cannot draw with a seed:
    torch makes no generator there. It can from a `SeedGenerator` without one, which
    draws from torch's generator there.

    Args:
        seed: an integer; by default one drawn from torch's generator.
        name: a name; ``seed_generator``, ``seed_generator_1``, ... by default.

    Raises:
        ValueError: when `seed` is not an integer.

    Example:
        >>> seed = SeedGenerator(0)
        >>> first, second = uniform((2,), seed=seed), uniform((2,), seed=seed)
        >>> bool((first == second).any())
        False
        >>> bool((first == uniform((2,), seed=SeedGenerator(0))).all())
        True
    """

    name: str
    state: Variable

    def __init__(
        self, seed: int | None = None, name: str | None = None, **kwargs: Any
    ) -> None:
        kwargs.pop("backend", None)
        if kwargs:
            raise TypeError(
                f"SeedGenerator got unexpected arguments {sorted(kwargs)}. It takes "
                "`seed` and `name`."
            )
        if isinstance(seed, SeedGenerator):
            raise ValueError(
                invalid_argument("SeedGenerator", "seed", "an integer or None", seed)
            )
        self._initial_seed = checked_seed("SeedGenerator", seed)
        self.name = auto_name("seed_generator") if name is None else name
        first = self._initial_seed
        if first is None:
            first = int(torch.randint(2**31, (), device="cpu"))
        # On the CPU, where reading it does not wait for a device.
        self.state = Variable(
            torch.tensor([first % 2**63, 0], device="cpu"),
            trainable=False,
            name="seed_generator_state",
        )

    def next(self, ordered: bool = True) -> Tensor:
        """Return the state, two integers, and move on to the next one.

        Args:
            ordered: count up; otherwise jump through a fixed sequence.
        """
        state = self.state.detach().clone()
        if ordered:
            # Not a list: that would become a tensor on the device of the context.
            self.state.assign_add(torch.tensor([0, 1], device="cpu"))
        else:
            self.state.assign((state + 1) * 5387 % 933199)
        return state

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"seed": self._initial_seed, "name": self.name}

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """Make a generator from `get_config`'s result; it starts anew."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<SeedGenerator {self.name}, state={self.state.tolist()}>"


Seed = int | SeedGenerator | None


def checked_seed(owner: str, seed: Any) -> Any:
    """Return a seed: an `int`, a `SeedGenerator` or None.

    Raises:
        ValueError: when it is none of them.
    """
    if seed is None or isinstance(seed, SeedGenerator):
        return seed
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        expected = "an integer, a SeedGenerator or None"
        raise ValueError(invalid_argument(owner, "seed", expected, seed))
    return int(seed)


def mixed(*numbers: int) -> int:
    """Return one seed made of several numbers."""
    sequence = np.random.SeedSequence([number % 2**63 for number in numbers])
    return int(sequence.generate_state(1, np.uint64)[0]) % 2**63


def worker_seed() -> tuple[int, ...]:
    """Return the seed of the loader's worker that this is, ``()`` outside of one.

    A worker has a copy of every seed that moves on, as the other ones have, and those
    of the next epoch: this makes their numbers differ.
    """
    worker = get_worker_info()
    return () if worker is None else (worker.seed,)


def generator_of(seed: Seed, device: torch.device) -> torch.Generator | None:
    """Return the generator that a seed stands for; None is torch's own."""
    if seed is None or device.type == "meta":
        return None
    if isinstance(seed, SeedGenerator):
        if seed._initial_seed is None and torch.compiler.is_compiling():
            return None
        # Mixed, so that neighboring seeds do not share numbers.
        seed = mixed(*seed.next().tolist(), *worker_seed())
    return torch.Generator(device).manual_seed(seed % 2**63)


def draw(
    shape: Shape,
    dtype: torch.dtype,
    seed: Seed,
    fill: Callable[..., Any],
    *args: float,
    device: torch.device | None = None,
) -> Tensor:
    """Return an empty tensor after ``fill(tensor, *args, generator=...)``.

    Args:
        shape: the shape.
        dtype: a floating-point dtype; half precision is too coarse to draw in, so
            that values are drawn in float32 and rounded.
        seed: an integer, a `SeedGenerator` or None.
        fill: what draws in place.
        args: more of its arguments.
        device: the default device unless given.
    """
    device = default_device() if device is None else device
    drawn = dtype if dtype == torch.float64 else torch.float32
    values = torch.empty(tuple(shape), dtype=drawn, device=device)
    if device.type != "meta":
        with torch.no_grad():
            fill(values, *args, generator=generator_of(seed, device))
    return values.to(dtype)


def truncated_normal_(
    tensor: Tensor, mean: float, stddev: float, generator: torch.Generator | None
) -> None:
    """Fill a tensor from a normal distribution cut off at two deviations."""
    # The inverse of the distribution function: `nn.init.trunc_normal_` draws until all
    # values fit, which cannot be compiled.
    end = math.erf(math.sqrt(2.0))
    tensor.uniform_(-end, end, generator=generator).erfinv_().mul_(math.sqrt(2.0))
    tensor.clamp_(-2.0, 2.0).mul_(stddev).add_(mean)


# Values of a distribution


def normal(
    shape: Shape,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: DType = None,
    seed: Seed = None,
) -> Tensor:
    """Return values of a normal distribution.

    Args:
        shape: the shape.
        mean: its mean, a number.
        stddev: its standard deviation, a number.
        dtype: a floating-point dtype; ``floatx`` by default.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: when `stddev` is negative.

    Example:
        >>> normal((2, 3), seed=0).shape
        torch.Size([2, 3])
    """
    mean = number_in("normal", "mean", mean)
    stddev = number_in("normal", "stddev", stddev, 0.0)
    return _draw("normal", shape, dtype, seed, Tensor.normal_, mean, stddev)


def truncated_normal(
    shape: Shape,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: DType = None,
    seed: Seed = None,
) -> Tensor:
    """Return values of a normal distribution, none beyond two deviations of the mean.

    Args:
        shape: the shape.
        mean: the mean, a number.
        stddev: the standard deviation before truncation, a number.
        dtype: a floating-point dtype; ``floatx`` by default.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: when `stddev` is negative.

    Example:
        >>> bool(truncated_normal((1000,)).abs().max() <= 2)
        True
    """
    owner = "truncated_normal"
    mean = number_in(owner, "mean", mean)
    stddev = number_in(owner, "stddev", stddev, 0.0)
    return _draw(owner, shape, dtype, seed, truncated_normal_, mean, stddev)


def uniform(
    shape: Shape,
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: DType = None,
    seed: Seed = None,
) -> Tensor:
    """Return values spread evenly over an interval.

    Args:
        shape: the shape.
        minval: the lower end, included.
        maxval: the upper end, excluded.
        dtype: a floating-point dtype; ``floatx`` by default.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: when `minval` is over `maxval`, or `dtype` not floating point.

    Example:
        >>> bool(uniform((1000,), 2.0, 3.0).min() >= 2)
        True
    """
    minval = number_in("uniform", "minval", minval)
    maxval = number_in("uniform", "maxval", maxval)
    if minval > maxval:
        expected = f"at most `maxval`, which is {maxval}"
        raise ValueError(invalid_argument("uniform", "minval", expected, minval))
    values = _draw("uniform", shape, dtype, seed, Tensor.uniform_, minval, maxval)
    # Rounding may have reached the upper end.
    start, end = (values.new_full((), bound) for bound in (minval, maxval))
    return values.clamp_(max=torch.nextafter(end, start))


def randint(
    shape: Shape, minval: int, maxval: int, dtype: DType = "int32", seed: Seed = None
) -> Tensor:
    """Return integers spread evenly over a range.

    Args:
        shape: the shape.
        minval: the lower end, included.
        maxval: the upper end, excluded.
        dtype: an integer dtype.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: when the range is empty, or `dtype` not one of integers.

    Example:
        >>> sorted(set(randint((1000,), 2, 5).tolist()))
        [2, 3, 4]
    """
    dtype = "int32" if dtype is None else dtype
    if not standardize_dtype(dtype).startswith(("int", "uint")):
        raise ValueError(
            invalid_argument("randint", "dtype", "an integer dtype", dtype)
        )
    low = _checked_integer("randint", "minval", minval)
    high = _checked_integer("randint", "maxval", maxval)
    if low >= high:
        expected = f"less than `maxval`, which is {maxval}"
        raise ValueError(invalid_argument("randint", "minval", expected, minval))
    device = default_device()
    return torch.randint(
        low,
        high,
        _checked_shape("randint", shape),
        generator=generator_of(checked_seed("randint", seed), device),
        device=device,
    ).to(to_torch_dtype(dtype))


@operation("random")
def gamma(shape: Shape, alpha: Array, dtype: DType = None, seed: Seed = None) -> Tensor:
    """Return values of a gamma distribution of rate 1.

    Args:
        shape: the shape.
        alpha: the concentration: a positive number, or an array that broadcasts to the
            shape.
        dtype: the dtype; ``floatx`` by default.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: when `alpha` is not positive or does not broadcast.

    Example:
        >>> bool((gamma((1000,), 0.5) >= 0).all())
        True
    """
    seed, dtype = checked_seed("gamma", seed), to_torch_dtype(dtype)
    alpha = _parameter("gamma", "alpha", alpha, shape, dtype)
    _require("gamma", "alpha", "positive", alpha, alpha > 0)
    if alpha.device.type != "meta":
        generator = generator_of(seed, alpha.device)
        alpha = torch_private.standard_gamma(alpha, generator=generator)
    return alpha.to(dtype)


@operation("random")
def beta(
    shape: Shape, alpha: Array, beta: Array, dtype: DType = None, seed: Seed = None
) -> Tensor:
    """Return values of a beta distribution.

    Args:
        shape: the shape.
        alpha: the first concentration: a positive number, or an array that broadcasts
            to the shape.
        beta: the second one.
        dtype: the dtype; ``floatx`` by default.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: when a concentration is not positive or does not broadcast.

    Example:
        >>> values = beta((1000,), 2.0, 3.0)
        >>> bool(((values >= 0) & (values <= 1)).all())
        True
    """
    seed, dtype = checked_seed("beta", seed), to_torch_dtype(dtype)
    alpha = _parameter("beta", "alpha", alpha, shape, dtype)
    beta = _parameter("beta", "beta", beta, shape, dtype)
    _require("beta", "alpha", "positive", alpha, alpha > 0)
    _require("beta", "beta", "positive", beta, beta > 0)
    if alpha.device.type != "meta":
        both = torch.stack([alpha, beta], dim=-1)
        generator = generator_of(seed, alpha.device)
        # As torch.distributions does, which takes no generator.
        alpha = torch_private.sample_dirichlet(both, generator=generator)[..., 0]
    return alpha.to(dtype)


@operation("random")
def binomial(
    shape: Shape,
    counts: Array,
    probabilities: Array,
    dtype: DType = None,
    seed: Seed = None,
) -> Tensor:
    """Return how many of a number of trials succeed.

    Args:
        shape: the shape.
        counts: the number of trials: a number, or an array that broadcasts to the
            shape.
        probabilities: the probability of success of each trial, likewise.
        dtype: the dtype; ``floatx`` by default.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: when `counts` is negative, `probabilities` not in [0, 1], or one of
            them does not broadcast.

    Example:
        >>> bool((binomial((1000,), 5, 0.5) <= 5).all())
        True
    """
    seed, dtype = checked_seed("binomial", seed), to_torch_dtype(dtype)
    counts = _parameter("binomial", "counts", counts, shape, dtype)
    chance = _parameter("binomial", "probabilities", probabilities, shape, dtype)
    _require("binomial", "counts", "at least 0", counts, counts >= 0)
    inside = (chance >= 0) & (chance <= 1)
    _require("binomial", "probabilities", "from 0 to 1", chance, inside)
    if counts.device.type != "meta":
        generator = generator_of(seed, counts.device)
        counts = torch.binomial(counts, chance, generator=generator)
    return counts.to(dtype)


# Random choices over a tensor


@operation("random")
def categorical(
    logits: Array, num_samples: int, dtype: DType = "int32", seed: Seed = None
) -> Tensor:
    """Return classes drawn from rows of unnormalized log-probabilities.

    Args:
        logits: the log-probabilities.
        num_samples: how many classes are drawn from each row, with replacement.
        dtype: the dtype of the classes.
        seed: an integer, a `SeedGenerator` or None.

    Shape:
        ``(batch, classes)`` to ``(batch, num_samples)``.

    Raises:
        ValueError: when `logits` has not two axes.

    Example:
        >>> categorical([[-100.0, 0.0], [0.0, -100.0]], 3)
        tensor([[1, 1, 1],
                [0, 0, 0]], dtype=torch.int32)
    """
    if logits.ndim != 2:
        expected = "of shape (batch, classes)"
        raise ValueError(invalid_argument("categorical", "logits", expected, logits))
    num_samples = positive_integer("categorical", "num_samples", num_samples)
    seed, dtype = checked_seed("categorical", seed), to_torch_dtype(dtype)
    if logits.device.type == "meta":
        return logits.new_empty(len(logits), num_samples, dtype=dtype)
    drawn = torch.float64 if logits.dtype == torch.float64 else torch.float32
    chances = logits.detach().softmax(dim=-1, dtype=drawn)
    generator = generator_of(seed, logits.device)
    return torch.multinomial(
        chances, num_samples, replacement=True, generator=generator
    ).to(dtype)


@operation("random")
def dropout(
    inputs: Array,
    rate: float,
    noise_shape: Sequence[int | None] | None = None,
    seed: Seed = None,
) -> Tensor:
    """Return the inputs with a random part set to zero and the rest scaled up.

    Args:
        inputs: a tensor of real numbers.
        rate: the part that is dropped, from 0 to 1.
        noise_shape: the shape of the random choice, broadcast to the inputs; None
            stands for the full size of an axis.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: for a rate out of range, a noise shape that does not broadcast, or
            inputs that are not floating point.

    Example:
        >>> dropout([1.0, 2.0], 0.0)
        tensor([1., 2.])
        >>> sorted(set(dropout(torch.ones(1000), 0.5).tolist()))
        [0.0, 2.0]
    """
    rate = number_in("dropout", "rate", rate, 0.0, 1.0)
    seed = checked_seed("dropout", seed)
    if not inputs.is_floating_point():
        expected = "a tensor of real numbers"
        raise ValueError(invalid_argument("dropout", "inputs", expected, inputs))
    if rate == 0.0:
        return inputs
    if rate == 1.0:
        return torch.zeros_like(inputs)
    if seed is None and noise_shape is None:
        return F.dropout(inputs, rate)
    sizes = _noise_sizes(inputs, noise_shape)
    # A line of its own: a compiled function breaks in it.
    generator = generator_of(seed, inputs.device)
    kept = torch.empty(sizes, dtype=torch.bool, device=inputs.device)
    kept.bernoulli_(1.0 - rate, generator=generator)
    return torch.where(kept, inputs / (1.0 - rate), 0.0)


def _noise_sizes(
    inputs: Tensor, noise_shape: Sequence[int | None] | None
) -> Sequence[int]:
    if noise_shape is None:
        return inputs.shape
    try:
        sizes = [
            inputs.shape[axis] if size is None else size
            for axis, size in enumerate(noise_shape)
        ]
        if torch.broadcast_shapes(sizes, inputs.shape) == inputs.shape:
            return sizes
    except (IndexError, RuntimeError, TypeError):
        pass
    expected = f"a shape that broadcasts to the inputs' {tuple(inputs.shape)}"
    raise ValueError(invalid_argument("dropout", "noise_shape", expected, noise_shape))


@operation("random")
def shuffle(x: Array, axis: int = 0, seed: Seed = None) -> Tensor:
    """Return a tensor with its slices along an axis in random order.

    Args:
        x: the tensor.
        axis: the axis; all else is moved along with it.
        seed: an integer, a `SeedGenerator` or None.

    Raises:
        ValueError: when there is no such axis.

    Example:
        >>> sorted(shuffle([3, 1, 2]).tolist())
        [1, 2, 3]
    """
    seed = checked_seed("shuffle", seed)
    if not -x.ndim <= axis < x.ndim:
        expected = f"an axis of the tensor of {x.ndim} axes"
        raise ValueError(invalid_argument("shuffle", "axis", expected, axis))
    if x.device.type == "meta":
        return torch.empty_like(x)
    generator = generator_of(seed, x.device)
    order = torch.randperm(x.shape[axis], generator=generator, device=x.device)
    return x.index_select(axis, order)


# Arguments


def _draw(
    owner: str,
    shape: Shape,
    dtype: DType,
    seed: Any,
    fill: Callable[..., Any],
    *args: float,
) -> Tensor:
    resolved = to_torch_dtype(dtype)
    if not resolved.is_floating_point:
        expected = "a floating-point dtype"
        raise ValueError(invalid_argument(owner, "dtype", expected, dtype))
    shape = _checked_shape(owner, shape)
    return draw(shape, resolved, checked_seed(owner, seed), fill, *args)


def _checked_shape(owner: str, shape: Any) -> tuple[int, ...]:
    try:
        sizes = tuple(size.__index__() for size in shape)
    except (TypeError, AttributeError):
        sizes = (-1,)
    if any(size < 0 for size in sizes):
        expected = "a sequence of sizes"
        raise ValueError(invalid_argument(owner, "shape", expected, shape))
    return sizes


def _checked_integer(owner: str, name: str, value: Any) -> int:
    if number_in(owner, name, value) != int(value):
        raise ValueError(invalid_argument(owner, name, "an integer", value))
    return int(value)


def _parameter(
    owner: str, name: str, value: Tensor, shape: Shape, dtype: torch.dtype
) -> Tensor:
    """Return a parameter of a distribution in the shape and dtype to draw in."""
    sizes = _checked_shape(owner, shape)
    double = torch.float64 in (value.dtype, dtype)
    value = value.detach().to(torch.float64 if double else torch.float32)
    try:
        return value.expand(sizes)
    except RuntimeError:
        expected = f"a number or an array that broadcasts to the shape {sizes}"
        raise ValueError(invalid_argument(owner, name, expected, value)) from None


def _require(
    owner: str, name: str, expected: str, value: Tensor, holds: Tensor
) -> None:
    # Neither a symbolic run nor a graph being traced has values to look at.
    if value.device.type == "meta" or torch.compiler.is_compiling():
        return
    if not bool(holds.all()):
        worst = value[~holds][0].item()
        raise ValueError(invalid_argument(owner, name, expected, worst))


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
