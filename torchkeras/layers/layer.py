"""`Layer`: a torch module that is built on its first call and speaks Keras."""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from torchkeras import activations, constraints, initializers, regularizers
from torchkeras._core import config, dtypes, sharing, torch_private, tree
from torchkeras._core.context import context
from torchkeras._core.convert import as_array
from torchkeras._core.errors import describe, did_you_mean
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.naming import auto_name, looks_automatic, to_snake_case
from torchkeras._core.registry import Registry, deserialize_object, serialize_object
from torchkeras._core.symbolic import (
    KerasTensor,
    Node,
    infer_outputs,
    is_symbolic,
    outside_of_probes,
)
from torchkeras._core.tracking import (
    ContainedModules,
    holds_state,
    may_hold_state,
)
from torchkeras._core.variable import IDENTITY, Layout, Variable, WeightView

layers = Registry("layer", "keras.layers")

#: Arguments of every layer, in the order of Keras's configs.
_COMMON = ("name", "trainable", "dtype")
_NOTE = "Raised by layer"
#: What can be said of a weight, and how what is given becomes a function.
_WEIGHT_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}
#: Attributes of a layer that torch or this module keeps, and no user.
_OWN = frozenset(
    {*vars(nn.Module()), "_captured", "_views", "_losses", "_nodes", "_containers"}
    | {"_build_shapes"}
)


def _name_first(add_weight: Callable[..., Variable]) -> Callable[..., Variable]:
    """Take the arguments in Keras 2's order as well, where the name came first."""
    order = ("name", "shape", "dtype", "initializer", "regularizer", "trainable")

    @functools.wraps(add_weight)
    def wrapped(self: Layer, *args: Any, **kwargs: Any) -> Variable:
        if not args or not isinstance(args[0], str):
            return add_weight(self, *args, **kwargs)
        given = dict(zip(order, args, strict=False))
        if len(args) > len(order) or given.keys() & kwargs.keys():
            raise TypeError(
                f"Layer '{self.name}' ({type(self).__name__}): `add_weight` takes each "
                f"argument once, in the order (shape, initializer, dtype, ...), got "
                f"{args} and {sorted(kwargs)}. Pass them by name: "
                "`add_weight(shape=..., name=...)`."
            )
        return add_weight(self, **given, **kwargs)

    return wrapped


