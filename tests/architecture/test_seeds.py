"""Every draw of the tests is under a seed: none is made while they are imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SOURCES = sorted(TESTS.rglob("*.py"))
#: The functions that draw from a generator that all share, by the module's name.
DRAWS = {
    "torch": "rand randn randint randperm normal bernoulli multinomial poisson "
    "rand_like randn_like randint_like seed",
    "random": "random randint uniform choice choices sample shuffle gauss seed",
    "np.random": "",  # each of its functions, save those that make a generator
}
MAKES_A_GENERATOR = {"default_rng", "RandomState", "Generator", "SeedSequence", "PCG64"}


def run_on_import(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that importing a module makes, those of decorators too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in [*child.decorator_list, *child.args.defaults]:
                yield from run_on_import(ast.Expression(body=part))
        elif not isinstance(child, ast.Lambda):
            yield from run_on_import(child)


def is_draw(call: ast.Call) -> bool:
    """Say whether a call draws from a generator it shares, or from one unseeded."""
    module, _, name = ast.unparse(call.func).rpartition(".")
    module = module.replace("numpy.random", "np.random")
    if module == "np.random" and name in MAKES_A_GENERATOR:
        return not (call.args or call.keywords)
    if any(k.arg == "generator" for k in call.keywords):
        return False
    return module == "np.random" or name in DRAWS.get(module, "").split()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(TESTS)))
def test_no_data_is_drawn_on_import(path):
    """Imports come before the seed, so such data differ from run to run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [
        f"{path}:{call.lineno}: {ast.unparse(call)}"
        for call in run_on_import(tree)
        if is_draw(call)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("X = torch.randn(3)", 1),
        ("X = [np.random.normal(size=3) for _ in range(2)]", 1),
        ("G = np.random.default_rng()", 1),
        ("class A:\n    x = torch.rand(2)", 1),
        ("@mark(torch.rand(2))\ndef f(x=random.random()): torch.rand(2)", 2),
        ("G = np.random.default_rng(0)\nX = G.normal()", 0),
        ("X = torch.randn(3, generator=torch.Generator().manual_seed(0))", 0),
        ("def f():\n    return torch.randn(3)\ng = lambda: torch.randn(3)", 0),
    ],
)
def test_what_counts_as_drawn_on_import(source, count):
    assert sum(is_draw(call) for call in run_on_import(ast.parse(source))) == count
