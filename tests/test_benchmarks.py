import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "against"),
    [
        ("mlp_tiny", "tuned"),
        ("load_chain", "keras-torch"),
        ("load_safetensors", "tuned"),
    ],
)
def test_a_row_of_the_benchmarks_runs(row, against):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds=1"]
    ended = subprocess.run(
        [*command, f"--only={row}", f"--against={against}", "--markdown"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert f"| {row} " in ended.stdout
