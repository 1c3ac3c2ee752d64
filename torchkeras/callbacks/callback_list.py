"""`CallbackList`: many callbacks as one, and events that nobody hears for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkeras._core import tree
from torchkeras._core.errors import describe
from torchkeras.callbacks.callback import EVENTS, Callback, handler_of
from torchkeras.callbacks.recorders import History, ProgbarLogger

Handlers = list[Callable[..., Any]]


class CallbackList(Callback):
    """Several callbacks behind one.

    For each event only the callbacks that define it are kept, so an event that none
    defines costs nothing.

    Args:
        callbacks: a callback or a list of them.
        add_history: whether a `History` is added if there is none.
        add_progbar: whether a `ProgbarLogger` is added if there is none.
        model: the model that is trained.
        **params: given to each callback as its `params`.

    Raises:
        TypeError: for something that is no callback.

    Example:
        >>> callbacks = CallbackList(add_history=True, epochs=1)
        >>> callbacks.on_train_begin()
        >>> callbacks.on_epoch_end(0, {"loss": 0.5})
        >>> callbacks.callbacks[0].history, callbacks.batch_hooks("train")
        ({'loss': [0.5]}, ([], []))
    """

    callbacks: list[Any]

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        check_callbacks("", "callbacks", callbacks)
        self.callbacks = [] if callbacks is None else tree.flatten(callbacks)
        for wanted, cls in ((add_history, History), (add_progbar, ProgbarLogger)):
            if wanted and not any(isinstance(c, cls) for c in self.callbacks):
                self.callbacks.append(cls())
        self._handlers: dict[str, Handlers]
        self._collect()
        if model is not None:
            self.set_model(model)
        self.set_params(params)

    def _collect(self) -> None:
        self._handlers = {event: [] for event in EVENTS}
        for callback in self.callbacks:
            for event, handlers in self._handlers.items():
                if (handler := handler_of(callback, event)) is not None:
                    handlers.append(handler)

    def append(self, callback: Any) -> None:
        """Add a callback."""
        _check("`callback`", callback)
        self.callbacks.append(callback)
        self._collect()
        if self.model is not None:
            callback.set_model(self.model)
        callback.set_params(self.params)

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)
            if isinstance(callback, History):
                model.history = callback

    def set_params(self, params: Any) -> None:
        super().set_params(params)
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def batch_hooks(self, mode: str) -> tuple[Handlers, Handlers]:
        """Return what is to be called with ``(batch, logs)`` around a step.

        Args:
            mode: ``"train"``, ``"test"`` or ``"predict"``.
        """
        begin, end = f"on_{mode}_batch_begin", f"on_{mode}_batch_end"
        return self._handlers[begin], self._handlers[end]


def check_callbacks(owner: str, argument: str, callbacks: Any) -> None:
    """Refuse what is no callback, with its place in the structure.

    Args:
        owner: what the message begins with.
        argument: the name of the argument.
        callbacks: a callback, a structure of callbacks, or None.

    Raises:
        TypeError: naming the place and the type.
    """
    if callbacks is None or isinstance(callbacks, CallbackList):
        return
    for path, callback in tree.tree_flatten_with_path(callbacks)[0]:
        place = "".join(map(str, path))
        _check(f"{owner}`{argument}{place}`", callback)


def _check(what: str, callback: Any) -> None:
    if isinstance(callback, type):
        raise TypeError(
            f"{what} is the class {callback.__name__}: pass an instance, "
            f"{callback.__name__}(...)."
        )
    if not (hasattr(callback, "set_model") and hasattr(callback, "set_params")):
        raise TypeError(
            f"{what} must be a Callback object, got {describe(callback)} of type "
            f"{type(callback).__name__}. Make it with `LambdaCallback`, or inherit "
            "from `Callback`."
        )


def _passed_on(event: str) -> Callable[..., None]:
    # Handlers get a dict even where there are no logs: Keras's guides read its keys.
    if "batch" in event or "epoch" in event:

        def with_index(self: CallbackList, index: int, logs: Any = None) -> None:
            for handler in self._handlers[event]:
                handler(index, {} if logs is None else logs)

        return with_index

    def without_index(self: CallbackList, logs: Any = None) -> None:
        for handler in self._handlers[event]:
            handler({} if logs is None else logs)

    return without_index


for _event in EVENTS:
    setattr(CallbackList, _event, _passed_on(_event))
