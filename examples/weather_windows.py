"""Forecast a temperature from windows over a series, with an LSTM.

The series is made here: two years of hours with seasons, days and slow weather that the
pressure tells of a day before. Take any array of ``(time, features)`` in its place.

Run: ``python examples/weather_windows.py``.
"""

import argparse

import numpy as np

from torchkeras import Sequential, layers
from torchkeras.utils import Dataset, set_random_seed, timeseries_dataset_from_array

HOURS = 2 * 365 * 24
PAST, AHEAD = 48, 24  # hours that are seen, and from the last one to the target
DELAY = PAST - 2 + AHEAD  # from the first one, as every second hour is seen


def make_weather() -> np.ndarray:
    """Return hours of temperature, pressure, and the place in the day and the year."""
    random = np.random.default_rng(0)
    hours = np.arange(HOURS)
    day, year = hours / 24 % 1, hours / (24 * 365) % 1
    slow = np.convolve(random.normal(0, 1, HOURS + 72), np.hanning(73), "valid")
    slow /= slow.std()
    temperature = 10 - 9 * np.cos(2 * np.pi * year) - 4 * np.cos(2 * np.pi * day)
    temperature += 5 * slow + random.normal(0, 0.5, HOURS)
    pressure = 1013 + 8 * np.roll(slow, -AHEAD) + random.normal(0, 1, HOURS)
    clock = [f(2 * np.pi * share) for share in (day, year) for f in (np.sin, np.cos)]
    return np.stack([temperature, pressure, *clock], 1).astype("float32")


def windows(
    series: np.ndarray, start: int, end: int | None, shuffle: bool = False
) -> Dataset:
    """Return windows of a part of the series, each with the temperature after it."""
    return timeseries_dataset_from_array(
        series[:-DELAY],
        targets=series[DELAY:, :1],
        sequence_length=PAST // 2,
        sampling_rate=2,
        batch_size=256,
        shuffle=shuffle,
        start_index=start,
        end_index=end,
    )


def main(epochs: int = 5) -> float:
    """Return what share is gone of the error of "tomorrow as now", on new weather."""
    set_random_seed(0)
    series = make_weather()
    known = HOURS * 7 // 10
    series -= series[:known].mean(0)
    series /= series[:known].std(0)
    train = windows(series, 0, known, shuffle=True)
    test = windows(series, known, None)

    model = Sequential(
        [
            layers.Input((PAST // 2, series.shape[1])),
            layers.LSTM(32),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(train, epochs=epochs, validation_data=test)
    error = model.evaluate(test)[1]
    naive = np.mean(
        [np.abs(x[:, -1, :1] - y).mean() for x, y in test.as_numpy_iterator()]
    )
    print(f"mean absolute error {error:.3f}, of 'tomorrow as now' {naive:.3f}")
    return float(1 - error / naive)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    main(parser.parse_args().epochs)
