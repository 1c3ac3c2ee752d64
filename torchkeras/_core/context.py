"""What belongs to a thread: where it is in a call, and what its ``with`` blocks set.

Settings of the process, such as ``floatx`` or registered objects, stay with the
modules that have them. A thread starts with nothing of another one's. A
`threading.local` serves better than context variables: what is on a stack here is off
it before anything can be awaited, and `torch.compile` traces through it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch


class Context(threading.local):
    """The state of one thread.

    Example:
        >>> context = Context()
        >>> context.call_stack.append("layer")
        >>> seen = []
        >>> thread = threading.Thread(target=lambda: seen.extend(context.call_stack))
        >>> thread.start()
        >>> thread.join()
        >>> seen
        []
    """

    def __init__(self) -> None:
        super().__init__()
        #: The mode that a call under way was told, None where none was.
        self.training: bool | None = None
        #: Layers that are inside a call now, outermost first.
        self.call_stack: list[Any] = []
        #: Runs by which shapes are inferred now, outermost first.
        self.probes: list[Any] = []
        #: The call of a torch module on symbolic tensors that is under way.
        self.module_call: Any = None
        #: What `custom_object_scope` made known, innermost last.
        self.custom_objects: list[Mapping[str, Any]] = []
        #: The numbers of objects in the config that is made, and what was made, by
        #: number, of the config that is read; None outside of both.
        self.numbers: Any = None
        self.made: Any = None
        #: Whether configs hold what stands beside them in an archive, such as the words
        #: of a vocabulary.
        self.configs_hold_assets: bool = False
        #: The shapes that a warning told of, None where each call tells of its own.
        self.told: set[Any] | None = None
        #: The limits that ``saving.limits`` set, None for the usual ones.
        self.limits: Any = None
        #: Whether a config that has passed the gate is read now.
        self.inside_gate = False
        #: What is left of the bytes that the load under way may take, None outside.
        self.budget: Any = None
        #: What notes the state before the change under way, None outside of one.
        self.undo: Any = None
        #: Whether weights are made without values, which those of a file will replace.
        self.unfilled = False
        #: The device of ``config.device``, None outside of it.
        self.device: torch.device | None = None


context = Context()
