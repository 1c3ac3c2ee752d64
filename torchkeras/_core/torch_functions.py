"""The functions of torch that a file may name: a closed list, each with its place.

A functional model may call any function of torch; what is not here has no name in a
file, so saving refuses it. None of these does more than compute a tensor from tensors:
nothing here reads, writes, imports, or changes its arguments.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: The module that these functions are written under; Keras knows nothing like it.
MODULE = "torch"

#: Functions that are methods of a tensor as well.
_FUNCTIONS_AND_METHODS = """
        abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr adjoint all
        amax amin aminmax angle any arccos arccosh arcsin arcsinh arctan arctan2 arctanh
        argmax argmin argsort asin asinh atan atan2 atanh baddbmm bitwise_and
        bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm
        broadcast_to ceil chunk clamp clamp_max clamp_min clip clone conj conj_physical
        copysign cos cosh count_nonzero cross cummax cummin cumprod cumsum
        deg2rad det detach diag diag_embed diagflat diagonal diagonal_scatter diff
        digamma dist div divide dot dsplit eq erf erfc erfinv exp exp2 expm1 fix flatten
        flip fliplr flipud float_power floor floor_divide fmax fmin fmod frac frexp
        gather gcd ge ger greater greater_equal gt heaviside hsplit hypot i0 igamma
        igammac index_add index_copy index_fill index_select inner inverse isclose
        isfinite isinf isnan isneginf isposinf isreal kron kthvalue lcm ldexp le lerp
        less less_equal lgamma log log10 log1p log2 log_softmax logaddexp logaddexp2
        logcumsumexp logdet logical_and logical_not logical_or logical_xor logit
        logsumexp lt masked_fill matmul matrix_exp matrix_power max maximum mean median
        min minimum mm mode moveaxis movedim msort mul multiply mv mvlgamma nan_to_num
        nanmean nanmedian nanquantile nansum narrow ne neg negative nextafter norm
        not_equal numel outer permute pinverse polygamma positive pow prelu prod
        quantile rad2deg ravel reciprocal relu remainder renorm repeat_interleave
        reshape roll rot90 round rsqrt scatter scatter_add scatter_reduce select
        select_scatter sgn sigmoid sign signbit sin sinc sinh slice_scatter slogdet
        softmax sort split sqrt square squeeze std sub subtract sum swapaxes swapdims t
        take take_along_dim tan tanh tensor_split tile topk trace transpose tril triu
        true_divide trunc unbind unflatten unsqueeze var vdot vsplit where xlogy
"""
_PLACES: dict[str, tuple[Any, str]] = {
    "torch": (
        torch,
        _FUNCTIONS_AND_METHODS
        + """
        atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors bucketize
        cartesian_prod cat cdist celu chain_matmul channel_shuffle column_stack
        complex concat concatenate constant_pad_nd cosine_similarity
        cumulative_trapezoid dstack einsum full_like group_norm hstack imag
        layer_norm meshgrid ones_like polar rand_like randn_like real rms_norm rsub
        searchsorted selu stack std_mean tensordot threshold trapezoid trapz var_mean
        view_as_complex view_as_real vstack zeros_like
        """,
    ),
    "torch.Tensor": (
        Tensor,
        _FUNCTIONS_AND_METHODS
        + """
        bfloat16 bool byte cdouble cfloat char contiguous double expand expand_as
        float half int long nelement new_full new_ones new_zeros repeat
        reshape_as short size sum_to_size to type type_as unfold view view_as
        """,
    ),
    "torch.nn.functional": (
        F,
        """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
        adaptive_max_pool2d adaptive_max_pool3d affine_grid alpha_dropout avg_pool1d
        avg_pool2d avg_pool3d batch_norm bilinear binary_cross_entropy
        binary_cross_entropy_with_logits celu channel_shuffle conv1d conv2d conv3d
        conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity
        cross_entropy dropout dropout1d dropout2d dropout3d elu embedding
        feature_alpha_dropout fold gelu glu grid_sample group_norm gumbel_softmax
        hardshrink hardsigmoid hardswish hardtanh huber_loss instance_norm interpolate
        kl_div l1_loss layer_norm leaky_relu linear local_response_norm log_softmax
        logsigmoid lp_pool1d lp_pool2d lp_pool3d max_pool1d max_pool2d max_pool3d mish
        mse_loss nll_loss normalize one_hot pad pairwise_distance pixel_shuffle
        pixel_unshuffle prelu relu relu6 rms_norm rrelu scaled_dot_product_attention
        selu sigmoid silu smooth_l1_loss softmax softmin softplus softshrink softsign
        tanh tanhshrink threshold unfold
        """,
    ),
    "torch.linalg": (
        torch.linalg,
        """
        cholesky cond cross det diagonal eigh eigvalsh inv matmul matrix_exp matrix_norm
        matrix_power multi_dot norm pinv qr slogdet solve svdvals vecdot vector_norm
        """,
    ),
    "torch.fft": (
        torch.fft,
        """
        fft fft2 fftn fftshift hfft ifft ifft2 ifftn ifftshift ihfft irfft irfft2 irfftn
        rfft rfft2 rfftn
        """,
    ),
    "torch.special": (
        torch.special,
        """
        digamma entr erf erfc erfcx erfinv exp2 expit expm1 gammaln i0 i0e i1 i1e log1p
        log_ndtr log_softmax logit logsumexp multigammaln ndtr ndtri polygamma psi round
        sinc softmax xlog1py xlogy zeta
        """,
    ),
    "operator": (
        operator,
        """
        abs add and_ eq floordiv ge getitem gt invert le lt matmul mod mul ne neg
        or_ pow sub truediv xor
        """,
    ),
}
#: The functions by the names that files have.
BY_NAME: dict[str, Callable[..., Any]] = {
    f"{place}.{word}": getattr(owner, word)
    for place, (owner, words) in _PLACES.items()
    for word in words.split()
    if hasattr(owner, word)  # torch may be older
}
#: The names of functions; of several names of one function the first.
NAMES: dict[Callable[..., Any], str] = {
    function: name for name, function in reversed(BY_NAME.items())
}
#: Attributes of a tensor that are tensors, such as ``x.T``.
ATTRIBUTES = frozenset({"T", "mT", "H", "mH", "real", "imag"})

#: Values of torch that stand as arguments, by name.
CONSTANTS: dict[str, Any] = {
    str(value): value
    for value in vars(torch).values()
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout))
}


def as_arguments(value: Any) -> Any:
    """Return arguments in a form that comes back from a file as torch had them.

    Example:
        >>> as_arguments({"dim": (0, 1)})
        {'dim': {'class_name': '__tuple__', 'config': [0, 1]}}
    """
    if isinstance(value, dict):
        return {key: as_arguments(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_arguments(item) for item in value]
    if isinstance(value, tuple):
        items = [as_arguments(item) for item in value]
        return {"class_name": "__tuple__", "config": items}
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        return {"class_name": "__torch__", "config": str(value)}
    return value
