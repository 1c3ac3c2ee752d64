"""`Compiled`: what `compile` makes of its arguments, and how a training step is run."""

from __future__ import annotations

import dataclasses
import inspect
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from torchkeras._core import torch_private
from torchkeras.layers._checks import is_noted
from torchkeras.layers.layer import Layer
from torchkeras.training.logs import Logs, LossTracker
from torchkeras.training.objective import CompiledLoss, CompiledMetrics
from torchkeras.training.validation import HostChecks, Seen

#: Outputs and loss of a batch.
Results = tuple[Any, Tensor]
#: Arguments that tell `compute_loss` the mode.
Mode = Mapping[str, bool]


class Gradients(Protocol):
    """How outputs, loss and gradients of a batch are computed.

    The gradients are left in the ``.grad`` of the weights.
    """

    def __call__(self, model: Any, x: Any, y: Any, sample_weight: Any) -> Results:
        """Compute them for a batch."""
        ...


@dataclasses.dataclass(frozen=True)
class Eager:
    """Outputs, loss and gradients, one operation after another.

    Args:
        mode: what `compute_loss` is told of the mode.
    """

    mode: Mode

    def __call__(self, model: Any, x: Any, y: Any, sample_weight: Any) -> Results:
        """Compute them for a batch."""
        y_pred = model(x)
        loss = model.compute_loss(x, y, y_pred, sample_weight, **self.mode)
        scaled = model.optimizer.scale_loss(loss)
        try:
            scaled.backward()
        except torch.OutOfMemoryError as error:
            if not is_noted(error):
                error.add_note(_where_backward_ended(model))
            raise
        return y_pred, loss


def _where_backward_ended(model: Any) -> str:
    """Say in which layers a backward pass can have ended, as far as gradients show it.

    It goes from the last layer to the first, and the gradients of a layer's weights are
    there before those of its inputs. Layers without weights leave no trace.
    """
    reached: list[Layer] = []
    through: Layer | None = None
    for layer in _innermost_layers(model):
        own = [p for p in layer.parameters() if p.requires_grad]
        if own and all(p.grad is not None for p in own):
            through = layer
            break
        if own:
            reached = []
        reached.append(layer)
    names = " or ".join(map(_named, reached[:-6:-1]))
    if through is not None:
        after = f"{_named(through)} after the gradients of its weights"
        names = f"{names}, or {after}" if names else after
    return f"Raised in the backward pass, by layer {names or 'unknown'}."


def _named(layer: Layer) -> str:
    return f"'{layer.name}' ({type(layer).__name__})"


def _innermost_layers(model: Any) -> list[Layer]:
    """Return the layers that hold no others, in their order."""
    layers = [m for m in model.modules() if isinstance(m, Layer) and m is not model]
    return [
        layer
        for layer in layers
        if not any(isinstance(m, Layer) and m is not layer for m in layer.modules())
    ]


class WithoutGradients(Eager):
    """Outputs and loss of a model in which nothing is trained."""

    def __call__(self, model: Any, x: Any, y: Any, sample_weight: Any) -> Results:
        """Compute them for a batch."""
        y_pred = model(x)
        return y_pred, model.compute_loss(x, y, y_pred, sample_weight, **self.mode)


class WholeGraph:
    """Outputs, loss and gradients as one compiled graph, forward and backward.

    Args:
        mode: what `compute_loss` is told of the mode.
        parameters: the tensors that are trained.
    """

    def __init__(self, mode: Mode, parameters: list[Tensor]) -> None:
        self.mode = mode
        self.parameters = parameters
        self._run: Callable[..., Any] = torch.compile(_forward_and_backward)

    def __call__(self, model: Any, x: Any, y: Any, sample_weight: Any) -> Results:
        """Compute them for a batch."""
        batch = x, y, sample_weight
        with torch_private.backward_in_graph():  # the call compiles when it must
            y_pred, loss, gradients = self._run(
                model, self.parameters, batch, self.mode
            )
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        return y_pred, loss


def _forward_and_backward(
    model: Any, parameters: list[Tensor], batch: tuple[Any, Any, Any], mode: Mode
) -> Any:
    x, y, sample_weight = batch
    y_pred = model(x)
    loss = model.compute_loss(x, y, y_pred, sample_weight, **mode)
    scaled = model.optimizer.scale_loss(loss)
    gradients = torch.autograd.grad(scaled, parameters, allow_unused=True)
    return y_pred.detach(), loss.detach(), gradients