class Layer(nn.Module):
    """The base of all layers, and of your own.

    Write `call` (or torch's `forward`), make weights in `build` by `add_weight` or as
    torch modules. `build` runs once, on the first call, when the input's shape is
    known.

    Args:
        activity_regularizer: a penalty on the outputs.
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

    built: bool
    input_spec: InputSpec | list[InputSpec] | None
    supports_masking: bool
    activity_regularizer: Callable[[Tensor], Tensor] | None
    input_shape_argument: tuple[int | None, ...] | None
    _views: dict[str, WeightView]
    _losses: list[Tensor]
    _nodes: list[Node]
    _build_shapes: dict[str, Any] | None
    _dtype_policy: dtypes.DTypePolicy
    #: Lists, tuples and dicts that are attributes, by name, as torch is shown them.
    _containers: dict[str, ContainedModules]

    #: Another object each time that `trainable` is set, of any layer: a model looks at
    #: what it trains itself when it sees a new one.
    last_freezing: ClassVar[object] = object()
    #: Whether integer inputs are cast to the compute dtype as well.
    casts_integers: ClassVar[bool] = False
    #: Integer dtypes that the layer takes as they are, such as indices.
    index_dtypes: ClassVar[tuple[torch.dtype, ...]] = ()
    _call_arguments: ClassVar[frozenset[str]] = frozenset()
    #: Where `mask` stands among the arguments of a call, -1 where there is none.
    _mask_position: ClassVar[int] = -1
    #: Whether `compute_mask` can make a mask where none came in, as `Embedding` does.
    _makes_mask: ClassVar[bool] = False
    #: Whether layers in lists and dicts that are attributes count as the layer's own.
    _tracks_containers: ClassVar[bool] = True

    # How a class is read, once

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "forward" in own and "call" not in own:
            cls.call = own["forward"]
        if "build" in own:
            cls.build = _tracked_build(own["build"])
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
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self._begin()
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(
                f"{type(self).__name__}: `name` must be a string without '/', "
                f"got {name!r}."
            )
        self._name = name or auto_name(to_snake_case(type(self).__name__))
        self._name_is_given = bool(name)
        self.built = False
        self.training = False  # as in Keras, until `fit` or `train()` says otherwise
        self.input_spec = None
        self.supports_masking = False
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.dtype_policy = dtypes.get_policy(dtype).at(self._name)
        self.autocast = autocast
        self._trainable = bool(trainable)
        self._has_losses = self.activity_regularizer is not None
        self._plain = False
        self._plain_dtypes: tuple[torch.dtype, ...] = ()
        self._build_shapes = None
        self.input_shape_argument = self._input_shape_from(kwargs)
        if kwargs:
            known = inspect.signature(type(self).__init__).parameters
            name = next(iter(kwargs))
            raise ValueError(
                f"{type(self).__name__}: unknown argument(s) {sorted(kwargs)}."
                f"{did_you_mean(name, [*known, *_COMMON])}"
            )

    def _begin(self) -> None:
        """Make the tables of a layer; containers may be attributes already."""
        assigned = {k: v for k, v in self.__dict__.items() if k not in _OWN}
        self.__dict__.update(_views={}, _losses=[], _nodes=[], _containers={})
        for name, value in assigned.items():
            self._contain(name, value)

    @staticmethod
    def _input_shape_from(kwargs: dict[str, Any]) -> tuple[int | None, ...] | None:
        """Take Keras 2's ``input_shape=``, ``input_dim=``, ... out of the keywords."""
        batch_size = kwargs.pop("batch_size", None)
        input_dim, length = (
            kwargs.pop("input_dim", None),
            kwargs.pop("input_length", None),
        )
        shape = kwargs.pop("input_shape", None)
        batch_shape = kwargs.pop("batch_input_shape", None)
        batch_shape = kwargs.pop("batch_shape", batch_shape)
        if batch_shape is not None:
            return tuple(batch_shape)
        if shape is None and input_dim is not None:
            shape = (input_dim,) if length is None else (length, input_dim)
        if shape is None:
            return None
        return (batch_size, *((shape,) if isinstance(shape, int) else shape))

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

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build on the first call, then run `call` on the inputs."""
        if self._plain and len(args) == 1 and not kwargs:
            inputs = args[0]
            if (
                type(inputs) is Tensor
                and inputs.dtype in self._plain_dtypes
                and getattr(inputs, "_keras_mask", None) is None
            ):
                try:
                    return super().__call__(inputs)
                except Exception as error:
                    self._explain(error, args)
                    raise
        return self._call_with_care(args, kwargs)

    def _call_with_care(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do what the first call, masks, casts, policies and losses need."""
        args, kwargs = self._convert(args, kwargs)
        self._check_inputs(args)
        if not self.built:
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
        before = self.training
        if training is not None and training != before:
            self.train(training)
        try:
            with self._precision(args):
                return super().__call__(*args, **kwargs)
        finally:
            if self.training != before:
                self.train(before)

    def _precision(
        self, args: tuple[Any, ...]
    ) -> contextlib.AbstractContextManager[Any]:
        """Return the context to compute in: the caller's, unless a policy is mixed."""
        if self.dtype_policy.is_mixed or self._is_within_mixed():
            return dtypes.autocast(self.dtype_policy, self._device_type(args))
        return contextlib.nullcontext()

    def _is_within_mixed(self) -> bool:
        """Say whether a layer of a mixed policy calls: autocast is its own then."""
        return any(layer.dtype_policy.is_mixed for layer in context.call_stack)

    def _is_cast_by_torch(self, device_type: str) -> bool:
        """Say whether autocast chooses the dtypes of what the layer computes."""
        if self.dtype_policy.is_mixed:
            return True
        active = dtypes.autocast_dtype(device_type) is not None
        return active and not self._is_within_mixed()

    def _autocast_dtype(self, inputs: Tensor) -> torch.dtype | None:
        """Return the dtype that autocast, or the mixed policy, computes in."""
        if self.dtype_policy.is_mixed:
            return dtypes.DTYPES[self.compute_dtype]
        return dtypes.autocast_dtype(inputs.device.type)

    @staticmethod
    def _device_type(args: tuple[Any, ...]) -> str:
        leaves = tree.flatten(args)
        return next((x.device.type for x in leaves if isinstance(x, Tensor)), "cpu")

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
            mask = _riding_masks(args)
            if mask is not None and len(args) <= self._mask_position:
                kwargs["mask"] = mask
        if "mask" not in self._call_arguments:
            kwargs.pop("mask", None)
        return mask

    def _put_mask(self, args: tuple[Any, ...], outputs: Any, mask: Any) -> None:
        if mask is not None and not (self.supports_masking or self._makes_mask):
            if context.probes:
                return  # the call that counts will say so
            warnings.warn(
                f"Layer '{self.name}' ({type(self).__name__}) got a mask and does not "
                "support masking: the mask ends here. Set `supports_masking = True` in "
                "your layer if it may pass it on.",
                stacklevel=4,
            )
            return
        flat_outputs = tree.flatten(outputs)
        if all(getattr(x, "_keras_mask", None) is not None for x in flat_outputs):
            return  # `call` has put them
        given = (args[0] if args else None, mask)
        masks: Any = (
            infer_outputs(self.compute_mask, given, {})
            if is_symbolic(outputs)
            else self.compute_mask(*given)
        )
        if masks is None:
            return
        if isinstance(outputs, Tensor) and isinstance(masks, Tensor):
            outputs._keras_mask = masks  # type: ignore[attr-defined]
            return
        flat = tree.flatten(masks) if tree.is_nested(masks) else [masks]
        for output, own in zip(flat_outputs, flat, strict=False):
            if own is not None:
                output._keras_mask = own

    def _call_symbolically(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kwargs = {k: v for k, v in kwargs.items() if v is not None}
        mask = kwargs.get("mask", _riding_masks(args))
        given = kwargs
        built_in = type(self).__module__.startswith("torchkeras.")
        if mask is not None and "mask" in self._call_arguments and not built_in:
            given = {**kwargs, "mask": mask}  # rides along, and is no part of the call
        if type(self).compute_output_shape is Layer.compute_output_shape:
            outputs = self.compute_output_spec(*args, **given)
        else:
            shape = self.compute_output_shape(shapes_of(args[0]))
            outputs = symbolic_tensors(shape, self.compute_dtype)
        record(self, args, kwargs, outputs)
        if self._makes_mask or (mask is not None and self.supports_masking):
            self._put_mask(args, outputs, mask)
        return outputs

    def _convert(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Turn arrays into tensors and cast them to the compute dtype."""
        target = dtypes.DTYPES[self.compute_dtype]

        def from_array(leaf: Any) -> Any:
            if isinstance(leaf, WeightView):
                return leaf.value
            if isinstance(leaf, (Tensor, KerasTensor)) or not hasattr(
                leaf, "__array__"
            ):
                return leaf
            leaf = torch.as_tensor(_readable(self.name, leaf))
            device = next((t.device for t in self._tensors()), None)
            return leaf.to(device or config.default_device())

        def convert(leaf: Any) -> Any:
            leaf = from_array(leaf)
            if not isinstance(leaf, Tensor) or leaf.dtype == target:
                return leaf
            floating = leaf.is_floating_point()
            casts = self.autocast and (floating or self.casts_integers)
            if not casts or leaf.dtype in self.index_dtypes:
                return leaf
            # Autocast leaves float64 alone, which meets weights of another dtype.
            narrow = floating and leaf.dtype != torch.float64
            if narrow and self._is_cast_by_torch(leaf.device.type):
                return leaf
            cast = leaf.to(target)
            if (mask := getattr(leaf, "_keras_mask", None)) is not None:
                cast._keras_mask = mask  # type: ignore[attr-defined]
            return cast

        if args and isinstance(args[0], (list, tuple)) and _is_numeric(args[0]):
            args = (np.asarray(args[0]), *args[1:])
        return tree.map_structure(convert, args), {
            # A mask says which, it is not computed with.
            k: tree.map_structure(from_array if k.endswith("mask") else convert, v)
            for k, v in kwargs.items()
        }

    # Building

    def _build_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call `build` with the shapes of the call's arguments."""
        parameters = list(inspect.signature(self.build).parameters)
        if len(parameters) <= 1:
            self.build(shapes_of(args[0]) if args else None)
            return
        bound = inspect.signature(self.call).bind(*args, **kwargs).arguments
        shapes = {f"{k}_shape": shapes_of(v) for k, v in bound.items() if v is not None}
        self.build(**{k: v for k, v in shapes.items() if k in parameters})

    def _finish_build(self, shapes: dict[str, Any]) -> None:
        self.built = True
        self._build_shapes = shapes
        for name, weight in self._views.items():
            weight.path = f"{self.name}/{name}"
        if not self._trainable:
            self.trainable = False
        self.train(self.training)  # new torch modules begin in training mode
        self._choose_path()

    def _choose_path(self) -> None:
        """Decide whether a call on one tensor can go straight to `call`."""
        inner = [m for m in self.modules() if isinstance(m, Layer)]
        self._has_losses = False
        self._choose_path_with(inner)

    def _choose_path_with(self, inner: list[Layer]) -> None:
        """Decide it anew when there are more layers inside."""
        self._has_losses = self._has_losses or any(
            m._has_losses or m.activity_regularizer is not None for m in inner
        )
        if self.dtype_policy.is_mixed:
            for layer in inner:
                layer._plain = False
            return
        compute = dtypes.DTYPES[self.compute_dtype]
        self._plain_dtypes = self.index_dtypes or (compute,)
        self._plain = self.built and not (
            self._has_losses or self._makes_mask or "training" in self._call_arguments
        )

    def get_build_config(self) -> dict[str, Any] | None:
        """Return the shapes the layer was built with, None before that."""
        return self._build_shapes

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build from what `get_build_config` returned."""
        shapes = {k: as_shape(v) for k, v in config.items()}
        if self.built or not any(v is not None for v in shapes.values()):
            return
        if set(shapes) == {"input_shape"}:
            self.build(shapes["input_shape"])
        elif "shapes_dict" in shapes:
            self.build(**shapes["shapes_dict"])
        else:
            self.build(**shapes)

    # Weights

    @_name_first
    def add_weight(
        self,
        shape: tuple[int, ...] | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
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
            regularizer: a penalty added to the loss.
            constraint: a projection applied after each update.
            aggregation: accepted for Keras's signature.
            overwrite_with_gradient: accepted for Keras's signature.
            name: the name, and the key in `state_dict` until assigned to an attribute.

        Returns:
            The weight.
        """
        self._refuse_in_call(f"the weight {name or 'variable'!r}")
        shape = () if shape is None else tuple(np.atleast_1d(shape).tolist())
        if None in shape:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): the shape of the weight "
                f"'{name or 'variable'}' must be known, got {shape}. Call the layer on "
                "inputs of which the axes that it has weights for are known."
            )
        dtype = dtypes.standardize_dtype(dtype or self.variable_dtype)
        if initializer is None:
            initializer = "glorot_uniform" if "float" in dtype else "zeros"
        value = initializers.get(initializer)
        variable = Variable(value, shape, dtype, trainable, name=name or "variable")
        variable.path = f"{self.name}/{variable.name}"
        variable.declared_trainable = trainable
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        key = variable.name.replace(".", "_").replace("/", "_")
        taken = {*self._parameters, *self._buffers, *self._modules}
        while key in taken or hasattr(type(self), key) or key in self.__dict__:
            key = f"{key}_"
        self._register(key, variable)
        return variable

    def _register(self, key: str, variable: Variable) -> None:
        if getattr(variable, "declared_trainable", variable.requires_grad):
            self.register_parameter(key, variable)
        else:
            self.register_buffer(key, variable)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            self._refuse_before_init(name, value)
        elif context.call_stack and isinstance(value, nn.Module):
            self._refuse_in_call(f"the layer `self.{name}`")
        if isinstance(value, Variable) and "_parameters" in self.__dict__:
            self._set_variable(name, value)
            return
        if self.__dict__.get("_containers"):
            self._release(name)
            if isinstance(value, nn.Module):
                _ = self._modules  # what was filled before comes before it
        if may_hold_state(value) and name not in _OWN:
            for table in ("_modules", "_parameters", "_buffers"):
                self.__dict__.get(table, {}).pop(name, None)
            object.__setattr__(self, name, value)
            self._contain(name, value)
            return
        super().__setattr__(name, value)

    def _set_variable(self, name: str, variable: Variable) -> None:
        for table in (self._parameters, self._buffers):
            for key in [k for k, v in table.items() if v is variable]:
                del table[key]
        self._release(name)
        # What stood there before, such as None until `build`, makes way.
        for table in (self.__dict__, self._parameters, self._buffers):
            table.pop(name, None)
        self._register(name, variable)

    def __delattr__(self, name: str) -> None:
        self._release(name)
        super().__delattr__(name)

    @property
    def _modules(self) -> dict[str, Any]:  # type: ignore
        """Torch's table of children, with the containers that hold some now."""
        try:
            table = self.__dict__["_modules"]
        except KeyError:
            raise AttributeError("_modules") from None
        if containers := self.__dict__.get("_containers"):
            for name, shown in containers.items():
                if not holds_state(shown.container):
                    table.pop(name, None)
                elif name not in table:
                    table[name] = shown
        return table

    @_modules.setter
    def _modules(self, table: dict[str, Any]) -> None:  # type: ignore
        self.__dict__["_modules"] = table

    def _contain(self, name: str, value: Any) -> None:
        """Show torch, from now on, what an attribute that is a container holds."""
        if "_containers" not in self.__dict__ or not self._tracks_containers:
            return
        # A property keeps its value under another name, or nowhere.
        if may_hold_state(value) and self.__dict__.get(name) is value:
            self._containers[name] = ContainedModules(value)

    def _release(self, name: str) -> None:
        if self.__dict__.get("_containers", {}).pop(name, None) is not None:
            self.__dict__["_modules"].pop(name, None)

    def _refuse_before_init(self, name: str, value: Any) -> None:
        nested = may_hold_state(value) and holds_state(value)
        holds = nested or isinstance(value, (nn.Module, Tensor))
        if holds and name != "_parameters":
            raise RuntimeError(
                f"{type(self).__name__}: `self.{name}` was assigned before the layer "
                "was ready. Call `super().__init__()` first in `__init__`."
            )

    def _refuse_in_call(self, what: str) -> None:
        """Refuse what would be made anew, or get lost, in each call."""
        if self in context.call_stack:
            raise RuntimeError(
                f"Layer '{self.name}' ({type(self).__name__}): {what} was made in "
                "`call`. Make weights and layers in `build` or `__init__`, which run "
                "once."
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # Torch replaces moved buffers by plain tensors; a Variable stays one.
        before = {k: b for k, b in self._buffers.items() if isinstance(b, Variable)}
        super()._apply(fn, recurse)
        for key, variable in before.items():
            moved = self._buffers[key]
            if moved is not None and not isinstance(moved, Variable):
                if moved.is_meta == variable.is_meta:
                    variable.data = moved
                else:
                    variable = variable._like(moved, dict(variable.__dict__))
                self._buffers[key] = variable
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
            if self.built:
                self._choose_path()

    def keep_weight_options(self, arguments: Mapping[str, Any], *prefixes: str) -> None:
        """Keep what a constructor is told of weights: how they begin, stay small, fit.

        Args:
            arguments: the constructor's arguments by name, as ``locals()`` has them.
            *prefixes: what stands before ``_initializer``, ``_regularizer`` and
                ``_constraint`` in those arguments, and in the attributes made of them.
        """
        for kind, get in _WEIGHT_OPTIONS.items():
            for prefix in prefixes:
                name = f"{prefix}_{kind}"
                if name in arguments:
                    setattr(self, name, get(arguments[name]))

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
        view = WeightView(module, names, layout, name)
        view.regularizer = getattr(self, f"{options}_regularizer", None)
        view.constraint = getattr(self, f"{options}_constraint", None)
        if initializer is None:
            initialize = getattr(self, f"{options}_initializer")
        else:
            initialize = initializer
        view.declared_trainable = view.trainable
        with torch.no_grad():
            view.assign(initialize(view.shape, dtype=view.dtype))
        self._views[name] = view
        return view

    def leave_out(self, *names: str) -> None:
        """Say that options leave these weights out: the attributes are None."""
        self.__dict__.update(dict.fromkeys(names))

    def __getattr__(self, name: str) -> Any:
        # The module inside first: it is asked for in every call.
        for table in ("_modules", "_views"):
            if (found := self.__dict__.get(table, {}).get(name)) is not None:
                return found
        if "_modules" not in self.__dict__ and not name.startswith("__"):
            raise RuntimeError(
                f"{type(self).__name__}: `super().__init__()` was not called. Call it "
                "first in `__init__`."
            )
        # An AttributeError of a property ends here: raise it, not a vaguer one.
        if isinstance(made := getattr(type(self), name, None), property):
            return made.__get__(self)
        return super().__getattr__(name)

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.parameters()
        yield from self.buffers()

    def _own_weights(self) -> list[Any]:
        own: list[Any] = list(self._views.values())
        for holder in self._holders():
            hidden = torch_private.unsaved_buffers(holder)
            for name, tensor in {**holder._parameters, **holder._buffers}.items():
                if tensor is None or name in hidden:
                    continue
                plain = not isinstance(tensor, Variable)
                own.append(self._view_of_plain(holder, name) if plain else tensor)
        return sorted(own, key=lambda w: not getattr(w, "declared_trainable", True))

    def _holders(self) -> Iterator[nn.Module]:
        """Yield what holds the layer's own tensors: itself, then its containers."""
        waiting: list[nn.Module] = [self]
        while waiting:
            holder = waiting.pop(0)
            yield holder
            inner = holder._modules.values()
            waiting += [m for m in inner if isinstance(m, ContainedModules)]

    def _view_of_plain(self, holder: nn.Module, name: str) -> WeightView:
        """Show a tensor that was registered as torch's users do."""
        view = WeightView(holder, (name,), IDENTITY, name)
        view.path = f"{self.name}/{name}"
        view.declared_trainable = name in holder._parameters
        return view

    @property
    def weights(self) -> list[Any]:
        """All weights in Keras's order and layout: its own, then those inside."""
        return list({_identity(w): w for w in weights_of(self, set())}.values())

    @property
    def variables(self) -> list[Any]:
        """All weights."""
        return self.weights

    @property
    def trainable_weights(self) -> list[Any]:
        """The weights that are trained."""
        trained = [w for w in self.weights if w.trainable]
        if self._trainable:
            return trained
        # As in Keras, a layer thawed inside a frozen one is not trained by that one;
        # a weight that torch thawed in a frozen layer is.
        thawed = {
            _identity(weight)
            for layer in self.modules()
            if isinstance(layer, Layer) and layer._trainable
            for weight in layer.weights
        }
        return [w for w in trained if _identity(w) not in thawed]

    @property
    def trainable_variables(self) -> list[Any]:
        """The weights that are trained."""
        return self.trainable_weights

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The weights that are not trained."""
        trained = {_identity(w) for w in self.trainable_weights}
        return [w for w in self.weights if _identity(w) not in trained]

    @property
    def non_trainable_variables(self) -> list[Any]:
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
            and hasattr(module, "reset_state")
        ]

    def get_weights(self) -> list[np.ndarray]:
        """Return the values of `weights` as NumPy arrays in Keras's layout."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Iterable[Any]) -> None:
        """Assign values, in Keras's order and layout; all of them or none.

        Raises:
            ValueError: when the number or a shape does not fit.
        """
        values, own = list(weights), self.weights
        if len(values) != len(own):
            raise ValueError(
                f"Layer '{self.name}' has {len(own)} weights, set_weights got "
                f"{len(values)} arrays. Expected shapes: {[w.shape for w in own]}."
            )
        wrong = [
            f"{weight.path}: expected {tuple(weight.shape)}, got {np.shape(value)}"
            for weight, value in zip(own, values, strict=True)
            if tuple(weight.shape) != tuple(np.shape(value))
        ]
        if wrong:
            raise ValueError(
                f"Layer '{self.name}' cannot take these weights: {'; '.join(wrong)}. "
                "Nothing was changed."
            )
        for weight, value in zip(own, values, strict=True):
            weight.assign(value)

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

    # Properties

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value
        self._name_is_given = True

    @property
    def path(self) -> str:
        """The name, as Keras's paths begin."""
        return self._name

    @property
    def trainable(self) -> bool:
        """Whether the weights are trained; setting it reaches the layers inside.

        Torch's `requires_grad_` says the same of a layer's own weights.
        """
        own = [w for w in self._own_weights() if w.declared_trainable]
        if own:
            return any(w.trainable for w in own)
        return self._trainable or bool(self.trainable_weights)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._set_trainable(value := bool(value))
        for weight in self.weights:
            if getattr(weight, "declared_trainable", True):
                weight.trainable = value

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze or thaw all parameters, also those that are made later."""
        self._set_trainable(requires_grad)
        return super().requires_grad_(requires_grad)

    def _set_trainable(self, value: bool) -> None:
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer._trainable = value
        Layer.last_freezing = object()

    @property
    def dtype_policy(self) -> dtypes.DTypePolicy:
        """The dtype policy; set it, by name too, to change that of weights as well."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        self._dtype_policy = policy = dtypes.get_policy(value).at(self._name)
        if not self.__dict__.get("built", False):
            return
        dtype = dtypes.DTYPES[policy.variable_dtype]
        for weight in self._own_weights():
            for tensor in weight.tensors:
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(dtype)
        self._choose_path()

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return self.dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights."""
        return self.dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype of the computation."""
        return self.dtype_policy.compute_dtype

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

    def __getstate__(self) -> dict[str, Any]:
        # A copy is no part of the graphs that the layer is in, nor of the last call's.
        return {**self.__dict__, "_nodes": [], "_losses": []}

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
            layer._plain = False
        self._keep_losses(tree.flatten(loss))

    def _keep_losses(self, terms: list[Any]) -> None:
        # Where shapes are inferred or a program is exported, they are no data.
        if not (context.probes or torch.compiler.is_exporting()):
            self._losses.extend(terms)

    @property
    def losses(self) -> list[Tensor]:
        """The terms of the last call and the penalties on weights."""
        terms = [t for m in self.modules() if isinstance(m, Layer) for t in m._losses]
        penalties = [
            weight.regularizer(weight.value)
            for weight in self.trainable_weights
            if getattr(weight, "regularizer", None) is not None
        ]
        return [*terms, *penalties]

    def _forget_losses(self) -> None:
        for module in self.modules():
            if isinstance(module, Layer):
                module._losses.clear()

    # Shapes

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return the shape of the outputs; inferred by a run on the `meta` device.

        Args:
            *args: the shape of each input of a call: ``input_shape``.
            **kwargs: the same by name.
        """
        inputs = [
            None if shape is None else symbolic_tensors(shape, self.dtype)
            for shape in args
        ]
        named = {
            name.removesuffix("_shape"): symbolic_tensors(shape, self.dtype)
            for name, shape in kwargs.items()
            if shape is not None
        }
        if "input" in named:  # Keras's name for that of the first argument
            inputs.insert(0, named.pop("input"))
        return shapes_of(self.compute_output_spec(*inputs, **named))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return symbolic tensors of the outputs' shapes and dtypes."""
        if not self.built:
            self._build_from(args, kwargs)
        return infer_outputs(self, args, kwargs)

    # Checks, made when something went wrong or before it can

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        if self.input_spec is None or not args:
            return
        specs = (
            self.input_spec if isinstance(self.input_spec, list) else [self.input_spec]
        )
        for spec, value in zip(specs, tree.flatten(args[0]), strict=False):
            if value is None or not hasattr(value, "shape"):
                continue
            if problem := spec.problem(tuple(value.shape)):
                hint = self.input_hint(tuple(value.shape))
                raise ValueError(
                    f"Layer '{self.name}' ({type(self).__name__}): {problem}, got an "
                    f"input of shape {tuple(value.shape)}. {hint}".rstrip()
                )

    def input_hint(self, shape: tuple[int | None, ...]) -> str:
        """Return advice for an input that does not fit."""
        return ""

    def _explain(self, error: Exception, args: tuple[Any, ...]) -> None:
        """Raise a clearer error, or note on this one where it was raised."""
        if any(n.startswith(_NOTE) for n in getattr(error, "__notes__", ())):
            return
        if not isinstance(error, (ValueError, TypeError)):
            try:
                self._check_inputs(args)
            except ValueError as clearer:
                clearer.add_note(f"{_NOTE} '{self.name}'.")
                raise clearer from None
        got = ", ".join(describe(leaf) for leaf in tree.flatten(args))
        error.add_note(
            f"{_NOTE} '{self.name}' ({type(self).__name__}) called on {got}."
        )

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
        owner = _config_owner(type(self))
        values = (
            self._captured_arguments() if owner is None else self._attributes(owner)
        )
        values = {**common, **values, **{k: common[k] for k in common}}
        if self.activity_regularizer is not None:
            values["activity_regularizer"] = self.activity_regularizer
        return serialize_object(values)

    def _attributes(self, owner: type) -> dict[str, Any]:
        """Return the arguments of a built-in class, which keeps them as attributes."""
        parameters = inspect.signature(owner.__init__).parameters
        return {name: getattr(self, name) for name, parameter in parameters.items()
                if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                and name != "self" and hasattr(self, name)}  # fmt: skip

    def _captured_arguments(self) -> dict[str, Any]:
        args, kwargs = self._captured
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        values: dict[str, Any] = {}
        for name, parameter in list(signature.parameters.items())[1:]:
            if parameter.kind is parameter.VAR_KEYWORD:
                values.update(bound.arguments[name])
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                values[name] = bound.arguments[name]
        if type(self).__module__.startswith("torchkeras."):
            values = {k: self.__dict__.get(k, v) for k, v in values.items()}
        return values

    @classmethod
    @sharing.reading()
    def from_config(cls, config: dict[str, Any]) -> Any:
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
        parameters = inspect.signature(cls.__init__).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return cls(**values)._with_name_of_config()
        check_arguments(cls, values)
        given = {k: v for k, v in values.items() if k in parameters}
        layer = cls(**given)
        beside = {k: v for k, v in values.items() if k not in parameters}
        layer._name = beside.get("name", layer._name)
        layer.dtype_policy = dtypes.get_policy(beside.get("dtype", layer.dtype_policy))
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
        outermost = not self.__dict__.get("_building", False)
        self.__dict__["_building"] = True
        try:
            with outside_of_probes(self):
                build(self, *args, **kwargs)
                if outermost:
                    bound = inspect.signature(build).bind(self, *args, **kwargs)
                    shapes = dict(list(bound.arguments.items())[1:])
                    shapes.pop("kwargs", None)
                    self._finish_build(shapes)
        finally:
            if outermost:
                del self.__dict__["_building"]

    return wrapped


Layer.build = _tracked_build(Layer.build)  # `__init_subclass__` does not see the base


def weights_of(module: nn.Module, covered: set[int]) -> Iterator[Any]:
    """Yield a module's weights: views and Variables, then those of the modules inside.

    Tensors of a torch module that no view covers are shown as they are.
    """
    if isinstance(module, Layer):
        own = module._own_weights()
        for weight in own:
            if isinstance(weight, WeightView) and weight.module is not module:
                covered.add(id(weight.module))
        yield from own
    elif id(module) not in covered and not isinstance(module, ContainedModules):
        unsaved = torch_private.unsaved_buffers(module)
        for name in (*module._parameters, *module._buffers):
            tensor = getattr(module, name)
            if isinstance(tensor, Variable):
                yield tensor
            elif tensor is not None and name not in unsaved:
                view = WeightView(module, (name,), IDENTITY, name)
                view.declared_trainable = name in module._parameters
                yield view
    for child in module._modules.values():
        if child is not None:
            yield from weights_of(child, covered)


def _riding_masks(args: tuple[Any, ...]) -> Any:
    """Return the masks on the first argument, in a list if it is a structure."""
    masks = [getattr(x, "_keras_mask", None) for x in tree.flatten(args[:1])]
    if all(mask is None for mask in masks):
        return None
    return masks if tree.is_nested(args[0]) else masks[0]


def _config_owner(cls: type) -> type | None:
    """Return the built-in class below which a user's class has its own `get_config`."""
    built_in = [c for c in cls.__mro__ if c.__module__.startswith("torchkeras.")]
    own = next(c for c in cls.__mro__ if "get_config" in vars(c))
    return None if own in built_in else built_in[0]


def _identity(weight: Any) -> Any:
    if isinstance(weight, WeightView):
        return id(weight.module), weight.names
    return id(weight)


def _is_numeric(value: Any) -> bool:
    """Say whether a nested list holds numbers only."""
    leaves = tree.flatten(value)
    # `bool(leaves)` breaks the graphs that torch 2.11 compiles.
    return len(leaves) > 0 and all(
        isinstance(leaf, (int, float, bool)) for leaf in leaves
    )


def check_arguments(cls: type, config: Mapping[str, Any]) -> None:
    """Check that the constructor of a class takes what a config holds.

    Raises:
        TypeError: when it does not.
    """
    parameters = inspect.signature(cls.__init__).parameters.values()
    own = dict(config)
    for key in set(_COMMON) - {p.name for p in parameters}:
        own.pop(key, None)
    try:
        inspect.signature(cls.__init__).bind(None, **own)
    except TypeError as error:
        raise TypeError(
            f"{cls.__name__}: its config does not fit its constructor: {error}. Let "
            "`get_config` return the arguments of `__init__`, all of them and no other."
        ) from None


def _readable(name: str, array: Any) -> np.ndarray:
    array = as_array(array, f"Layer '{name}': the input")
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"Layer '{name}': expected numbers, got an array of dtype {array.dtype}. "
            "Convert it to numbers first."
        )
    return array


