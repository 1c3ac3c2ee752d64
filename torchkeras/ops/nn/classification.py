"""Class encodings, crossentropies, connectionist temporal classification."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.convert import as_floating, as_tensor
from torchkeras._core.dtypes import result_type, to_torch_dtype
from torchkeras._core.errors import (
    describe,
    invalid_argument,
    one_of,
    positive_integer,
)
from torchkeras._core.operation import Array, operation
from torchkeras._core.probabilities import (
    NO_CLASS,
    log_loss,
    normalized_probabilities,
)
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.typing import DType

__all__ = [
    "binary_crossentropy",
    "categorical_crossentropy",
    "ctc_decode",
    "ctc_loss",
    "multi_hot",
    "one_hot",
    "sparse_categorical_crossentropy",
]


def _is_class(
    owner: str, labels: Tensor, num_classes: Any, axis: int, sparse: bool
) -> Tensor:
    """Return, along a new axis, whether a label is that class."""
    if sparse:
        raise NotImplementedError(
            f"{owner}: `sparse=True` is not supported; call `to_sparse` of the result."
        )
    size = positive_integer(owner, "num_classes", num_classes)
    if not -1 <= axis <= labels.ndim:
        expected = f"-1 or from 0 to {labels.ndim}, the rank of the labels"
        raise ValueError(invalid_argument(owner, "axis", expected, axis))
    axis = labels.ndim if axis == -1 else axis
    classes = torch.arange(size, device=labels.device)
    classes = classes.reshape(-1, *[1] * (labels.ndim - axis))
    return labels.long().unsqueeze(axis) == classes


@operation("nn")
def one_hot(
    x: Array,
    num_classes: int,
    axis: int = -1,
    dtype: DType = None,
    sparse: bool = False,
) -> Tensor:
    """Return 1 at the class of each label, and 0 elsewhere.

    A label that is no class, such as -1, gives zeros.

    Args:
        x: the labels.
        num_classes: the number of classes.
        axis: where the axis of the classes goes; -1 for last.
        dtype: the dtype of the result; `floatx` by default.
        sparse: must be False.

    Shape:
        Any, and for the result the axis of the classes in addition.

    Raises:
        ValueError: when `axis` is out of range.
        NotImplementedError: for `sparse`.

    Example:
        >>> one_hot([1, 0], 3)
        tensor([[0., 1., 0.],
                [1., 0., 0.]])
    """
    chosen = _is_class("one_hot", x, num_classes, axis, sparse)
    return chosen.to(to_torch_dtype(dtype))


@operation("nn")
def multi_hot(
    inputs: Array,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: DType = None,
    sparse: bool = False,
    **kwargs: Any,
) -> Tensor:
    """Return 1 at each class that is among the labels of a sample, and 0 elsewhere.

    A label that is no class, such as -1, counts for nothing.

    Args:
        inputs: the labels; a vector is one sample.
        num_classes: the number of classes.
        axis: where the axis of the classes goes, beside that of the labels; -1 for
            last.
        dtype: the dtype of the result; `floatx` by default.
        sparse: must be False.
        **kwargs: `num_tokens`, an old name of `num_classes`.

    Shape:
        ``(batch, labels, ...)`` to ``(batch, ..., num_classes)``.

    Raises:
        TypeError: for other keywords, and without the number of classes.
        ValueError: for a single label, and when `axis` is out of range.
        NotImplementedError: for `sparse`.

    Example:
        >>> multi_hot([0, 2], 4)
        tensor([1., 0., 1., 0.])
    """
    tokens = kwargs.pop("num_tokens", None)
    if kwargs:
        raise TypeError(f"multi_hot: unexpected keyword arguments {sorted(kwargs)}.")
    if inputs.ndim == 0:
        expected = "at least of rank 1, with an axis of labels"
        raise ValueError(invalid_argument("multi_hot", "inputs", expected, inputs))
    size = tokens if num_classes is None else num_classes
    chosen = _is_class("multi_hot", inputs, size, axis, sparse)
    position = min(inputs.ndim - 1, 1)
    if 0 <= axis <= position:  # the classes went before the labels
        position += 1
    return chosen.any(position).to(to_torch_dtype(dtype))


def _check_same_shape(owner: str, target: Tensor, output: Tensor) -> None:
    if target.shape != output.shape:
        raise ValueError(
            f"{owner}: `target` and `output` must have one shape, got "
            f"{describe(target)} and {describe(output)}."
        )


@operation("nn")
def binary_crossentropy(
    target: Array, output: Array, from_logits: bool = False
) -> Tensor:
    """Return the crossentropy of each label, 0 or 1, and its probability.

    Args:
        target: the labels.
        output: the probabilities, or logits.
        from_logits: whether `output` are logits.

    Shape:
        Any, the same for both and for the result.

    Raises:
        ValueError: when the shapes differ.

    Example:
        >>> binary_crossentropy([0.0, 1.0], [0.5, 0.5])
        tensor([0.6931, 0.6931])
    """
    _check_same_shape("binary_crossentropy", target, output)
    output = as_floating(output)
    target = target.to(output.dtype)
    if from_logits:
        return F.binary_cross_entropy_with_logits(output, target, reduction="none")
    # Half precision has nothing between `1 - epsilon` and 1.
    p = output.to(torch.promote_types(output.dtype, torch.float32))
    return log_loss(target, p).to(output.dtype)


@operation("nn")
def categorical_crossentropy(
    target: Array, output: Array, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Return the crossentropy of distributions over classes.

    Args:
        target: a distribution for each sample, such as a one-hot row.
        output: the probabilities, or logits; they need not sum to 1.
        from_logits: whether `output` are logits.
        axis: the axis of the classes.

    Shape:
        Any, the same for both; the result lacks the axis of the classes.

    Raises:
        ValueError: when the shapes differ, or have no axis.

    Example:
        >>> categorical_crossentropy([[0.0, 1.0]], [[0.25, 0.75]])
        tensor([0.2877])
    """
    owner = "categorical_crossentropy"
    _check_same_shape(owner, target, output)
    _check_has_axis(owner, output)
    return -(target * _log_probabilities(output, from_logits, axis)).sum(axis)


