import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_row_of_the_benchmarks_runs():
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rounds=1"]
    ended = subprocess.run(
        [*command, "--only=mlp_tiny", "--against=tuned", "--markdown"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "| mlp_tiny |" in ended.stdout
