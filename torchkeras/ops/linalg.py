"""Linear algebra."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import invalid_argument, one_of
from torchkeras._core.missing import explain_missing
from torchkeras._core.operation import Array, Arrays, Operand, operation

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "det",
    "eig",
    "eigh",
    "inv",
    "jvp",
    "lstsq",
    "lu_factor",
    "matrix_rank",
    "norm",
    "pinv",
    "qr",
    "solve",
    "solve_triangular",
    "svd",
]


def _matrices(owner: str, argument: str, x: Tensor, square: bool = False) -> Tensor:
    """Check that the last two axes are those of matrices, and make integers floats."""
    wrong = x.ndim < 2 or (square and x.shape[-1] != x.shape[-2])
    if wrong:
        kind = "square matrices, of shape (..., n, n)" if square else "matrices"
        raise ValueError(invalid_argument(owner, argument, kind, x))
    if not (x.is_floating_point() or x.is_complex()):
        return x.to(to_torch_dtype(None))
    return x


@operation("linalg")
def cholesky(x: Array, upper: bool = False) -> Tensor:
    """Return the triangular factor of Hermitian positive definite matrices.

    Args:
        x: the matrices, of shape ``(..., n, n)``.
        upper: return the upper factor rather than the lower one.

    Raises:
        ValueError: for matrices that are not square, or not positive definite.

    Example:
        >>> cholesky([[4.0, 0.0], [0.0, 9.0]])
        tensor([[2., 0.],
                [0., 3.]])
    """
    x = _matrices("cholesky", "x", x, True)
    try:
        return torch.linalg.cholesky(x, upper=upper)
    except torch.linalg.LinAlgError as error:  # type: ignore[reportPrivateImportUsage]
        expected = "Hermitian positive definite"
        message = invalid_argument("cholesky", "x", expected, x, str(error))
        raise ValueError(message) from error


@operation("linalg")
def cholesky_inverse(x: Array, upper: bool = False) -> Tensor:
    """Return the inverse of matrices, from their Cholesky factors.

    Args:
        x: the factors, of shape ``(..., n, n)``.
        upper: whether they are upper factors.

    Raises:
        ValueError: for matrices that are not square.

    Example:
        >>> cholesky_inverse([[2.0]])
        tensor([[0.2500]])
    """
    factors = _matrices("cholesky_inverse", "x", x, True)
    return torch.cholesky_inverse(factors, upper=upper)


@operation("linalg")
def det(x: Array) -> Tensor:
    """Return the determinant of square matrices.

    Args:
        x: the matrices, of shape ``(..., n, n)``.

    Raises:
        ValueError: for matrices that are not square.

    Example:
        >>> float(det([[2.0, 0.0], [0.0, 3.0]]))
        6.0
    """
    return torch.linalg.det(_matrices("det", "x", x, True))


@operation("linalg")
def eig(x: Array) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues and eigenvectors of square matrices, as complex numbers.

    Args:
        x: the matrices, of shape ``(..., n, n)``.

    Shape:
        ``(..., n)`` and ``(..., n, n)``, whose columns are the vectors.

    Raises:
        ValueError: for matrices that are not square.

    Example:
        >>> values, vectors = eig([[2.0, 0.0], [0.0, 3.0]])
        >>> values.real.tolist()
        [2.0, 3.0]
    """
    values, vectors = torch.linalg.eig(_matrices("eig", "x", x, True))
    return values, vectors


@operation("linalg")
def eigh(x: Array) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues and eigenvectors of Hermitian matrices.

    Args:
        x: the matrices, of shape ``(..., n, n)``.

    Shape:
        ``(..., n)``, ascending, and ``(..., n, n)``, whose columns are the vectors.

    Raises:
        ValueError: for matrices that are not square.

    Example:
        >>> values, vectors = eigh([[2.0, 0.0], [0.0, 1.0]])
        >>> values.tolist()
        [1.0, 2.0]
    """
    values, vectors = torch.linalg.eigh(_matrices("eigh", "x", x, True))
    return values, vectors


@operation("linalg")
def inv(x: Array) -> Tensor:
    """Return the inverse of square matrices.

    Args:
        x: the matrices, of shape ``(..., n, n)``.

    Raises:
        ValueError: for matrices that are not square.

    Example:
        >>> inv([[2.0, 0.0], [0.0, 4.0]])
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return torch.linalg.inv(_matrices("inv", "x", x, True))


