"""`TorchModuleWrapper`: a torch module under Keras's name for it."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from torchkeras._core.errors import UnsafeFileError, invalid_argument
from torchkeras._core.registry import serialize_object
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import symbolic_tensors


@layers.register()
class TorchModuleWrapper(Layer):
    """A torch module as a layer; modules need no wrapper here, and may have one.

    Args:
        module: the module.
        name: the name.
        output_shape: the shape of the outputs, where it cannot be inferred.

    Shape:
        As the module has it.

    Raises:
        ValueError: for what is no module, or a lazy one that has no weights yet.

    Example:
        >>> import torch
        >>> layer = TorchModuleWrapper(nn.Linear(3, 2))
        >>> layer(torch.ones(4, 3)).shape, layer.count_params()
        (torch.Size([4, 2]), 8)
    """

    def __init__(
        self,
        module: nn.Module,
        name: str | None = None,
        output_shape: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not isinstance(module, nn.Module):
            expected = "a torch module"
            raise ValueError(
                invalid_argument("TorchModuleWrapper", "module", expected, module)
            )
        if any(map(is_lazy, module.parameters())):
            raise ValueError(
                "TorchModuleWrapper: a lazy module must have its weights; call it once "
                f"before, got {type(module).__name__}."
            )
        self.module = module
        self.output_shape = output_shape

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return symbolic tensors of the outputs' shapes and dtypes."""
        if self.output_shape is None:
            return super().compute_output_spec(*args, **kwargs)
        return symbolic_tensors(self.output_shape, self.compute_dtype)

    @classmethod
    def _from_arguments(cls, values: dict[str, Any]) -> Any:
        if isinstance(values.get("module"), str):
            raise UnsafeFileError(
                f"{cls.__name__}: its config holds a pickled torch module, as Keras "
                "writes it. Pickles can run code, and are never read. Make the model "
                "in Python, and call `load_weights`."
            )
        return super()._from_arguments(values)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "module": serialize_object(self.module)}
