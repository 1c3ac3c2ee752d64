"""Data types by Keras's names, and dtype policies over `torch.autocast`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch

from torchkeras._core import config, gate
from torchkeras._core.errors import invalid_argument, unknown_name
from torchkeras._core.registry import Registry, deserialize_object, root
from torchkeras._core.typing import DType

DTYPES: dict[str, torch.dtype] = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "uint32": torch.uint32,
    "uint64": torch.uint64,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "complex64": torch.complex64,
    "complex128": torch.complex128,
    "int": torch.int32,
    "float": torch.float32,
    "half": torch.float16,
    "double": torch.float64,
}
_NAMES = {dtype: name for name, dtype in reversed(DTYPES.items())}


#: The dtype of symbolic tensors of strings, which are arrays of NumPy in a call.
STRING = "string"


def excluding_score(dtype: torch.dtype) -> float:
    """Return what is added to scores of attention that do not count.

    It is finite, so that a query that may attend to nothing gives a mean and no
    NaN, and so in the kernels too, which multiply scores by ``log2(e)``.
    """
    return 0.5 * torch.finfo(dtype).min


def to_torch_dtype(dtype: DType) -> torch.dtype:
    """Return the torch dtype of a name, a NumPy dtype or a torch dtype; None is floatx.

    Raises:
        ValueError: for a type that is none of them.

    Example:
        >>> to_torch_dtype("float16"), to_torch_dtype(None)
        (torch.float16, torch.float32)
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype is None:
        return DTYPES[config.floatx()]
    if isinstance(dtype, DTypePolicy):
        return DTYPES[dtype.compute_dtype]
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    name = getattr(dtype, "__name__", str(dtype)) if name is None else name
    if name not in DTYPES:
        raise ValueError(unknown_name("dtype", dtype, DTYPES))
    return DTYPES[name]


def standardize_dtype(dtype: DType) -> str:
    """Return Keras's name of a dtype given in any form; None is floatx.

    Example:
        >>> standardize_dtype(torch.float64)
        'float64'
    """
    return _NAMES[to_torch_dtype(dtype)]


def dtype_of_data(dtype: DType) -> str:
    """Return the name of a dtype of tensors, or of strings.

    Example:
        >>> dtype_of_data("string"), dtype_of_data("int")
        ('string', 'int32')
    """
    is_string = isinstance(dtype, str) and dtype == STRING
    return STRING if is_string else standardize_dtype(dtype)


#: For each dtype, the next larger ones. "int" and "float" stand for Python's numbers,
#: which take the dtype of what they meet.
_LARGER = {
    "bool": ["int"],
    "int": ["uint8", "int8"],
    "uint8": ["uint16", "int16"],
    "uint16": ["uint32", "int32"],
    "uint32": ["uint64", "int64"],
    "uint64": ["float"],
    "int8": ["int16"],
    "int16": ["int32"],
    "int32": ["int64"],
    "int64": ["float"],
    "float": ["bfloat16", "float16"],
    "bfloat16": ["float32"],
    "float16": ["float32"],
    "float32": ["float64", "complex64"],
    "float64": ["complex128"],
    "complex64": ["complex128"],
    "complex128": [],
}


def _joins() -> dict[tuple[str, str], str]:
    """Return the smallest dtype that holds both, for every pair."""
    above: dict[str, set[str]] = {}
    for name in reversed(_LARGER):  # the larger ones come later in the table
        above[name] = {name}.union(*(above[larger] for larger in _LARGER[name]))
    joins: dict[tuple[str, str], str] = {}
    for first in above:
        for second in above:
            common = above[first] & above[second]
            joins[first, second] = max(common, key=lambda name: len(above[name]))
    return joins


_JOINS = _joins()
#: As in Keras, promotion gives at most 32 bits.
_NARROW = {
    "int64": "int32",
    "uint64": "uint32",
    "float64": "float32",
    "complex128": "complex64",
}
_PYTHON_TYPES = {int: "int", float: "float", complex: "complex64"}


def result_type(*dtypes: Any) -> str:
    """Return the dtype of a computation over operands of the given dtypes.

    Python's `int` and `float` are weak: they take the dtype of the others where it can
    hold them. The result has at most 32 bits (complex: 64), as in Keras.

    Args:
        *dtypes: dtypes in any form; None is floatx. Without any the result is floatx.

    Raises:
        ValueError: for what is no dtype.

    Example:
        >>> result_type("int32", "float16"), result_type("bfloat16", float)
        ('float16', 'bfloat16')
        >>> result_type("uint8", "int8"), result_type(int, float)
        ('int16', 'float32')
    """
    if not dtypes:
        return config.floatx()
    # `is`, not `in`: a NumPy dtype may equal a Python type.
    names = [
        _PYTHON_TYPES[dtype]
        if any(dtype is weak for weak in _PYTHON_TYPES)
        else standardize_dtype(dtype)
        for dtype in dtypes
    ]
    result = names[0]
    for name in names[1:]:
        result = _JOINS[result, name]
    if result in ("int", "float"):
        result += config.floatx()[-2:]
    return _NARROW.get(result, result)