class Compiled:
    """A compiled model's objective, its sums, and the way a step is run.

    What Keras shows of it (`optimizer`, `loss`, ...) are attributes of the model.

    Args:
        model: the model, which is not kept.
        loss: the loss over the outputs.
        metrics: the metrics over the outputs.
        arguments: those of `compile`, as files hold them.
        jit_compile: whether a step is compiled.
    """

    loss: CompiledLoss
    metrics: CompiledMetrics
    #: The mean of the loss over the samples seen.
    tracker: LossTracker
    arguments: dict[str, Any]
    jit_compile: bool
    #: What a step returns.
    logs: Logs
    #: What `compute_loss` is told of the mode: outside of training, and in it.
    loss_modes: tuple[Mode, Mode]
    #: How a step computes; None until the weights are known.
    gradients: Gradients | None
    #: Whether a step looks at the loss before the update, which waits for the device.
    guards_loss: bool
    #: Whether anything is trained.
    trains: bool
    #: Whether there may be penalties on weights.
    has_penalties: bool
    #: The weights that are constrained after each update.
    constrained: list[Any]
    #: What data is looked at for on the host; None until it is known.
    checks: HostChecks | None
    #: What a run showed of a model whose outputs are not known otherwise.
    seen: Seen | None

    def __init__(
        self,
        model: Any,
        loss: CompiledLoss,
        metrics: CompiledMetrics,
        arguments: dict[str, Any],
        jit_compile: bool,
    ) -> None:
        self.loss = loss
        self.metrics = metrics
        self.tracker = LossTracker()
        self.arguments = arguments
        self.jit_compile = jit_compile
        self.logs = Logs(model.get_metrics_result)
        self.loss_modes = _loss_modes(model.compute_loss)
        self.gradients = None
        self.guards_loss = False
        self.trains = False
        self.has_penalties = True  # some weights may have one, until it is known
        self.constrained = []
        self.checks = self.seen = None
        #: What `Layer.last_freezing` was, and the `id`s of the tensors trained then.
        self._freezing: Any = None
        self._trained: list[int] | None = None
        self._free: list[Tensor] = []
        self._told_of_freezing = False

    # The weights

    def bind(self, model: Any, look_again: bool = False) -> None:
        """Bind the optimizer to the weights that are trained now, once they exist.

        Args:
            model: the model.
            look_again: whether to look where nothing told of a change, as nothing does
                of a parameter's `requires_grad`.
        """
        freezing = Layer.last_freezing
        if self._freezing is freezing and self._trained is not None and not look_again:
            return
        self._freezing = freezing
        weights = trained_weights(model)
        parameters = _trained_tensors(weights)
        trained = [id(tensor) for tensor in parameters]
        if self._trained == trained:
            return  # layers of another model were frozen
        if weights and model.optimizer is not None:
            model.optimizer.bind(weights)
        self._trained, self._free = trained, _free_parameters(model)
        self.trains = bool(weights)
        self.has_penalties = any(
            weight.regularizer is not None for weight in model.trainable_weights
        )
        self.constrained = [w for w in weights if getattr(w, "constraint", None)]
        self.gradients = self._way_of(parameters)

    def _way_of(self, parameters: list[Tensor]) -> Gradients:
        """Choose how a step computes."""
        mode = self.loss_modes[True]
        if not self.trains:
            return WithoutGradients(mode)
        return WholeGraph(mode, parameters) if self.jit_compile else Eager(mode)

    def warn_if_frozen(self, model: Any) -> None:
        """Tell the user who trains the model, once, where nothing is trained."""
        if not self.trains and not self._told_of_freezing:
            warnings.warn(
                f"The model '{model.name}' has no trainable weights: training "
                "changes nothing. Set `trainable = True` on layers and compile again.",
                stacklevel=3,
            )
        self._told_of_freezing = not self.trains

    def bind_what_came(self, model: Any) -> None:
        """Bind weights that came within an epoch, which were not trained in it.

        Raises:
            ValueError: where the optimizer cannot take them.
        """
        now = _free_parameters(model)
        if len(now) != len(self._free) or not all(map(operator.is_, now, self._free)):
            self.bind(model, look_again=True)

    def forget_weights(self) -> None:
        """Bind anew before the next step: there may be other layers."""
        self._trained = None
        self.gradients = None
        self.checks = self.seen = None

    # The sums

    @property
    def trackers(self) -> list[LossTracker]:
        """The means of the loss, and of each output's where there are several."""
        return [self.tracker, *self.loss.trackers]

    def results(self) -> dict[str, Any]:
        """Return the means of the losses and the metrics, by name."""
        results = {tracker.name: tracker.result() for tracker in self.trackers}
        metrics = self.metrics.result()
        # Keras knows metrics of several outputs by no name, and sorts them.
        several = bool(self.loss.trackers)
        return results | dict(sorted(metrics.items()) if several else metrics)

    def reset(self) -> None:
        """Begin all sums again."""
        for tracker in self.trackers:
            tracker.reset_state()
        self.metrics.reset_state()
        self.logs.expire()


def _free_parameters(model: Any) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]


def trained_weights(model: Any) -> list[Any]:
    """Return what is trained: the weights, then parameters that no weight shows.

    Tools of torch (`weight_norm`, pruning, adapters) compute a weight from parameters
    of their own, which are trained in its place.
    """
    held = {id(p) for p in model.parameters()}
    trainable = model.trainable_weights

    def is_computed(weight: Any) -> bool:
        return any(t.requires_grad and id(t) not in held for t in weight.tensors)

    computed = [weight for weight in trainable if is_computed(weight)]
    if lost := [weight for weight in computed if weight.constraint is not None]:
        raise ValueError(
            f"The model '{model.name}': the weight {lost[0].path} has a constraint and "
            "is computed from other parameters, so the constraint cannot be assigned "
            "to it. Make its layer without the constraint."
        )
    shown = {id(t) for w in model.weights if not is_computed(w) for t in w.tensors}
    hidden = [p for p in _free_parameters(model) if id(p) not in shown]
    return [w for w in trainable if not is_computed(w)] + hidden


def _trained_tensors(weights: list[Any]) -> list[Tensor]:
    """Return the tensors that weights are made of, those that are trained."""
    tensors = [t for weight in weights for t in getattr(weight, "tensors", (weight,))]
    return [tensor for tensor in dict.fromkeys(tensors) if tensor.requires_grad]


def _loss_modes(compute_loss: Callable[..., Any]) -> tuple[Mode, Mode]:
    """Return the arguments that say the mode to `compute_loss`: outside, in training.

    One that was written for a Keras before 3.3 does not take any.
    """
    parameters = inspect.signature(compute_loss).parameters.values()
    takes = any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)
    return ({"training": False}, {"training": True}) if takes else ({}, {})
