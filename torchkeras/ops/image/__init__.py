"""Functions of images."""

# Temporary, while the modules are being written.
import importlib as _i

for _m in "color geometry resizing".split():
    try:
        _mod = _i.import_module(f"torchkeras.ops.image.{_m}")
    except Exception as _e:
        print("skipped", _m, _e)
        continue
    globals().update({n: getattr(_mod, n) for n in _mod.__all__ if hasattr(_mod, n)})
