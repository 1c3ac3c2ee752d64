"""Every example runs, with tiny settings."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SETTINGS = {
    "quickstart": {"epochs": 1},
    "mnist_convnet": {"epochs": 1, "digits": True},
    "several_inputs_outputs": {"epochs": 2},
    "vae": {"epochs": 2},
    "gan": {"epochs": 2},
    "text_transformer": {"epochs": 1},
    "image_folder": {"epochs": 2, "count": 40},
    "weather_windows": {"epochs": 2},
    "text_classification": {"epochs": 3, "count": 2000},
    "structured_data": {"epochs": 3, "rows": 1000},
}
#: What each example returns, at the least, after that little training.
LEAST = {
    "vae": 0.0,
    "gan": 0.0,
    "text_transformer": 0.7,
    "weather_windows": 0.5,
    "text_classification": 0.7,
    "structured_data": 0.6,
}


def run_example(name, **settings):
    """Call the example's `main`, which returns the accuracy on the test images."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](**settings)


@pytest.mark.parametrize("name", SETTINGS)
def test_example_runs(name, capsys):
    result = run_example(name, **SETTINGS[name])
    assert LEAST.get(name, 0.3) <= result <= 1


def test_every_example_has_settings():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SETTINGS)


def test_quickstart_learns(capsys):
    assert run_example("quickstart") >= 0.96
