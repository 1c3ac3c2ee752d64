"""The rules of imports that import-linter has no contract for."""

import ast
import importlib
import subprocess
import sys
import types
from pathlib import Path

import grimp
import pytest

PACKAGE = Path(__file__).parents[2] / "torchkeras"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_no_module_imports_the_root_package():
    graph = grimp.build_graph("torchkeras", cache_dir=None)
    assert graph.find_modules_that_directly_import("torchkeras") == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_function_imports(path):
    """A function-local import hides a cycle; lazy edges go through PEP 562."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    hidden = [
        f"{path}:{node.lineno}"
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, functions)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert hidden == []


def test_import_is_light():
    """Importing the package loads none of what only some of its users need."""
    heavy = ["torchmetrics", "keras", "tensorboard", "matplotlib", "torch._dynamo"]
    code = f"import sys, torchkeras; print([m for m in {heavy} if m in sys.modules])"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("name", ["ops", "ops.numpy", "ops.nn", "ops.image"])
def test_names_of_operations_do_not_collide(name):
    """A package's names are the sum of its files', so none may hide another."""
    package = importlib.import_module(f"torchkeras.{name}")
    assert len(set(package.__all__)) == len(package.__all__)
    files = [getattr(package, part) for part in vars(package)
             if isinstance(getattr(package, part), types.ModuleType)]  # fmt: skip
    for file in files:
        for listed in getattr(file, "__all__", ()):
            if listed in package.__all__:
                assert getattr(package, listed) is getattr(file, listed)


@pytest.mark.parametrize("metrics", [[], ["accuracy"], ["mae"]])
def test_training_imports_nothing_that_waits(metrics: list[str]) -> None:
    code = (
        "import sys, numpy as np, torchkeras as tk;"
        "model = tk.Sequential([tk.Input((2,)), tk.layers.Dense(1, 'sigmoid')]);"
        f"model.compile('sgd', 'binary_crossentropy', metrics={metrics});"
        "before = set(sys.modules);"
        "model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=2);"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(new & {'scipy', 'torchmetrics', 'torchkeras'}, 'torchmetrics' in before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split("\n")[-2] == f"set() {bool(metrics)}"
