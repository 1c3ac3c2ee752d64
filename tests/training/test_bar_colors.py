"""The colors of the bar, and whom an error of a callback names."""

import re
from typing import Any

import pytest

from tests.training.test_callbacks import Terminal
from torchkeras import callbacks
from torchkeras.callbacks.progress import ProgressBar

CODE = re.compile(r"\x1b\[\d+m")


@pytest.mark.parametrize("colored", [True, False])
def test_a_bar_has_colors_unless_they_are_not_wanted(colored, monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "" if colored else "1")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    bar = ProgressBar(3, verbose=1)
    for step in range(3):
        bar.update(step + 1, {"loss": 0.5})
    bar.finish({"loss": 0.5})
    line = terminal.getvalue().splitlines()[-1]
    # Bold for the count and the time, green for what is done, and each is ended.
    assert CODE.findall(line) == (
        ["\x1b[1m", "\x1b[0m", "\x1b[32m", "\x1b[0m", "\x1b[1m", "\x1b[0m"]
        if colored
        else []
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("EarlyStopping", {"patience": -1}),
        ("EarlyStopping", {"start_from_epoch": -1}),
        ("EarlyStopping", {"min_delta": "small"}),
        ("EarlyStopping", {"mode": "up"}),
        ("EarlyStopping", {"monitor": 3}),
        ("ReduceLROnPlateau", {"patience": -1}),
        ("ReduceLROnPlateau", {"cooldown": -1}),
        ("ReduceLROnPlateau", {"factor": 2.0}),
        ("ReduceLROnPlateau", {"min_lr": -1.0}),
        ("ReduceLROnPlateau", {"mode": "up"}),
        ("ModelCheckpoint", {"filepath": "m.txt"}),
        ("ModelCheckpoint", {"filepath": "m.keras", "save_freq": "step"}),
        ("ModelCheckpoint", {"filepath": "m.keras", "save_freq": 0}),
        ("ModelCheckpoint", {"filepath": "m.keras", "mode": "up"}),
        ("LearningRateScheduler", {"schedule": 0.1}),
        ("CSVLogger", {"filename": "log.csv", "separator": ""}),
    ],
)
def test_an_error_names_the_callback_and_the_argument(name: str, options: Any) -> None:
    argument = list(options)[-1]
    with pytest.raises((TypeError, ValueError), match=rf"^{name}: .*`{argument}`"):
        getattr(callbacks, name)(**options)
