"""Torch's operations on lists of tensors, which it uses itself, behind one door."""

from typing import Any

import torch

# Their names are private to torch, so no type checker lets them through.
_torch: Any = torch

abs = _torch._foreach_abs
add = _torch._foreach_add
add_ = _torch._foreach_add_
addcdiv_ = _torch._foreach_addcdiv_
addcmul_ = _torch._foreach_addcmul_
clamp_max_ = _torch._foreach_clamp_max_
clamp_min = _torch._foreach_clamp_min
clamp_min_ = _torch._foreach_clamp_min_
copy_ = _torch._foreach_copy_
div = _torch._foreach_div
div_ = _torch._foreach_div_
fused_adagrad_ = _torch._fused_adagrad_
fused_adam_ = _torch._fused_adam_
fused_adamw_ = _torch._fused_adamw_
fused_sgd_ = _torch._fused_sgd_
lerp_ = _torch._foreach_lerp_
maximum_ = _torch._foreach_maximum_
mul = _torch._foreach_mul
mul_ = _torch._foreach_mul_
norm = _torch._foreach_norm
pow = _torch._foreach_pow
sign_ = _torch._foreach_sign_
sqrt = _torch._foreach_sqrt
sqrt_ = _torch._foreach_sqrt_
sub = _torch._foreach_sub
sub_ = _torch._foreach_sub_
unscale_ = _torch._amp_foreach_non_finite_check_and_unscale_
