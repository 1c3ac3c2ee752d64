"""Several layers as one: `Pipeline`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from torchkeras._core.errors import invalid_argument
from torchkeras._core.registry import serialize_object
from torchkeras.layers.layer import Layer, layers


@layers.register()
class Pipeline(Layer):
    """Calls layers one after the other, to prepare data for a model.

    It is a layer and no model: it can be given to a data set's `map`, and what it takes
    is what its first layer takes.

    Args:
        layers: the layers.
        name: the name.

    Shape:
        As the layers have it.

    Raises:
        ValueError: for what is no list of layers.

    Example:
        >>> import numpy as np
        >>> from torchkeras.layers.core import Rescaling
        >>> from torchkeras.layers.preprocessing.numbers import Discretization
        >>> pipeline = Pipeline([Rescaling(0.1), Discretization([0.0, 1.0])])
        >>> pipeline(np.array([-5.0, 5.0, 15.0]))
        tensor([0, 1, 2], dtype=torch.int32)
    """

    def __init__(
        self, layers: Sequence[Layer], name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name, autocast=False, **kwargs)
        inner = list(layers) if isinstance(layers, (list, tuple)) else None
        if inner is None or not all(isinstance(layer, Layer) for layer in inner):
            expected = "a list of layers"
            raise ValueError(invalid_argument("Pipeline", "layers", expected, layers))
        self._pipeline_layers = nn.ModuleList(inner)
        self.supports_masking = True

    @property
    def layers(self) -> list[Layer]:
        """The layers, in their order."""
        return list(self._pipeline_layers)  # type: ignore[arg-type]

    def call(self, inputs: Any) -> Any:
        for layer in self._pipeline_layers:
            inputs = layer(inputs)
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {"layers": serialize_object(self.layers), "name": self.name}
