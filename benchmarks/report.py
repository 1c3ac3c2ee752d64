"""Shows results as a table and as JSON."""

import math
import platform
from importlib import metadata
from typing import Any

from benchmarks.harness import Result

PACKAGES = ("torch", "keras", "jax", "tensorflow", "torchmetrics")


def columns(results: list[Result]) -> list[str]:
    """The contenders that have figures, torchkeras first."""
    names = dict.fromkeys(name for result in results for name in result.seconds)
    return sorted(names, key=lambda name: name != "torchkeras")


def amount(microseconds: float) -> str:
    """A time to three figures, in the unit that suits it."""
    unit, size = "us", 1.0
    for larger, next_size in (("ms", 1e3), ("s", 1e6)):
        # 999.6 us would read 1.00e+03 us.
        if microseconds >= 0.9995 * next_size:
            unit, size = larger, next_size
    return f"{microseconds / size:#.3g} {unit}".replace(". ", " ")


def cells(result: Result, names: list[str]) -> list[str]:
    """The line of one row: its times, then the ratios to the others."""
    times = [
        amount(result.microseconds(name)) if name in result.seconds else ""
        for name in names
    ]
    ratios = [result.ratio(name) for name in names if name != "torchkeras"]
    return [
        result.row.name,
        *times,
        *("" if math.isnan(ratio) else f"{ratio:.2f}" for ratio in ratios),
    ]


def table(results: list[Result], markdown: bool) -> str:
    """The table in columns of equal width, or in Markdown's form."""
    names = columns(results)
    head = [
        "per step",
        *names,
        *(f"x {name}" for name in names if name != "torchkeras"),
    ]
    lines = [head, *(cells(result, names) for result in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    if not markdown:
        return "\n".join("  ".join(row) for row in rows)
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def notes(results: list[Result]) -> list[str]:
    """What a reader of the table has to know."""
    return [
        f"{result.row.name}: "
        + result.row.note.format(
            steps=result.row.steps, value=result.value.get("torchkeras", math.nan)
        )
        for result in results
        if result.row.note
    ]


def complaints(results: list[Result]) -> list[str]:
    """All that went wrong: failures, losses that differ, bounds exceeded."""
    return [
        f"{result.row.name}: {line}"
        for result in results
        for line in (
            *(
                f"{name} failed: {error.strip().splitlines()[-1]}"
                for name, error in result.errors.items()
            ),
            *result.unlearned(),
            *result.exceeded(),
        )
    ]


def machine() -> dict[str, str]:
    """The versions that the figures belong to."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **versions}


def finite(ratio: float) -> float | None:
    """The ratio, or None where torchkeras has no figure; JSON knows no NaN."""
    return None if math.isnan(ratio) else ratio


def as_json(results: list[Result]) -> dict[str, Any]:
    """All figures, each round's too."""
    rows = {
        result.row.name: {
            name: {
                "us": result.microseconds(name),
                "ratio": finite(result.ratio(name)),
                "value": result.value.get(name),
                "rounds": [s / result.row.steps * 1e6 for s in rounds],
            }
            for name, rounds in result.seconds.items()
        }
        for result in results
    }
    return {"machine": machine(), "rows": rows, "complaints": complaints(results)}