def _check_has_axis(owner: str, output: Tensor) -> None:
    if output.ndim == 0:
        expected = "at least of rank 1, with an axis of classes"
        raise ValueError(invalid_argument(owner, "output", expected, output))


def _log_probabilities(output: Tensor, from_logits: bool, axis: int) -> Tensor:
    output = as_floating(output)
    if from_logits:
        return torch.log_softmax(output, axis)
    return torch.log(normalized_probabilities(output, axis))


@operation("nn")
def sparse_categorical_crossentropy(
    target: Array, output: Array, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Return the crossentropy of labels and distributions over classes.

    Args:
        target: a label for each sample.
        output: the probabilities, or logits; they need not sum to 1.
        from_logits: whether `output` are logits.
        axis: the axis of the classes.

    Shape:
        Any for the outputs; the labels and the result lack the axis of the classes,
        which labels may have with size 1.

    Raises:
        ValueError: for labels of another shape, and, on the CPU, those that are no
            classes.

    Example:
        >>> sparse_categorical_crossentropy([1], [[0.25, 0.75]])
        tensor([0.2877])
    """
    owner = "sparse_categorical_crossentropy"
    _check_has_axis(owner, output)
    if target.ndim == output.ndim and target.shape[axis] == 1:
        target = target.squeeze(axis)
    expected = list(output.shape)
    classes = expected.pop(axis)
    if list(target.shape) != expected:
        form = f"of shape {tuple(expected)}, that of `output` without its classes"
        raise ValueError(invalid_argument(owner, "target", form, target))
    scores = _log_probabilities(output, from_logits, axis)
    if scores.ndim > 1:
        scores = scores.movedim(axis, 1)
    try:
        return F.nll_loss(
            scores, target.long(), ignore_index=NO_CLASS, reduction="none"
        )
    except IndexError as error:
        raise ValueError(
            f"{owner}: labels must be from 0 to {classes - 1}, as `output` has "
            f"{classes} classes along axis {axis}: {error}"
        ) from None


# Connectionist temporal classification


def _infer_ctc_loss(
    target: Any,
    output: Any,
    target_length: Any,
    output_length: Any,
    mask_index: int = 0,
) -> KerasTensor:
    # Torch's kernel does not run on `meta`.
    target, output = as_tensor(target), as_tensor(output)
    _check_ctc_ranks(target, output)
    return KerasTensor(output.shape[:1], result_type(output.dtype, "float32"))


def _check_ctc_ranks(target: Any, output: Any) -> None:
    if target.ndim != 2 or output.ndim != 3:
        raise ValueError(
            "ctc_loss: `target` must be of shape (batch, labels) and `output` of shape "
            f"(batch, steps, classes), got {describe(target)} and {describe(output)}."
        )


def _check_per_sample(owner: str, batch: int, **vectors: Tensor) -> None:
    for name, vector in vectors.items():
        if vector.shape != (batch,):
            expected = f"of shape ({batch},), a number for each sample"
            raise ValueError(invalid_argument(owner, name, expected, vector))


def _check_blank(owner: str, blank: int, classes: int) -> None:
    if not 0 <= blank < classes:
        expected = f"a class from 0 to {classes - 1}"
        raise ValueError(invalid_argument(owner, "mask_index", expected, blank))


@operation("nn", class_name="CTCLoss", infer=_infer_ctc_loss)
def ctc_loss(
    target: Array,
    output: Array,
    target_length: Array,
    output_length: Array,
    mask_index: int = 0,
) -> Tensor:
    """Return the loss of connectionist temporal classification (Graves et al., 2006).

    Args:
        target: the labels, padded at will.
        output: the logits.
        target_length: the number of labels of each sample.
        output_length: the number of steps of each.
        mask_index: the class that stands for no label, the blank.

    Shape:
        ``(batch, labels)``, ``(batch, steps, classes)`` and twice ``(batch,)`` to
        ``(batch,)``.

    Raises:
        ValueError: for shapes that do not belong together, and a blank that is no
            class.

    Example:
        >>> ctc_loss([[1]], torch.zeros(1, 1, 2), [1], [1])
        tensor([0.6931])
    """
    owner = "ctc_loss"
    _check_ctc_ranks(target, output)
    batch, _, classes = output.shape
    if target.shape[0] != batch:
        expected = f"of as many samples as `output`, {batch}"
        raise ValueError(invalid_argument(owner, "target", expected, target))
    _check_per_sample(
        owner, batch, target_length=target_length, output_length=output_length
    )
    _check_blank(owner, mask_index, classes)
    scores = output.to(to_torch_dtype(result_type(output.dtype, "float32")))
    return F.ctc_loss(
        torch.log_softmax(scores.transpose(0, 1), -1),
        target.long(),
        output_length.long(),
        target_length.long(),
        blank=mask_index,
        reduction="none",
    )


@operation("nn", class_name="CTCDecode")
def ctc_decode(
    inputs: Array,
    sequence_lengths: Array,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int | None = 0,
) -> tuple[Tensor, Tensor]:
    """Return the labels that the outputs of connectionist temporal classification mean.

    Args:
        inputs: the logits.
        sequence_lengths: the number of steps of each sample.
        strategy: ``"greedy"`` (the best class of each step) or ``"beam_search"`` (the
            most probable sequences of labels).
        beam_width: how many sequences a beam search keeps at each step.
        top_paths: how many it returns, the most probable first.
        merge_repeated: whether the greedy strategy takes equal classes in a row as one;
            a beam search always does.
        mask_index: the class that stands for no label, the blank; None for the last.

    Shape:
        ``(batch, steps, classes)`` to the labels, ``(top_paths, batch, steps)`` and
        filled up with -1, and their scores, ``(batch, top_paths)``: the sum of the best
        logits, negated, of the greedy strategy, and logarithms of probabilities of a
        beam search, which have no gradient.

    Raises:
        ValueError: for illegal arguments.

    Example:
        >>> logits = one_hot([[1, 1, 0, 2]], 3)
        >>> ctc_decode(logits, [4])
        (tensor([[[ 1,  2, -1, -1]]], dtype=torch.int32), tensor([[-4.]]))
    """
    owner = "ctc_decode"
    one_of(owner, "strategy", strategy, ("greedy", "beam_search"))
    if inputs.ndim != 3:
        expected = "of shape (batch, steps, classes)"
        raise ValueError(invalid_argument(owner, "inputs", expected, inputs))
    batch, _, classes = inputs.shape
    blank = classes - 1 if mask_index is None else mask_index
    _check_blank(owner, blank, classes)
    _check_per_sample(owner, batch, sequence_lengths=sequence_lengths)
    scores = inputs.to(to_torch_dtype(result_type(inputs.dtype, "float32")))
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    beyond = steps >= sequence_lengths.unsqueeze(-1)
    if strategy == "greedy":
        return _decode_greedily(scores, beyond, merge_repeated, blank)
    width = positive_integer(owner, "beam_width", beam_width)
    if positive_integer(owner, "top_paths", top_paths) > width:
        expected = f"at most `beam_width`, {width}"
        raise ValueError(invalid_argument(owner, "top_paths", expected, top_paths))
    return _search_beams(scores.detach(), beyond, width, top_paths, blank)


def _decode_greedily(
    scores: Tensor, beyond: Tensor, merge_repeated: bool, blank: int
) -> tuple[Tensor, Tensor]:
    best, labels = scores.max(-1)
    void = beyond | (labels == blank)
    if merge_repeated:
        void[:, 1:] |= labels[:, 1:] == labels[:, :-1]
    labels = torch.where(void, -1, labels.int())
    # The labels in their order, and then what is none.
    order = void.int().argsort(dim=-1, stable=True)
    total = -best.masked_fill(beyond, 0.0).sum(-1, keepdim=True)
    return labels.gather(-1, order).unsqueeze(0), total


#: What a sequence's number is multiplied by for each label that is added to it.
_HASH = 6364136223846793005
_NEVER = float("-inf")


class _Beams(NamedTuple):
    """The sequences that a beam search keeps, ``(batch, width)`` of them.

    For each there are the logarithms of two probabilities: of the alignments that end
    in its last label, and of those that end in a blank. The last label again begins a
    new label only after a blank.
    """

    in_label: Tensor
    in_blank: Tensor
    #: What tells sequences apart, and that of the sequence without the last label.
    number: Tensor
    shorter: Tensor
    last: Tensor
    length: Tensor
    #: The labels, ``(batch, width, steps)``.
    path: Tensor


def _search_beams(
    scores: Tensor, beyond: Tensor, width: int, top_paths: int, blank: int
) -> tuple[Tensor, Tensor]:
    """Search for the most probable sequences of labels, in all samples at once."""
    batch, steps, classes = scores.shape
    # Beyond its end a sample has blanks only, which change nothing.
    silence = scores.new_full((classes,), _NEVER)
    silence[blank] = 0.0
    scores = torch.where(beyond.unsqueeze(-1), silence, scores.log_softmax(-1))
    # The empty sequence, and places that no sequence has taken yet.
    impossible = scores.new_full((batch, width), _NEVER)
    in_blank = impossible.clone()
    in_blank[:, 0] = 0.0
    none = torch.zeros((batch, width), dtype=torch.int64, device=scores.device)
    path = none.new_full((batch, width, steps), -1)
    beams = _Beams(impossible, in_blank, none, none - 1, none + blank, none, path)
    for step in scores.unbind(1):
        beams = _select(beams, *_extend(beams, step, blank))
    total = torch.logaddexp(beams.in_label, beams.in_blank)
    best, chosen = total.topk(top_paths, 1)
    path = beams.path.gather(1, chosen.unsqueeze(-1).expand(-1, -1, steps))
    path = path.masked_fill(best.unsqueeze(-1) == _NEVER, -1)
    return path.transpose(0, 1).int(), best


def _extend(beams: _Beams, step: Tensor, blank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scores of all sequences that one step more may lead to.

    They are those of the sequences that stay as they are, in their last label and in a
    blank, and of those that are longer, ``(batch, width, classes)``.
    """
    total = torch.logaddexp(beams.in_label, beams.in_blank)
    stay_blank = total + step[:, blank, None]
    stay_label = beams.in_label + step.gather(-1, beams.last)
    labels = torch.arange(step.shape[-1], device=step.device)
    repeats = beams.last.unsqueeze(-1) == labels
    longer = torch.where(repeats, beams.in_blank.unsqueeze(-1), total.unsqueeze(-1))
    longer = (longer + step.unsqueeze(1)).masked_fill(labels == blank, _NEVER)
    # Sequence i with a label more may be sequence j: then its score goes there.
    same = beams.number.unsqueeze(2) == beams.shorter.unsqueeze(1)
    label_of_j = beams.last.unsqueeze(1).expand_as(same)
    arriving = longer.gather(2, label_of_j)
    joined = arriving.masked_fill(~same, _NEVER).amax(1)
    longer = longer.scatter_reduce(
        2, label_of_j, arriving.masked_fill(same, _NEVER), "amin"
    )
    return torch.logaddexp(stay_label, joined), stay_blank, longer


def _select(
    beams: _Beams, stay_label: Tensor, stay_blank: Tensor, longer: Tensor
) -> _Beams:
    """Return the best of the sequences that stay as they are and of the longer ones."""
    width, classes = longer.shape[1:]
    stay = torch.logaddexp(stay_label, stay_blank)
    best, chosen = torch.cat([stay, longer.flatten(1)], 1).topk(width, 1)
    grows = chosen >= width
    extension = (chosen - width).clamp(min=0)
    source = torch.where(grows, extension // classes, chosen)
    in_blank = stay_blank.gather(1, source).masked_fill(grows, _NEVER)
    in_label = torch.where(grows, best, stay_label.gather(1, source))
    number, shorter, last, length = (
        t.gather(1, source)
        for t in (beams.number, beams.shorter, beams.last, beams.length)
    )
    last = torch.where(grows, extension % classes, last)
    shorter = torch.where(grows, number, shorter)
    # What is impossible may repeat a sequence, and must not take part of its score.
    shorter = shorter.masked_fill(best == _NEVER, -1)
    number = torch.where(grows, number * _HASH + last + 1, number)
    steps = beams.path.shape[-1]
    path = beams.path.gather(1, source.unsqueeze(-1).expand(-1, -1, steps))
    place = length.clamp(max=steps - 1).unsqueeze(-1)
    path = path.scatter(2, place, torch.where(grows, last, -1).unsqueeze(-1))
    return _Beams(in_label, in_blank, number, shorter, last, length + grows, path)
