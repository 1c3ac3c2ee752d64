"""`EinsumDense`: a dense layer that is written as an equation of axes."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import activations, initializers
from torchkeras._core.errors import invalid_argument
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import Variable
from torchkeras.layers.layer import Layer, layers

_EQUATION = re.compile(
    r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?"
)


@layers.register()
class EinsumDense(Layer):
    """A fully connected layer: ``activation(einsum(equation, inputs, kernel) + bias)``.

    Args:
        equation: an equation of `torch.einsum` for inputs and kernel, such as
            ``"ab,bc->ac"`` or ``"...x,xy->...y"``.
        output_shape: the sizes of the outputs without the batch axis, None for one that
            is that of the inputs. Axes that ``...`` stands for are left out.
        activation: a name or a function; linear by default.
        bias_axes: the letters of the axes of the outputs that a bias has; no bias by
            default.
        kernel_initializer: gives the first kernel.
        bias_initializer: gives the first bias.
        kernel_regularizer: the regularizer of the kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        kernel_constraint: the constraint on the kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        As in the equation, whose first axis of inputs and outputs is the batch.

    Raises:
        ValueError: for an equation of another form, and for shapes that do not go with
            it.

    Example:
        >>> layer = EinsumDense("btc,cd->btd", output_shape=(None, 8), bias_axes="d")
        >>> layer(torch.ones(2, 5, 3)).shape, tuple(layer.kernel.shape)
        (torch.Size([2, 5, 8]), (3, 8))
    """

    casts_integers = True

    kernel: Variable
    bias: Variable | None
    partial_output_shape: tuple[int | None, ...]
    #: Where axes may be left out of the equation, ``"left"``, ``"right"`` or neither.
    _elided: str
    #: The letters of each operand.
    _inputs: str
    _kernel: str
    _outputs: str

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None] | None,
        activation: ActivationLike = None,
        bias_axes: str | None = None,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.equation = equation
        self._elided, *letters = _parse(equation)
        self._inputs, self._kernel, self._outputs = letters
        single = output_shape is None or hasattr(output_shape, "__index__")
        sizes: Any = (output_shape,) if single else output_shape
        self.partial_output_shape = tuple(sizes)
        self.activation = activations.get(activation)
        self.bias_axes = bias_axes
        self.keep_weight_options(locals(), "kernel", "bias")
        self._check_letters()

    def _check_letters(self) -> None:
        """Refuse letters that stand alone, and a wrong number of sizes."""
        for letter in self._kernel:
            if letter not in self._inputs + self._outputs:
                raise ValueError(self._about(f"no size for '{letter}' of the kernel"))
        for letter in self._outputs:
            if letter not in self._inputs + self._kernel:
                raise ValueError(self._about(f"no size for '{letter}' of the outputs"))
        for letter in self.bias_axes or "":
            if letter not in self._outputs:
                raise ValueError(
                    self._about(f"no axis '{letter}' of bias_axes={self.bias_axes!r}")
                )
        count = len(self._sized_outputs)
        given = self.partial_output_shape
        legal = all(s is None or (hasattr(s, "__index__") and s > 0) for s in given)
        if len(given) != count or not legal:
            expected = (
                f"{count} positive sizes, or None, for the equation {self.equation!r}"
            )
            raise ValueError(
                invalid_argument("EinsumDense", "output_shape", expected, given)
            )

    def _about(self, problem: str) -> str:
        return f"EinsumDense: the equation {self.equation!r} has {problem}."

    @property
    def _sized_outputs(self) -> str:
        """The axes of the outputs whose sizes `output_shape` gives."""
        return self._outputs if self._elided == "left" else self._outputs[1:]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        sizes = self._sizes_from(input_shape)
        kernel_shape = self._known(sizes, self._kernel, input_shape)
        bias_shape = self._bias_shape(sizes, input_shape)
        self._make_weights(kernel_shape, bias_shape)
        self.input_spec = InputSpec(ndim=len(input_shape))

    def _make_weights(
        self, kernel_shape: tuple[int, ...], bias_shape: tuple[int, ...] | None
    ) -> None:
        self.kernel = self.add_weight(
            kernel_shape,
            self._with_fans(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        if bias_shape is None:
            self.bias = None
        else:
            self.bias = self.add_weight(
                bias_shape,
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def _bias_shape(
        self, sizes: dict[str, int | None], shape: tuple[int | None, ...]
    ) -> tuple[int, ...] | None:
        """Return sizes that broadcast to the outputs, from the first axis of a bias."""
        if not self.bias_axes:
            return None
        known = self._known(sizes, self.bias_axes, shape)
        own = dict(zip(self.bias_axes, known, strict=True))
        first = min(self._outputs.index(letter) for letter in self.bias_axes)
        after = len(shape) - len(self._inputs) if self._elided == "right" else 0
        return (*[own.get(a, 1) for a in self._outputs[first:]], *[1] * after)

    def _sizes_from(self, shape: tuple[int | None, ...]) -> dict[str, int | None]:
        """Return the sizes of the axes by letter, for inputs of that shape."""
        elided = len(shape) - len(self._inputs)
        at_least = {"left": 1, "right": 0}.get(self._elided)
        if elided < (at_least or 0) or (at_least is None and elided):
            raise self._misfit(f"{len(self._inputs)} axes", shape)
        start = elided if self._elided == "left" else 0
        sizes = dict(zip(self._inputs, shape[start:], strict=False))
        given = zip(self._sized_outputs, self.partial_output_shape, strict=True)
        for letter, size in given:
            found = sizes.get(letter)
            if size is not None and found not in (None, size):
                raise self._misfit(f"size {size} on axis '{letter}'", shape)
            sizes[letter] = found if size is None else size
        return sizes

    def _known(
        self, sizes: dict[str, int | None], letters: str, shape: tuple[int | None, ...]
    ) -> tuple[int, ...]:
        known = [size for letter in letters if (size := sizes.get(letter)) is not None]
        if len(known) < len(letters):
            raise self._misfit(f"known sizes for the axes '{letters}'", shape)
        return tuple(known)

    def _misfit(self, expected: str, shape: tuple[int | None, ...]) -> ValueError:
        return ValueError(
            f"Layer '{self.name}' (EinsumDense): expected {expected} for the equation "
            f"{self.equation!r} with output_shape={self.partial_output_shape}, got an "
            f"input of shape {tuple(shape)}."
        )

    def _with_fans(self, initializer: InitializerLike) -> Any:
        """Tell a scaling initializer which axes of the kernel are inputs."""
        if not isinstance(initializer, initializers.VarianceScaling) or (
            initializer.input_axes is not None and initializer.output_axes is not None
        ):
            return initializer
        places: dict[bool, list[int]] = {False: [], True: []}
        for place, letter in enumerate(self._kernel):
            places[letter in self._outputs].append(place)
        aware = copy.copy(initializer)
        aware.input_axes, aware.output_axes = map(tuple, places.values())
        return aware

    def call(self, inputs: Tensor) -> Tensor:
        outputs = torch.einsum(self.equation, inputs, self.kernel)
        if self.bias is not None:
            outputs = outputs + self.bias.to(outputs.dtype)  # as autocast has it
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_shape": list(self.partial_output_shape)}


def _parse(equation: Any) -> tuple[str, str, str, str]:
    """Return where ``...`` stands, and the letters of inputs, kernel and outputs."""
    found = _EQUATION.fullmatch(equation) if isinstance(equation, str) else None
    if found is not None:
        left, inputs, right, kernel, left_too, outputs, right_too = found.groups()
        if (left, right) == (left_too, right_too) and not (left and right):
            elided = "left" if left else "right" if right else ""
            return elided, inputs, kernel, outputs
    expected = "of the form 'ab,bc->ac', '...b,bc->...c' or 'ab...,bc->ac...'"
    raise ValueError(invalid_argument("EinsumDense", "equation", expected, equation))
