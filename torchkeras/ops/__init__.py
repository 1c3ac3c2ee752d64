"""Operations."""

# Temporary, while the modules are being written.
import importlib as _i

for _m in "core einops linalg math image nn numpy".split():
    try:
        _mod = _i.import_module(f"torchkeras.ops.{_m}")
    except Exception as _e:
        print("skipped", _m, _e)
        continue
    globals().update(
        {
            n: getattr(_mod, n)
            for n in getattr(_mod, "__all__", [k for k in vars(_mod) if k[0] != "_"])
            if hasattr(_mod, n)
        }
    )