@operation("linalg")
def lu_factor(x: Array) -> tuple[Tensor, Tensor]:
    """Return both triangular factors in one matrix, and the rows that were swapped.

    Args:
        x: the matrices, of shape ``(..., m, n)``.

    Shape:
        ``(..., m, n)`` and ``(..., min(m, n))``, whose rows are counted from 0.

    Example:
        >>> factors, pivots = lu_factor([[1.0, 2.0], [2.0, 2.0]])
        >>> factors.tolist(), pivots.tolist()
        ([[2.0, 2.0], [0.5, 1.0]], [1, 1])
    """
    factors, pivots = torch.linalg.lu_factor(_matrices("lu_factor", "x", x))
    return factors, pivots - 1


@operation("linalg")
def matrix_rank(x: Array, tol: float | None = None) -> Tensor:
    """Return the rank of matrices: the number of singular values above a limit.

    Args:
        x: the matrices, of shape ``(..., m, n)``.
        tol: the limit; from the largest singular value and the dtype by default.

    Example:
        >>> int(matrix_rank([[1.0, 2.0], [2.0, 4.0]]))
        1
    """
    matrices = _matrices("matrix_rank", "x", x)
    return torch.linalg.matrix_rank(matrices, atol=tol).to(torch.int32)


@operation("linalg")
def norm(
    x: Array,
    ord: Any = None,
    axis: int | tuple[int, int] | None = None,
    keepdims: bool = False,
) -> Tensor:
    """Return the norm of vectors, or of matrices.

    Args:
        x: the values.
        ord: the order: a number, or ``"fro"`` or ``"nuc"`` for matrices; 2 (of all
            values) by default.
        axis: an axis for vectors, two for matrices; by default all axes, with an `ord`
            at most two.
        keepdims: whether the axes stay, with size 1.

    Raises:
        ValueError: for an order that vectors, or matrices, do not have.

    Example:
        >>> norm([3.0, 4.0])
        tensor(5.)
    """
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(to_torch_dtype(None))
    axes = tuple(range(x.ndim)) if axis is None else axis
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    if isinstance(ord, str):
        one_of("norm", "ord", ord, ("fro", "nuc"))
    if isinstance(ord, str) and len(axes) != 2:
        expected = f"a number for the norm over {len(axes)} axes"
        raise ValueError(invalid_argument("norm", "ord", expected, ord))
    matrix_orders = (None, "fro", "nuc", float("inf"), float("-inf"), 1, -1, 2, -2)
    if len(axes) == 2:
        one_of("norm", "ord", ord, matrix_orders)
    if len(axes) > 2 and (ord is not None or axis is not None):
        expected = "one axis or two"
        raise ValueError(invalid_argument("norm", "axis", expected, axis))
    dim = None if axis is None else (axes[0] if len(axes) == 1 else axes)
    return torch.linalg.norm(x, ord=ord, dim=dim, keepdim=keepdims)


@operation("linalg")
def pinv(x: Array, rcond: float | None = None) -> Tensor:
    """Return the pseudo-inverse of matrices.

    Args:
        x: the matrices, of shape ``(..., m, n)``.
        rcond: singular values below this share of the largest count as zero.

    Shape:
        ``(..., n, m)``.

    Example:
        >>> pinv([[2.0, 0.0], [0.0, 0.0]])
        tensor([[0.5000, 0.0000],
                [0.0000, 0.0000]])
    """
    return torch.linalg.pinv(_matrices("pinv", "x", x), rtol=rcond)