def as_shape(value: Any) -> Any:
    """Return a shape of a config, in lists, as tuples."""
    if isinstance(value, dict):
        return {k: as_shape(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        if all(v is None or isinstance(v, int) for v in value):
            return tuple(value)
        return [as_shape(v) for v in value]
    return value


def shapes_of(structure: Any) -> Any:
    """Return the shapes of the tensors in a structure; no batch size in a probe."""

    def shape_of(leaf: Any) -> Any:
        if isinstance(leaf, KerasTensor):
            return leaf.static_shape
        if not hasattr(leaf, "shape"):
            return leaf
        shape = tuple(leaf.shape)
        return (None, *shape[1:]) if context.probes and shape else shape

    return tree.map_structure(shape_of, structure)


def symbolic_tensors(shape: Any, dtype: Any) -> Any:
    """Return symbolic tensors for a shape or a nested structure of shapes."""
    if isinstance(shape, dict):
        return {k: symbolic_tensors(v, dtype) for k, v in shape.items()}
    if all(v is None or isinstance(v, int) for v in shape):
        return KerasTensor(shape, dtype)
    return type(shape)(symbolic_tensors(v, dtype) for v in shape)


def empty_module(
    layer: Layer, factory: Callable[..., nn.Module], *args: Any, **kwargs: Any
) -> Any:
    """Make a torch module whose tensors hold nothing yet, to be filled by initializers.

    It is on the default device and of the layer's variable dtype; torch's own random
    initialization is neither paid for nor allowed to move the random state.
    """
    if any(arg is None for arg in args):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}): the number of features or "
            "channels of the inputs must be known, got None. Give it in `Input(shape)`."
        )
    ambient = torch.get_default_device()
    device = ambient if ambient.type == "meta" else config.default_device()
    with torch.device("meta"):
        dtype = dtypes.DTYPES[layer.variable_dtype]
        module = factory(*args, dtype=dtype, **kwargs)
    return module if device.type == "meta" else module.to_empty(device=device)


def record(
    op: Any, args: Any, kwargs: Any, outputs: Any, name: str | None = None
) -> Node:
    """Enter a call that made symbolic tensors, at the layer that was called too."""
    node = Node(op, args, kwargs, outputs, name)
    if isinstance(op, Layer):
        op._nodes.append(node)
    return node


def serialize(layer: Layer) -> dict[str, Any]:
    """Return Keras's JSON form of a layer: its class, its config, how it was built."""
    return layers.serialize(layer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Make a layer from what `serialize` returned.

    Args:
        config: the JSON form, or the name of a layer.
        custom_objects: names of your own classes and functions.

    Raises:
        ValueError: for an unknown layer.
    """
    return layers.deserialize(config, custom_objects)


#: Torch modules whose output is new memory that their backward pass does not read.
FRESH_OUTPUT = {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d}


def may_rectify_in_place(module: nn.Module, activation: Any) -> bool:
    """Say whether a ReLU may overwrite what `module` returned.

    It may where nobody else sees the output, which a hook or a module of another class
    might keep. Memory for a new image batch costs more than the ReLU.
    """
    return (
        activation is activations.relu
        and type(module) in FRESH_OUTPUT
        and not torch_private.sees_outputs(module)
    )
