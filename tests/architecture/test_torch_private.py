"""What torch does not promise to keep is used behind a door, and nowhere else."""

import ast
import collections
import importlib
import pathlib

import torch
import torchmetrics
from torch import nn
from torch.nn.modules import module as torch_modules

import torchkeras

torch_optimizers = importlib.import_module("torch.optim.optimizer")
ROOT = pathlib.Path(torchkeras.__file__).parent
DOORS = {"_core/torch_private.py", "_core/tree.py", "optimizers/foreach.py"}
#: The tables of a module and the function that moves it: what all of torch's users of
#: modules build on, and what `Layer` overrides.
KNOWN_TO_ALL = {"_parameters", "_buffers", "_modules", "_apply"}
#: Names of the library's own classes that torch happens to use as well.
OWN = {"_tensor"}


def _private_names() -> set[str]:
    """Return the private names of torch's objects that this library has to do with."""
    places = [
        *(torch, torch._C, torch.Tensor, torch.nn.modules.conv, torch.ops.aten),
        *(nn.Module(), nn.LSTM(1, 1), nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1)),
        *(torch_modules, torch_optimizers, torch.utils, torch.nn.utils, torch.fx),
        *(torch.optim.SGD([torch.zeros(1)]), torchmetrics.MeanMetric(), torch.cuda),
    ]
    names = {name for place in places for name in (*dir(place), *vars(place))}
    names |= {"_dynamo", "_inductor", "_functorch", "_standard_gamma"}
    names |= {"_sample_dirichlet", "_len_torch_dispatch_stack"}
    return {n for n in names if n.startswith("_") and not n.startswith("__")}


def _uses(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            ("torch.", "torchmetrics")
        ):
            found.update(alias.name for alias in node.names)
            found.update((node.module or "").split("."))
    return found


def _defined(tree: ast.AST) -> set[str]:
    """Return the names that a file gives to things of its own."""
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "torchkeras"
        ):
            own.update(alias.name for alias in node.names)
    return own


def test_private_names_of_torch_are_used_behind_a_door():
    private = _private_names() - KNOWN_TO_ALL - OWN
    assert {"_C", "_dynamo", "_forward_hooks", "_flat_weights", "_defaults"} <= private
    used = collections.defaultdict(set)
    for path in ROOT.rglob("*.py"):
        file = path.relative_to(ROOT).as_posix()
        if file not in DOORS:
            tree = ast.parse(path.read_text())
            for name in (_uses(tree) & private) - _defined(tree):
                used[name].add(file)
    assert not used, f"Use them through {sorted(DOORS)}: {dict(used)}"


def test_the_door_lets_out_what_is_used_only():
    """Each public name of the door has a test that names it, and a use."""
    door = ast.parse((ROOT / "_core/torch_private.py").read_text())
    public = _public(door)
    tests = pathlib.Path(__file__).parents[1] / "seams/test_torch_private.py"
    tested = tests.read_text()
    assert {name for name in public if f"torch_private.{name}" not in tested} == set()
    files = (path for path in ROOT.rglob("*.py") if path.name != "torch_private.py")
    sources = [path.read_text() for path in files]
    unused = {n for n in public if not any(n in source for source in sources)}
    assert not unused


def _public(tree: ast.Module) -> set[str]:
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(t.id for t in node.targets if isinstance(t, ast.Name))
    return {name for name in names if not name.startswith("_")}
