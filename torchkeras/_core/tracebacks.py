"""Tracebacks without the frames of this package and of torch."""

from __future__ import annotations

import os
import sys
import traceback
import types
from typing import Any

import torch

_HIDDEN = tuple(
    os.path.join(folder, "")
    for folder in (
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        os.path.dirname(os.path.abspath(torch.__file__)),
    )
)
_before: Any = None


def enable_traceback_filtering() -> None:
    """Leave this package and torch out of tracebacks of errors that end a program.

    It replaces `sys.excepthook`, and is off at first: the frames are few. A notebook
    prints tracebacks in its own way.
    """
    global _before
    if not is_traceback_filtering_enabled():
        _before, sys.excepthook = sys.excepthook, _show


def disable_traceback_filtering() -> None:
    """Show tracebacks in full, as at first."""
    global _before
    if is_traceback_filtering_enabled():
        sys.excepthook, _before = _before, None


def is_traceback_filtering_enabled() -> bool:
    """Say whether tracebacks leave out this package and torch.

    Example:
        >>> is_traceback_filtering_enabled()
        False
    """
    return _before is not None and sys.excepthook is _show


def _show(
    kind: type[BaseException],
    error: BaseException,
    frames: types.TracebackType | None,
) -> None:
    """Show an error with the frames of its user; a debugger still finds all."""
    whole: list[tuple[BaseException, types.TracebackType | None]] = []
    found: BaseException | None = error
    while found is not None and all(found is not seen for seen, _ in whole):
        whole.append((found, found.__traceback__))
        found.__traceback__ = filtered(found.__traceback__)
        found = found.__cause__ or found.__context__
    try:
        _before(kind, error, error.__traceback__)
    finally:
        for seen, all_frames in whole:
            seen.__traceback__ = all_frames


def filtered(frames: types.TracebackType | None) -> types.TracebackType | None:
    """Return a traceback without hidden frames, or the whole one if all are hidden."""
    kept: types.TracebackType | None = None
    for frame, line in reversed(list(traceback.walk_tb(frames))):
        if not os.path.abspath(frame.f_code.co_filename).startswith(_HIDDEN):
            kept = types.TracebackType(kept, frame, frame.f_lasti, line)
    return kept or frames
