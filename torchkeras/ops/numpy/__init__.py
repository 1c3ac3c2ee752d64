"""NumPy's functions, over tensors."""

# Temporary, while the modules are being written.
import importlib as _i

for _m in (
    "arithmetic creation elementwise indexing logic products reductions shaping".split()
):
    try:
        _mod = _i.import_module(f"torchkeras.ops.numpy.{_m}")
    except Exception as _e:
        print("skipped", _m, _e)
        continue
    globals().update({n: getattr(_mod, n) for n in _mod.__all__ if hasattr(_mod, n)})
