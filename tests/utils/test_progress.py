"""`Progbar`: the averages of Keras, on one line that is painted over."""

import re
import sys

import keras
import pytest

from torchkeras.utils import Progbar

UPDATES = [(1, 4.0), (2, 2.0), (5, 1.0)]


def last_values(text):
    line = text.replace("\r", "\n").strip().splitlines()[-1]
    return re.findall(r"(\w+): ([\d.e+-]+)", line)


@pytest.mark.parametrize(
    "options",
    [{}, {"stateful_metrics": ["loss"]}, {"stateless_metrics": ["loss"]}],
    ids=str,
)
@pytest.mark.parametrize("end", [5, 6])
def test_values_are_those_of_keras(options, end, capsys):
    shown = []
    for make in (Progbar, keras.utils.Progbar):
        bar = make(6, verbose=2, **options)
        for step, value in UPDATES:
            bar.update(step, [("loss", value), ("mae", value / 2)])
        bar.update(end, [("loss", 3.0)] if end == 6 else [], finalize=True)
        shown.append(last_values(capsys.readouterr().out))
    assert shown[0] == shown[1]
    assert shown[0]


def test_running_averages_are_those_of_keras():
    mine = Progbar(9, verbose=0)
    theirs = keras.utils.Progbar(9, verbose=0)
    for step, value in UPDATES:
        mine.update(step, [("loss", value)])
        theirs.update(step, [("loss", value)])
        total, count = theirs._values["loss"]
        assert mine._values()["loss"] == total / count


class Terminal:
    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.mark.parametrize("target", [3, None])
def test_a_terminal_gets_a_bar(target, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    bar = Progbar(target, width=6, interval=0.0, unit_name="sample")
    for _ in range(3):
        bar.add(1, [("loss", 0.5)])
    if target is None:
        assert "3/Unknown" in terminal.text
        bar.update(3, finalize=True)
    last = terminal.text.replace("\r", "\n").strip().splitlines()[-1]
    assert re.fullmatch(r"3/3 ━{6} 0s \S+/sample - loss: 0\.5000", last)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="only one of `stateful_metrics` and"):
        Progbar(3, stateful_metrics=[], stateless_metrics=[])
    with pytest.raises(ValueError, match="`verbose` must be one of"):
        Progbar(3, verbose=4)