@root.register("FloatDTypePolicy")
class DTypePolicy:
    """The dtypes of a layer: one for its weights, one for its computation.

    Args:
        name: a dtype such as ``"float32"``, or ``"mixed_float16"`` or
            ``"mixed_bfloat16"``, where weights stay in float32 and `torch.autocast`
            chooses the type of each operation.

    Example:
        >>> policy = DTypePolicy("mixed_bfloat16")
        >>> policy.variable_dtype, policy.compute_dtype
        ('float32', 'bfloat16')
    """

    name: str
    compute_dtype: str
    variable_dtype: str

    def __init__(self, name: str | None = None) -> None:
        name = config.floatx() if name is None else standardize_policy_name(name)
        self.name = name
        self.compute_dtype = name.removeprefix("mixed_")
        self.variable_dtype = "float32" if name.startswith("mixed_") else name

    @property
    def is_mixed(self) -> bool:
        """Whether computation runs under `torch.autocast`."""
        return self.compute_dtype != self.variable_dtype

    @property
    def quantization_mode(self) -> None:
        """Always None: quantization is left to torch's own tools."""

    def at(self, path: str) -> DTypePolicy:
        """Return the policy of the layer at a path: this one."""
        return self

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name}

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """Make a policy from `get_config`'s result."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


policies = Registry("dtype policy", "keras.dtype_policies")


@policies.register()
class DTypePolicyMap(DTypePolicy, MutableMapping[str, DTypePolicy]):
    """A policy for each path of a layer, given by paths or regular expressions.

    A layer with it as `dtype` takes the policy of its path.

    Args:
        default_policy: the policy of all other paths; the global one by default.
        policy_map: policies by path, or by an expression that matches the whole path.

    Raises:
        ValueError: when the default is a map, a path is set twice, or several
            expressions match a path.

    Example:
        >>> policies = DTypePolicyMap("float32", {"decoder.*": "bfloat16"})
        >>> policies["decoder_1"].name, policies["encoder"].name
        ('bfloat16', 'float32')
    """

    def __init__(
        self, default_policy: Any = None, policy_map: Mapping[str, Any] | None = None
    ) -> None:
        owner = type(self).__name__
        if isinstance(default_policy, DTypePolicyMap):
            expected = "a policy or None"
            raise ValueError(
                invalid_argument(owner, "default_policy", expected, default_policy)
            )
        if policy_map is not None and not isinstance(policy_map, Mapping):
            expected = "a dict of policies or None"
            raise TypeError(invalid_argument(owner, "policy_map", expected, policy_map))
        self._is_global = default_policy is None
        self.default_policy = get_policy(default_policy)
        self.name = f"map_{self.default_policy.name}"
        self.compute_dtype = self.default_policy.compute_dtype
        self.variable_dtype = self.default_policy.variable_dtype
        self._policies: dict[str, DTypePolicy] = {}
        self.update(policy_map or {})

    def at(self, path: str) -> DTypePolicy:
        return self[path]

    def __getitem__(self, key: str) -> DTypePolicy:
        if key in self._policies:
            return self._policies[key]
        matching = [known for known in self._policies if re.fullmatch(known, key)]
        if len(matching) > 1:
            raise ValueError(
                f"DTypePolicyMap: the path {key!r} matches several entries, {matching}."
                " Make them exclude one another."
            )
        return self._policies[matching[0]] if matching else self.default_policy

    def __setitem__(self, key: str, policy: Any) -> None:
        if key in self._policies:
            raise ValueError(
                f"DTypePolicyMap: {key!r} has the policy {self._policies[key].name!r} "
                "already. Delete it first to change it."
            )
        self._policies[key] = get_policy(policy)

    def __delitem__(self, key: str) -> None:
        del self._policies[key]

    def __contains__(self, key: object) -> bool:
        return key in self._policies

    def __iter__(self) -> Iterator[str]:
        return iter(self._policies)

    def __len__(self) -> int:
        return len(self._policies)

    def get_config(self) -> dict[str, Any]:
        default = None if self._is_global else self.default_policy
        return {"default_policy": default, "policy_map": self._policies}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DTypePolicyMap)
            and other.default_policy == self.default_policy
            and other._policies == self._policies
        )

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        mapping = {key: policy.name for key, policy in self._policies.items()}
        return f'<DTypePolicyMap "{self.default_policy.name}", {mapping}>'


def standardize_policy_name(name: Any) -> str:
    """Check the name of a policy and return it.

    Raises:
        ValueError: for an unknown name.
    """
    if name in ("mixed_float16", "mixed_bfloat16"):
        return name
    try:
        return standardize_dtype(name)
    except ValueError:
        known = [*DTYPES, "mixed_float16", "mixed_bfloat16"]
        raise ValueError(unknown_name("dtype policy", name, known)) from None


_default: DTypePolicy | None = None


def dtype_policy() -> DTypePolicy:
    """Return the policy of layers made without a `dtype`.

    Example:
        >>> dtype_policy().name
        'float32'
    """
    return DTypePolicy() if _default is None else _default


def set_dtype_policy(policy: Any) -> None:
    """Set the policy of layers made from now on.

    Args:
        policy: a name or a `DTypePolicy`; None goes back to ``floatx``.
    """
    global _default
    _default = None if policy is None else get_policy(policy)


def get_policy(identifier: Any) -> DTypePolicy:
    """Return the policy that a name, a dtype, a config or None stands for."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return deserialize_object(identifier, family=root)
    return DTypePolicy(identifier)


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """Return the dtype that `torch.autocast` computes in now, None where it is off."""
    # Autocast knows no "meta", where there are shapes only.
    if device_type == "meta" or not torch.is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)


def autocast(
    policy: DTypePolicy, device_type: str
) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a layer of that policy computes.

    A mixed policy turns autocast on, a plain one inside a mixed model turns it off:
    ``Dense(10, dtype="float32")`` computes in float32 wherever it stands.
    """
    if device_type == "meta":  # shapes only; autocast knows no such device
        return contextlib.nullcontext()
    active = torch.is_autocast_enabled(device_type)
    if policy.is_mixed == active:
        return contextlib.nullcontext()
    dtype = DTYPES[policy.compute_dtype] if policy.is_mixed else None
    return torch.autocast(device_type, dtype=dtype, enabled=policy.is_mixed)
