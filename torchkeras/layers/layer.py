"""`Layer`: a torch module that is built on its first call and speaks Keras."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchkeras import constraints, regularizers
from torchkeras._core import dtypes, gate, sharing, tree, turns
from torchkeras._core.context import context
from torchkeras._core.errors import invalid_argument
from torchkeras._core.naming import (
    LEGAL_NAME,
    auto_name,
    is_legal_name,
    looks_automatic,
    to_snake_case,
)
from torchkeras._core.registry import Registry, deserialize_object
from torchkeras._core.signatures import signature_of
from torchkeras._core.symbolic import (
    KerasTensor,
    Node,
    infer_outputs,
    is_symbolic,
    outside_of_probes,
)
from torchkeras._core.typing import (
    ConstraintLike,
    DType,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import (
    IDENTITY,
    LayerWeight,
    Layout,
    Variable,
    WeightView,
)
from torchkeras.layers._calling import (
    attach_masks,
    autocast_dtype,
    convert,
    ends_mask,
    has_masks,
    precision,
    riding_masks,
)
from torchkeras.layers._checks import check_inputs, is_noted, note
from torchkeras.layers._state import LayerState, layers_in, turn_to_mode
from torchkeras.layers.configs import check_keywords, config_of, make_from
from torchkeras.layers.shapes import (
    as_shape,
    build_arguments,
    inputs_of_shapes,
    record,
    ruled_outputs,
    shapes_of,
    symbolic_tensors,
    take_input_shape,
    with_sizes,
)
from torchkeras.layers.weights import (
    all_weights,
    assign_all,
    free_key,
    keep_options,
    name_first,
    new_variable,
    own_weights,
    set_trainable,
    trained,
    view_of,
    without,
)

layers = Registry("layer", "keras.layers")


class Layer(LayerState):
    """The base of all layers, and of your own.

    Write `call` (or torch's `forward`), make weights in `build` by `add_weight` or as
    torch modules. `build` runs once, on the first call, when the input's shape is
    known.

    Args:
        activity_regularizer: a regularizer of the outputs: its penalty is added to the
            loss.
        trainable: whether the weights are trained.
        dtype: a dtype or a dtype policy.
        autocast: whether floating-point inputs are cast to the compute dtype.
        name: the name; made from the class's by default.

    Raises:
        ValueError: for an unknown keyword.

    Example:
        >>> class Scale(Layer):
        ...     def build(self, input_shape):
        ...         self.gain = self.add_weight((input_shape[-1],), "ones", name="gain")
        ...
        ...     def call(self, inputs):
        ...         return inputs * self.gain
        >>> layer = Scale()
        >>> layer(torch.ones(2, 3)).shape, layer.count_params()
        (torch.Size([2, 3]), 3)
    """

    # How a class is read, once

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "forward" in own and "call" not in own:
            cls.call = own["forward"]
        if "call" in own and "_output_sizes" not in own:
            cls._output_sizes = None
        if "build" in own:
            cls.build = _tracked_build(own["build"])
            cls._builds_weights = own.get("_builds_weights", True)
        if "compute_mask" in own:
            cls._makes_mask = own.get("_makes_mask", True)
        cls.read_call()

    @classmethod
    def read_call(cls) -> None:
        """Keep what the class's `call` is, once it is known."""
        cls.forward = cls.call  # one function under two names costs no frame
        arguments = list(inspect.signature(cls.call).parameters)
        cls._call_arguments = frozenset(arguments)
        cls._mask_position = arguments.index("mask") - 1 if "mask" in arguments else -1

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.__dict__["_captured"] = (args, kwargs)
        return self

    def __init__(
        self,
        *,
        activity_regularizer: RegularizerLike = None,
        trainable: bool = True,
        dtype: DType = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self._begin()
        if name is not None and not is_legal_name(name):
            raise ValueError(
                invalid_argument(type(self).__name__, "name", LEGAL_NAME, name)
            )
        self._name = name or auto_name(to_snake_case(type(self).__name__))
        self._name_is_given = bool(name)
        self._built = False
        self.training = False  # as in Keras, until `fit` or `train()` says otherwise
        self.input_spec = None
        self.supports_masking = False
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.dtype_policy = dtypes.get_policy(dtype).at(self._name)
        self.autocast = autocast
        self._trainable = bool(trainable)
        self._has_losses = self.activity_regularizer is not None
        self._fast_path = False
        self._fast_path_dtypes = ()
        self._build_shapes = None
        self.input_shape_argument = take_input_shape(kwargs)
        check_keywords(type(self), kwargs)

    # What a subclass writes

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of that shape; nothing to make by default."""
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `call` method. Define "
            "`call(self, inputs)` (or `forward`)."
        )

    forward = call

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the outputs: by default the one of the inputs."""
        return previous_mask

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Build on the first call, then run `call` on the inputs."""
        if self._fast_path and len(args) == 1 and not kwargs:
            inputs = args[0]
            if (
                type(inputs) is Tensor
                and inputs.dtype in self._fast_path_dtypes
                and getattr(inputs, "_keras_mask", None) is None
            ):
                try:
                    return nn.Module.__call__(self, inputs)  # `super()` costs a walk
                except Exception as error:
                    self._explain(error, args)
                    raise
        return self._call_general(args, kwargs)

    def _call_general(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do what the first call, masks, casts, policies and losses need."""
        args, kwargs = self._convert(args, kwargs)
        self._check_inputs(args)
        if not self._built:
            self._build_from(args, kwargs)
        if is_symbolic((args, kwargs)):
            return self._call_symbolically(args, kwargs)
        if self._has_losses and not (context.call_stack or context.probes):
            self._forget_losses()
        mask = self._take_mask(args, kwargs)
        training = self._take_training(kwargs)
        context.call_stack.append(self)
        try:
            outputs = self._run(training, args, kwargs)
        except Exception as error:
            self._explain(error, args)
            raise
        finally:
            context.call_stack.pop()
        if self.activity_regularizer is not None:
            for output in tree.flatten(outputs):
                self._keep_losses([self.activity_regularizer(output) / len(output)])
        if self._makes_mask or mask is not None:
            self._put_mask(args, outputs, mask)
        return outputs

    def _run(
        self, training: bool | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run `call` in the mode and the precision it is due."""
        before, told = self.training, context.training
        if training is not None:
            context.training = training
            if training != before:
                turn_to_mode(self, training)
        try:
            with precision(self, args):
                return super().__call__(*args, **kwargs)
        finally:
            context.training = told
            if self.training != before:
                turn_to_mode(self, before)

    def _take_training(self, kwargs: dict[str, Any]) -> bool | None:
        """Resolve ``training=``; it stays in `kwargs` for a `call` that takes it."""
        training = kwargs.pop("training", None)
        if "training" in self._call_arguments:
            kwargs["training"] = self.training if training is None else bool(training)
        return None if training is None else bool(training)

    def _take_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the mask given, or the ones that ride on the inputs."""
        mask = kwargs.get("mask")
        if mask is None:
            mask = riding_masks(args)
            if mask is not None and len(args) <= self._mask_position:
                kwargs["mask"] = mask
        if "mask" not in self._call_arguments:
            kwargs.pop("mask", None)
        return mask

    def _put_mask(self, args: tuple[Any, ...], outputs: Any, mask: Any) -> None:
        """Let the mask that `compute_mask` returns ride on the outputs."""
        if ends_mask(self, mask) or has_masks(outputs):
            return
        given = (args[0] if args else None, mask)
        masks: Any = (
            infer_outputs(self.compute_mask, given, {})
            if is_symbolic(outputs)
            else self.compute_mask(*given)
        )
        if masks is not None:
            attach_masks(outputs, masks)

    def _convert(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Turn arrays into tensors and cast them to the compute dtype."""
        return convert(self, args, kwargs)

    def _autocast_dtype(self, inputs: Tensor) -> torch.dtype | None:
        """Return the dtype that autocast, or the mixed policy, computes in."""
        return autocast_dtype(self, inputs)

    def _call_symbolically(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kwargs = {k: v for k, v in kwargs.items() if v is not None}
        mask = kwargs.get("mask", riding_masks(args))
        given = kwargs
        built_in = type(self).__module__.startswith("torchkeras.")
        if mask is not None and "mask" in self._call_arguments and not built_in:
            given = {**kwargs, "mask": mask}  # rides along, and is no part of the call
        if type(self).compute_output_shape is Layer.compute_output_shape:
            outputs = self.compute_output_spec(*args, **given)
        else:
            rule, dtype = self.compute_output_shape, self.compute_dtype
            outputs = symbolic_tensors(rule(shapes_of(args[0])), dtype)
            if isinstance(outputs, KerasTensor) and None in outputs.static_shape[1:]:
                outputs = with_sizes(outputs, rule, args[0])
        record(self, args, kwargs, outputs)
        if self._makes_mask or (mask is not None and self.supports_masking):
            self._put_mask(args, outputs, mask)
        return outputs

    # Building

    @property
    def built(self) -> bool:
        """Whether the weights are made: from the start where no `build` makes any."""
        return self._built or self._has_nothing_to_build()

    @built.setter
    def built(self, value: bool) -> None:
        self._built = value

    def _has_nothing_to_build(self) -> bool:
        builds = any(inner._builds_weights for inner in layers_in(self))
        return not builds and not any(map(is_lazy, self.parameters()))

    def _build_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call `build` with the shapes of the call's arguments."""
        self.build(**build_arguments(self.build, self.call, args, kwargs))

    def _finish_build(self, shapes: dict[str, Any]) -> None:
        self._built = True
        self._build_shapes = shapes
        for name, weight in self._views.items():
            weight.path = f"{self.name}/{name}"
        if not self._trainable:
            self.trainable = False
        turn_to_mode(self, self.training)
        self._choose_path()

    def _choose_path(self) -> None:
        """Decide whether a call on one tensor can go straight to `call`."""
        self._has_losses = False
        self._choose_path_with(list(layers_in(self)))

    def _choose_path_with(self, inner: list[LayerState]) -> None:
        """Decide it anew when there are more layers inside."""
        self._has_losses = self._has_losses or any(
            m._has_losses or m.activity_regularizer is not None for m in inner
        )
        if self.dtype_policy.is_mixed:
            for layer in inner:
                layer._fast_path = False
            return
        compute = dtypes.DTYPES[self.compute_dtype]
        self._fast_path_dtypes = self.index_dtypes or (compute,)
        self._fast_path = self._built and not (
            self._has_losses or self._makes_mask or "training" in self._call_arguments
        )

    def get_build_config(self) -> dict[str, Any] | None:
        """Return the shapes the layer was built with, None before that."""
        return self._build_shapes

    @gate.takes_whole_config
    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build from what `get_build_config` returned."""
        shapes = {k: as_shape(v) for k, v in config.items()}
        if self._built or not any(v is not None for v in shapes.values()):
            return
        if set(shapes) == {"input_shape"}:
            self.build(shapes["input_shape"])
        elif "shapes_dict" in shapes:
            self.build(**shapes["shapes_dict"])
        else:
            self.build(**shapes)

    # Weights

    @name_first
    def add_weight(
        self,
        shape: tuple[int, ...] | None = None,
        initializer: InitializerLike = None,
        dtype: DType = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: RegularizerLike = None,
        constraint: ConstraintLike = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Make a weight of this layer: a parameter, or a buffer if not `trainable`.

        Args:
            shape: the shape; a scalar by default.
            initializer: glorot uniform by default, zeros for integers and booleans.
            dtype: the policy's variable dtype by default.
            trainable: whether it is trained.
            autocast: accepted for Keras's signature; `torch.autocast` decides.
            regularizer: gives a penalty, which is added to the loss.
            constraint: applied after each update.
            aggregation: accepted for Keras's signature.
            overwrite_with_gradient: accepted for Keras's signature.
            name: the name, and the key in `state_dict` until assigned to an attribute.

        Returns:
            The weight.
        """
        name = name or "variable"
        self._refuse_in_call(f"the weight {name!r}")
        variable = new_variable(self, name, shape, initializer, dtype, trainable)
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        self._register(free_key(self, variable.name), variable)
        return variable

    def keep_weight_options(self, arguments: Mapping[str, Any], *prefixes: str) -> None:
        """Keep what a constructor is told of weights: how they begin, stay small, fit.

        Args:
            arguments: the constructor's arguments by name, as ``locals()`` has them.
            *prefixes: what stands before ``_initializer``, ``_regularizer`` and
                ``_constraint`` in those arguments, and in the attributes made of them.
        """
        keep_options(self, arguments, prefixes)

    def show_weight(
        self,
        name: str,
        module: nn.Module,
        tensors: str | tuple[str, ...],
        initializer: Callable[..., Tensor] | None = None,
        layout: Layout = IDENTITY,
        options: str | None = None,
    ) -> WeightView:
        """Fill tensors of a torch module by an initializer and show them as a weight.

        Args:
            name: Keras's name, which becomes an attribute of the layer.
            module: the torch module that owns the tensors.
            tensors: the names of the tensors in `module`.
            initializer: gives the first value, in Keras's layout; that of the options
                by default.
            layout: how the tensors make up Keras's weight.
            options: the prefix of the options that `keep_weight_options` kept for it;
                `name` by default.

        Returns:
            The view, which `weights`, files and `summary` use.
        """
        names = (tensors,) if isinstance(tensors, str) else tensors
        options = name if options is None else options
        self._views[name] = view = view_of(
            self, name, module, names, initializer, layout, options
        )
        return view

    def leave_out(self, *names: str) -> None:
        """Say that options leave these weights out: the attributes are None."""
        self.__dict__.update(dict.fromkeys(names))

    @property
    def weights(self) -> list[LayerWeight]:
        """All weights in Keras's order and layout: its own, then those inside."""
        return all_weights(self)

    @property
    def variables(self) -> list[LayerWeight]:
        """All weights."""
        return self.weights

    @property
    def trainable_weights(self) -> list[LayerWeight]:
        """The weights that are trained."""
        return trained(self, self.weights)

    @property
    def trainable_variables(self) -> list[LayerWeight]:
        """The weights that are trained."""
        return self.trainable_weights

    @property
    def non_trainable_weights(self) -> list[LayerWeight]:
        """The weights that are not trained."""
        return without(self.weights, self.trainable_weights)

    @property
    def non_trainable_variables(self) -> list[LayerWeight]:
        """The weights that are not trained."""
        return self.non_trainable_weights

    @property
    def metrics(self) -> list[Any]:
        """The metrics that are attributes, or in containers, of it and those inside."""
        return [
            module
            for module in self.modules()
            if module is not self
            and hasattr(module, "update_state")
            and hasattr(module, "result")  # that of layers which adapt has none
        ]

    def get_weights(self) -> list[np.ndarray]:
        """Return the values of `weights` as NumPy arrays in Keras's layout."""
        weights = self.weights
        return turns.alone(lambda: [weight.numpy() for weight in weights])

    def set_weights(self, weights: Iterable[Any]) -> None:
        """Assign values, in Keras's order and layout; all of them or none.

        Raises:
            ValueError: when the number or a shape does not fit.
        """
        assign_all(self, self.weights, list(weights))

    def count_params(self) -> int:
        """Return the number of values in all weights.

        Raises:
            ValueError: before the layer is built.
        """
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' has no weights yet, so count_params cannot count "
                "them. Call it on data, or `build(input_shape)` first."
            )
        return sum(weight.numel() for weight in self.weights)

    @property
    def trainable(self) -> bool:
        """Whether the weights are trained; setting it reaches the layers inside.

        Torch's `requires_grad_` says the same of a layer's own weights.
        """
        own = [w for w in own_weights(self) if w.declared_trainable]
        if own:
            return any(w.trainable for w in own)
        return self._trainable or bool(self.trainable_weights)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        set_trainable(self, value := bool(value))
        for weight in self.weights:
            if getattr(weight, "declared_trainable", True):
                weight.trainable = value

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze or thaw all parameters, also those that are made later."""
        set_trainable(self, requires_grad)
        return super().requires_grad_(requires_grad)

    # Symbolic calls

    @property
    def input(self) -> Any:
        """The symbolic inputs of the first call on symbolic tensors."""
        node = self._first_node("input")
        return node.args[0] if node.args else node.structure

    @property
    def output(self) -> Any:
        """The symbolic outputs of the first call on symbolic tensors."""
        return self._first_node("output").structure

    def _first_node(self, what: str) -> Node:
        if not self._nodes:
            raise AttributeError(
                f"Layer '{self.name}' has no symbolic {what}: it was never called on "
                "an `Input`."
            )
        return self._nodes[0]

    # Dtypes

    @property
    def dtype_policy(self) -> dtypes.DTypePolicy:
        """The dtype policy; set it, by name too, to change that of weights as well."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        self._dtype_policy = policy = dtypes.get_policy(value).at(self._name)
        if not self._built:
            return
        dtype = dtypes.DTYPES[policy.variable_dtype]
        for weight in own_weights(self):
            for tensor in weight.tensors:
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(dtype)
        self._choose_path()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._follow_dtype(fn)
        return self

    def _follow_dtype(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Take the dtype that torch's ``.to(dtype)``, ``.half()``, ... gave weights."""
        policy = self.dtype_policy
        if policy.is_mixed:
            return
        before = dtypes.DTYPES[policy.variable_dtype]
        # Of a layer without weights as well: its inputs come in that dtype.
        after = fn(torch.empty(0, dtype=before, device="cpu")).dtype
        if after != before and after.is_floating_point:
            self._dtype_policy = dtypes.DTypePolicy(dtypes.standardize_dtype(after))
            if self._built:
                self._choose_path()

    # Losses

    def add_loss(self, loss: Any) -> None:
        """Add a term to the loss of the model, within `call`.

        Args:
            loss: a tensor, whose sum is added, or several.

        Raises:
            ValueError: for symbolic tensors.
        """
        if is_symbolic(loss):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): `add_loss` takes "
                "tensors within `call`. Only a functional model takes symbolic ones: "
                "`Model(inputs, outputs).add_loss(loss)`."
            )
        self._has_losses = True
        for layer in context.call_stack:
            layer._has_losses = True
            layer._fast_path = False
        self._keep_losses(tree.flatten(loss))

    def _keep_losses(self, terms: list[Any]) -> None:
        # Where shapes are inferred or a program is exported, they are no data.
        if not (context.probes or torch.compiler.is_exporting()):
            self._losses.extend(terms)

    @property
    def losses(self) -> list[Tensor]:
        """The terms of the last call and those of the weights' regularizers."""
        terms = [term for layer in layers_in(self) for term in layer._losses]
        penalties = [
            weight.regularizer(weight.value)
            for weight in self.trainable_weights
            if weight.regularizer is not None
        ]
        return [*terms, *penalties]

    def _forget_losses(self) -> None:
        for layer in layers_in(self):
            layer._losses.clear()

    # Shapes

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return the shape of the outputs; inferred by a run on the `meta` device.

        Args:
            *args: the shape of each input of a call: ``input_shape``.
            **kwargs: the same by name.
        """
        inputs, named = inputs_of_shapes(self.dtype, args, kwargs)
        return shapes_of(self.compute_output_spec(*inputs, **named))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return symbolic tensors of the outputs' shapes and dtypes."""
        if not self._built:
            self._build_from(args, kwargs)
        ruled = ruled_outputs(self, args, kwargs)
        return infer_outputs(self, args, kwargs) if ruled is None else ruled

    # Checks, made when something went wrong or before it can

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        if self.input_spec is not None and args:
            check_inputs(self, args[0], self.input_hint)

    def input_hint(self, shape: tuple[int | None, ...]) -> str:
        """Return advice for an input that does not fit."""
        return ""

    def _explain(self, error: Exception, args: tuple[Any, ...]) -> None:
        """Raise a clearer error, or note on this one where it was raised."""
        if is_noted(error):
            return
        if not isinstance(error, (ValueError, TypeError)):
            try:
                self._check_inputs(args)
            except ValueError as clearer:
                note(clearer, self, args)
                raise clearer from None
        note(error, self, args)

    # Config

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, from which `from_config` makes a twin.

        As in Keras, what a class that writes its own `get_config` gets from
        ``super().get_config()`` are the arguments of the built-in class above it.
        """
        common = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self.dtype_policy,
        }
        return config_of(self, common)

    @classmethod
    @gate.takes_config
    @sharing.reading()
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a layer from what `get_config` returned."""
        values = {k: deserialize_object(v) for k, v in config.items()}
        if values.get("quantization_config", ...) is None:
            del values["quantization_config"]  # Keras says so of unquantized layers
        return cls._from_arguments(values)

    @classmethod
    def _from_arguments(cls, values: dict[str, Any]) -> Self:
        """Call the constructor, and set what all layers have where it takes that not.

        Raises:
            TypeError: for arguments that the constructor does not have.
        """
        layer, beside = make_from(cls, values)
        layer._name = beside.get("name", layer._name)
        if "dtype" in beside:
            layer.dtype_policy = beside["dtype"]
        if not beside.get("trainable", True):  # what it froze itself stays frozen
            layer.trainable = False
        return layer._with_name_of_config()

    def _with_name_of_config(self, given: bool = False) -> Self:
        """Take a name like ``dense_3`` for an automatic one: a config has all names."""
        self._name_is_given = given or not looks_automatic(
            self._name, type(self).__name__
        )
        return self

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows of this layer."""
        return f"name={self.name!r}"


def _tracked_build(build: Callable[..., None]) -> Callable[..., None]:
    """Finish what a `build` began, once the outermost of several has returned."""

    @functools.wraps(build)
    def wrapped(self: Layer, *args: Any, **kwargs: Any) -> None:
        outermost = not self._building
        self._building = True
        try:
            with outside_of_probes(self):
                build(self, *args, **kwargs)
                if outermost:
                    bound = signature_of(build).bind(self, *args, **kwargs)
                    shapes = dict(list(bound.arguments.items())[1:])
                    shapes.pop("kwargs", None)
                    self._finish_build(shapes)
        finally:
            if outermost:
                self._building = False

    return wrapped


Layer.build = _tracked_build(Layer.build)  # `__init_subclass__` does not see the base


def serialize(layer: Layer) -> dict[str, Any]:
    """Return Keras's JSON form of a layer: its class, its config, how it was built."""
    return layers.serialize(layer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Layer:
    """Make a layer from what `serialize` returned.

    Args:
        config: the JSON form, or the name of a layer.
        custom_objects: names of your own classes and functions.

    Raises:
        ValueError: for an unknown layer.
    """
    return layers.deserialize(config, custom_objects)
