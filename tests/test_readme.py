"""The code of README.md runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(
    r"(?P<skipped><!-- no-test -->\s*\n)?^```python\n(?P<code>.*?)^```", re.M | re.S
)


def code_of_readme():
    """The blocks not marked ``<!-- no-test -->``, each at the line it has there."""
    text = README.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        if not block["skipped"]:
            yield "\n" * text.count("\n", 0, block.start("code")) + block["code"]


def test_python_blocks_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = list(code_of_readme())
    assert blocks
    namespace = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)


@pytest.mark.parametrize(
    "command",
    [
        "pip install -c constraints.txt -e . && python examples/quickstart.py",
        "pip install -c constraints.txt -e '.[test]' && pytest -n auto -m \"not slow\"",
    ],
)
def test_readme_gives_the_two_commands(command):
    lines = [line.strip() for line in README.read_text(encoding="utf-8").splitlines()]
    assert lines.count(command) == 1