@operation("linalg")
def qr(x: Array, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Return an orthogonal and an upper triangular factor of matrices.

    Args:
        x: the matrices, of shape ``(..., m, n)``.
        mode: ``"reduced"`` or ``"complete"``: whether the first factor is square.

    Raises:
        ValueError: for another mode.

    Example:
        >>> q, r = qr([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        >>> q.shape, r.shape
        (torch.Size([3, 2]), torch.Size([2, 2]))
    """
    one_of("qr", "mode", mode, ("reduced", "complete"))
    q, r = torch.linalg.qr(_matrices("qr", "x", x), mode=mode)
    return q, r


@operation("linalg")
def solve(a: Array, b: Array) -> Tensor:
    """Return the solution ``x`` of ``a @ x = b``.

    Args:
        a: square matrices, of shape ``(..., n, n)``.
        b: a vector ``(n,)``, as many vectors as matrices ``(..., n)``, or matrices
            ``(..., n, m)``.

    Raises:
        ValueError: when `a` is not square, or `b` does not fit.

    Example:
        >>> solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 8.0])
        tensor([1., 2.])
    """
    a = _matrices("solve", "a", a, True)
    return torch.linalg.solve(a, _right_side("solve", a, b))


def _right_side(owner: str, a: Tensor, b: Tensor) -> Tensor:
    if b.ndim == 0 or b.shape[-1 if _is_vector(a, b) else -2] != a.shape[-2]:
        expected = f"as many rows as `a`, whose shape is {tuple(a.shape)}"
        raise ValueError(invalid_argument(owner, "b", expected, b))
    return b.to(a.dtype)


def _is_vector(a: Tensor, b: Tensor) -> bool:
    """Say whether the right side is a vector for all matrices, or one for each."""
    return b.ndim == 1 or b.shape == a.shape[:-1]


@operation("linalg")
def solve_triangular(a: Array, b: Array, lower: bool = False) -> Tensor:
    """Return the solution ``x`` of ``a @ x = b`` for triangular matrices.

    Args:
        a: square matrices, of shape ``(..., n, n)``, of which one half is read.
        b: vectors ``(..., n)`` or matrices ``(..., n, m)``.
        lower: whether the lower half is read.

    Raises:
        ValueError: when `a` is not square, or `b` does not fit.

    Example:
        >>> solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0], lower=True)
        tensor([1., 2.])
    """
    a = _matrices("solve_triangular", "a", a, True)
    b = _right_side("solve_triangular", a, b)
    if _is_vector(a, b):
        columns = b.unsqueeze(-1)
        return torch.linalg.solve_triangular(a, columns, upper=not lower).squeeze(-1)
    return torch.linalg.solve_triangular(a, b, upper=not lower)


@operation("linalg", class_name="SVD")
def svd(x: Array, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Return the singular value decomposition of matrices.

    Args:
        x: the matrices, of shape ``(..., m, n)``.
        full_matrices: whether the two orthogonal factors are square.
        compute_uv: whether they are returned at all.

    Returns:
        ``(u, s, v)`` with ``x = u @ diag(s) @ v``, or the values `s` alone.

    Example:
        >>> svd([[3.0, 0.0], [0.0, 2.0]], compute_uv=False)
        tensor([3., 2.])
    """
    matrices = _matrices("svd", "x", x)
    if not compute_uv:
        return torch.linalg.svdvals(matrices)
    u, s, v = torch.linalg.svd(matrices, full_matrices=full_matrices)
    return u, s, v


@operation("linalg")
def lstsq(a: Array, b: Array, rcond: float | None = None) -> Tensor:
    """Return the ``x`` for which ``a @ x`` is closest to `b`.

    Args:
        a: a matrix, of shape ``(m, n)``.
        b: a vector ``(m,)`` or a matrix ``(m, k)``.
        rcond: singular values below this share of the largest count as zero.

    Example:
        >>> lstsq([[1.0], [1.0]], [1.0, 3.0])
        tensor([2.0000])
    """
    a = _matrices("lstsq", "a", a)
    b = _right_side("lstsq", a, b)
    vector = _is_vector(a, b)
    columns = b.unsqueeze(-1) if vector else b
    # Off the CPU torch's own solver needs columns of `a` that are independent, and the
    # compiler cannot trace it.
    own = a.device.type == "cpu" and not torch.compiler.is_compiling()
    if rcond is not None or not own:
        solution = torch.linalg.pinv(a, rtol=rcond) @ columns
    else:
        solution = torch.linalg.lstsq(a, columns).solution
    return solution.squeeze(-1) if vector else solution


@operation("linalg", class_name="JVP")
def jvp(
    fun: Operand,
    primals: Arrays,
    tangents: Arrays,
    has_aux: bool = False,
) -> Any:
    """Return the values of a function and its derivative in a direction.

    Args:
        fun: the function, of as many tensors as there are `primals`.
        primals: where it is evaluated.
        tangents: the direction, in the shapes of `primals`.
        has_aux: whether `fun` returns something else beside its values.

    Raises:
        TypeError: when `fun` is not a function.

    Example:
        >>> ones = torch.ones(2)
        >>> values, slope = jvp(lambda x: x * x, (3 * ones,), (ones,))
        >>> values.tolist(), slope.tolist()
        ([9.0, 9.0], [6.0, 6.0])
    """
    if not callable(fun):
        raise TypeError(invalid_argument("jvp", "fun", "a function", fun))
    with warnings.catch_warnings():
        # Torch's own rules for derivatives are loaded by a function it deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.func.jvp(
            _on_tensors(fun), tuple(primals), tuple(tangents), has_aux=has_aux
        )


def _on_tensors(fun: Callable[..., Any]) -> Callable[..., Any]:
    def call(*tensors: Tensor) -> Any:
        return fun(*tensors)

    return call


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
