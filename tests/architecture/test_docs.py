"""The pages that say what there is say what there is."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_what_is_there_is_of_today():
    made = generator()
    advice = "run `python docs/generate.py`"
    assert made.COVERAGE.read_text(encoding="utf-8") == made.coverage(), advice
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert made.SHARE.findall(readme) == [made.share()], advice


def test_each_public_name_has_a_page():
    made = generator()
    pages = [made.api_page(namespace) for namespace in made.namespaces()]
    text = "\n".join(pages)
    for namespace in ("layers", "losses", "callbacks", "optimizers", "ops"):
        module = made._module(namespace)
        for name in made.public_names(module):
            value = getattr(module, name)
            if callable(value):
                assert f"::: {value.__module__}.{value.__qualname__}\n" in text, name
