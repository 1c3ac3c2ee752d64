"""Nothing in the package can run code from a file: there is no means to."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "torchkeras"
SOURCES = {str(p.relative_to(PACKAGE)): p for p in sorted(PACKAGE.rglob("*.py"))}

CODE = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "yaml"}
#: Each format is opened in one place, which checks it; zips of data in another.
READERS = {
    "h5py": {"_core/hdf5_reader.py", "saving/hdf5.py", "saving/api.py"},
    "zipfile": {
        "saving/api.py",
        "saving/archive.py",
        "saving/assets.py",
        "utils/data_files.py",
    },
    "safetensors": {"saving/tensor_file.py"},
}
OPENERS = {
    "h5py.File": {"_core/hdf5_reader.py", "saving/hdf5.py"},
    "zipfile.ZipFile": READERS["zipfile"],
    "safe_open": {"saving/tensor_file.py"},
}
CALLS = {"eval", "exec", "__import__", "torch.load", "np.load", "numpy.load"}


def imports_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def calls_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("name", SOURCES)
def test_no_reader_of_code(name):
    tree = ast.parse(SOURCES[name].read_text(encoding="utf-8"))
    imports = set(imports_of(tree))
    assert not imports & CODE
    for module, places in READERS.items():
        assert module not in imports or name in places
    for call in calls_of(tree):
        assert call not in CALLS or (call == "np.load" and name.startswith("datasets"))
        assert call not in OPENERS or name in OPENERS[call]


def test_modules_are_imported_by_fixed_names_only():
    for path in SOURCES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func).endswith("import_module"):
                assert isinstance(node.args[0], (ast.Constant, ast.JoinedStr, ast.Name))
                assert path.name == "__init__.py" or isinstance(
                    node.args[0], ast.Constant
                ), path


def test_every_entry_point_opens_files_by_one_reader():
    tree = ast.parse(SOURCES["saving/api.py"].read_text(encoding="utf-8"))
    loads = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("load_")
    ]
    assert [load.name for load in loads] == ["load_model", "load_weights"]
    for load in loads:
        assert "open_model_file" in set(calls_of(load))
