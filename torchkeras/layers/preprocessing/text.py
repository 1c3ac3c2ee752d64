"""Text as indices of words: `TextVectorization`."""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core.errors import count, describe, invalid_argument, one_of
from torchkeras._core.limits import spend_list
from torchkeras._core.strings import as_strings, is_strings, list_of_text
from torchkeras.layers.layer import layers
from torchkeras.layers.preprocessing._adapting import batches_of, is_one_array
from torchkeras.layers.preprocessing._categories import refuse_sparse
from torchkeras.layers.preprocessing._host import HostLayer
from torchkeras.layers.preprocessing._vocabulary import refuse_path
from torchkeras.layers.preprocessing.lookup import StringLookup

#: A byte that no text in UTF-8 has, which ends each text of many in one buffer.
_END = b"\xff"
_LOWER = bytes(range(256)).lower()
_PUNCTUATION = string.punctuation.encode()

#: What a standardization by name does to bytes: which others they become, which go. As
#: in Keras, letters that are not ASCII keep their case.
_STANDARDIZATIONS: dict[str, tuple[bytes | None, bytes]] = {
    "lower_and_strip_punctuation": (_LOWER, _PUNCTUATION),
    "lower": (_LOWER, b""),
    "strip_punctuation": (None, _PUNCTUATION),
}

Tokens = tuple[Sequence[Any], np.ndarray]


class _Told(HostLayer):
    """A layer that configs tell more of than its vocabulary."""

    #: What a config says of the vocabulary.
    _told: dict[str, Any]

    def __init__(
        self,
        *,
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._told = {
            "vocabulary_size": vocabulary_size,
            "has_input_vocabulary": has_input_vocabulary,
        }


@layers.register()
class TextVectorization(_Told):
    """Gives texts as the indices of their words, or as what words they have.

    A text is standardized, split into words, these are joined to n-grams, and each is
    looked up in a vocabulary, which is given or learnt from data by `adapt`. It runs on
    the host: before the model, in a loader's workers, or in a model whose `Input` has
    the dtype ``"string"``.

    Args:
        max_tokens: how many indices there are at most.
        standardize: ``"lower_and_strip_punctuation"``, ``"lower"``,
            ``"strip_punctuation"``, None, or a function of an array of strings.
        split: ``"whitespace"``, ``"character"``, None, or a function of an array of
            strings that returns a list of words for each.
        ngrams: the size of n-grams: up to a number, or those of a tuple.
        output_mode: ``"int"`` for indices; for a row for each text ``"multi_hot"``,
            ``"count"``, or ``"tf_idf"``, where counts are multiplied by how rare a word
            is.
        output_sequence_length: for ``"int"``, the length to which texts are cut or
            padded; that of the longest by default.
        pad_to_max_tokens: whether rows have `max_tokens` places in any case.
        vocabulary: the words, or the path of a text file of one a line.
        idf_weights: for ``"tf_idf"``, a weight for each word of `vocabulary`.
        sparse: must be False.
        ragged: must be False.
        encoding: how bytes say characters.
        name: the name.

    Shape:
        Strings in lists or arrays ``(batch)`` or ``(batch, 1)`` to ``(batch, length)``,
        index 0 for padding and 1 for what is not in the vocabulary; others to ``(batch,
        indices)``.

    Raises:
        ValueError: for an unknown option, or options that contradict each other.

    Example:
        >>> layer = TextVectorization(output_sequence_length=4)
        >>> layer.adapt(["A cat.", "a dog, a cat"])
        >>> layer.get_vocabulary()
        ['', '[UNK]', 'a', 'cat', 'dog']
        >>> layer(["A dog!", "My cat"])
        tensor([[2, 4, 0, 0],
                [1, 3, 0, 0]])
    """

    #: How many words the parts have, None for single words.
    _widths: Any

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: int | Sequence[int] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, autocast=False, **kwargs)
        owner = "TextVectorization"
        refuse_sparse(owner, sparse=sparse, ragged=ragged)
        self.standardize = _option(owner, "standardize", standardize, _STANDARDIZATIONS)
        self.split = _option(owner, "split", split, ("whitespace", "character"))
        self.ngrams = ngrams
        self._widths = _widths(owner, ngrams)
        self._lookup_layer = StringLookup(
            max_tokens, vocabulary=vocabulary, idf_weights=idf_weights, mask_token="",
            output_mode=output_mode, pad_to_max_tokens=pad_to_max_tokens,
            encoding=encoding, **self._told,
        )  # fmt: skip
        self.max_tokens = self._lookup_layer.max_tokens
        self.output_mode = self._lookup_layer.output_mode
        self.pad_to_max_tokens = pad_to_max_tokens
        self.sparse, self.ragged, self.encoding = sparse, ragged, encoding
        if output_sequence_length is not None:
            if self.output_mode != "int":
                raise ValueError(
                    f"{owner}: `output_sequence_length` has a meaning for "
                    f"output_mode='int' only, not for {self.output_mode!r}."
                )
            output_sequence_length = count(
                owner, "output_sequence_length", output_sequence_length
            )
        self.output_sequence_length = output_sequence_length
        if type(self).__module__.startswith("torchkeras."):
            self.__dict__["_captured"] = (), {}  # attributes say it all

    # The vocabulary

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """Return the words in the order of their indices.

        Args:
            include_special_tokens: whether the tokens for padding and for what is not
                in the vocabulary are among them.
        """
        return self._lookup_layer.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """Return the number of indices, with those of padding and of other words."""
        return self._lookup_layer.vocabulary_size()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take a vocabulary in place of the one there is.

        Args:
            vocabulary: an array or a list of words, or the path of a text file of one a
                line.
            idf_weights: with output_mode ``"tf_idf"``, a weight for each word.

        Raises:
            ValueError: for a vocabulary that is empty, too large, or has a word twice.
        """
        self._lookup_layer.set_vocabulary(vocabulary, idf_weights)

    def adapt(
        self, data: Any, batch_size: int | None = None, steps: int | None = None
    ) -> None:
        """Learn the vocabulary of texts, the most frequent words first.

        Args:
            data: an array or a list of texts, or batches of them: a generator, a
                `DataLoader`, a `PyDataset`; of ``(x, y)`` the first is taken.
            batch_size: accepted for Keras's signature.
            steps: how many batches to take at most.

        Raises:
            ValueError: for data without words, or where a vocabulary was given.
        """
        self.reset_state()
        for batch in batches_of("TextVectorization", data, steps):
            array = self._array(batch)
            if is_one_array(data) and array.ndim == 1:
                array = array[:, None]
            self.update_state(array)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Count the words of a batch of texts."""
        array = self._array(data)
        if self.split is None and array.ndim == 1:
            array = array[None]  # a document
        self._lookup_layer.add_tokens(*self._tokens(array))

    def finalize_state(self) -> None:
        """Make a vocabulary of what was counted."""
        self._lookup_layer.finalize_state()

    def reset_state(self) -> None:
        """Forget what was counted."""
        self._lookup_layer.reset_state()

    # Calling

    @property
    def compute_dtype(self) -> str:
        """The dtype of the outputs."""
        return self._lookup_layer.compute_dtype

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        shape = tuple(input_shape)
        if self.output_mode != "int":
            words = (None,) if self.output_mode == "one_hot" else ()
            return (*self._rows(shape), *words, self._lookup_layer.depth)
        length = self.output_sequence_length
        if self.split is None and length is None and self._widths is None:
            return shape
        return (*self._rows(shape), length)

    def _rows(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape of the rows that texts of a shape make."""
        if len(shape) < 2:
            return shape
        if self.split is not None and shape[-1] != 1:
            raise ValueError(
                f"Layer '{self.name}' (TextVectorization): texts to be split must have "
                f"the shape (batch,) or (batch, 1), got {shape}. Take split=None for "
                "words that are split already."
            )
        return shape[:-1]

    def compute(self, inputs: Any) -> Tensor:
        """Return indices, or rows, of an array of texts."""
        lookup = self._lookup_layer
        vocabulary = lookup.known_vocabulary(self)
        array = self._array(inputs)
        shape = self._rows(array.shape)
        tokens, lengths = self._tokens(array)
        in_bytes = len(tokens) > 0 and isinstance(tokens[0], bytes)
        table = vocabulary.indices_of_bytes if in_bytes else vocabulary.indices
        indices = lookup.indices_of(tokens, table)
        if self.output_mode != "int":
            depth: Any = lookup.depth
            rows = torch.from_numpy(_padded(indices, lengths, None, fill=depth))
            outputs = lookup.encoded(rows)
            return outputs.reshape(*shape, *outputs.shape[1:])
        length = self.output_sequence_length
        if self.split is None and length is None and self._widths is None:
            return torch.from_numpy(indices.reshape(array.shape))
        padded = _padded(indices, lengths, length)
        return torch.from_numpy(padded.reshape(*shape, padded.shape[-1]))

    def _array(self, data: Any) -> np.ndarray:
        array = as_strings(data)
        if not is_strings(array):
            raise ValueError(
                f"Layer '{self.name}' (TextVectorization): expected strings, got "
                f"{describe(data)}."
            )
        return array

    def _text(self, array: np.ndarray) -> list[str]:
        where = f"Layer '{self.name}' (TextVectorization)"
        return list_of_text(where, array, self.encoding)

    def _tokens(self, array: np.ndarray) -> Tokens:
        """Return the words of all texts, row after row, and how many each row has."""
        if callable(self.standardize):
            array = self._standardized_by_function(array)
        rows = self._rows(array.shape)
        texts = self._text(array)
        tokens, lengths = self._split(texts)
        if self.split is None:
            each = array.shape[-1] if array.ndim > 1 else 1
            lengths = np.full(int(np.prod(rows)), each)
        if self._widths is not None:
            tokens, lengths = _ngrams(tokens, lengths, self._widths)
        return tokens, lengths

    def _standardized_by_function(self, array: np.ndarray) -> np.ndarray:
        text = np.array(self._text(array), dtype=str).reshape(array.shape)
        result = as_strings(self.standardize(text))
        if not is_strings(result) or result.shape != array.shape:
            raise ValueError(
                f"Layer '{self.name}' (TextVectorization): `standardize` must return "
                f"strings of the shape {array.shape} that it got, it returned "
                f"{describe(result)}."
            )
        return result

    def _split(self, texts: list[str]) -> Tokens:
        if self.split == "whitespace":
            return _words(self._buffer(texts, b" " + _END + b" "))
        if isinstance(self.standardize, str):
            parts = self._buffer(texts, _END).split(_END)[:-1]
            texts = [part.decode() for part in parts]
        if self.split is None:
            return texts, np.ones(len(texts), "int64")
        if callable(self.split):
            split: Any = self.split
            rows: Any = [list(row) for row in split(np.array(texts, dtype=str))]
            if len(rows) != len(texts):
                raise ValueError(
                    f"Layer '{self.name}' (TextVectorization): `split` must return a "
                    f"list of words for each of {len(texts)} texts, it returned "
                    f"{len(rows)}."
                )
            words = [str(word) for row in rows for word in row]
        else:
            rows, words = texts, list("".join(texts))
        return words, np.fromiter(map(len, rows), np.int64, len(rows))

    def _buffer(self, texts: list[str], end: bytes) -> bytes:
        """Return all texts, standardized by name, each with an end mark behind it."""
        buffer = end.join([*(text.encode() for text in texts), b""])
        if isinstance(self.standardize, str):
            buffer = buffer.translate(*_STANDARDIZATIONS[self.standardize])
        return buffer

    # Config and files

    def get_config(self) -> dict[str, Any]:
        lookup = self._lookup_layer.get_config()
        names = ("vocabulary", "idf_weights", "has_input_vocabulary")
        return {
            **super().get_config(),
            **{name: lookup[name] for name in names if name in lookup},
            "vocabulary_size": self.vocabulary_size(),
        }

    @classmethod
    def _from_arguments(cls, values: dict[str, Any]) -> Any:
        refuse_path(cls.__name__, values.get("vocabulary"))
        if isinstance(values.get("ngrams"), list):
            values["ngrams"] = tuple(values["ngrams"])
        return super()._from_arguments(values)

    def named_variables(self) -> dict[str, Any]:
        """Return what Keras's files have of this layer beside its weights, by name."""
        return self._lookup_layer.named_variables()

    def save_assets(self, dir_path: str) -> None:
        """Write the vocabulary into a folder, unless the config holds it."""
        self._lookup_layer.save_assets(dir_path)

    def load_assets(self, dir_path: str) -> None:
        """Take the vocabulary that stands in a folder, unless the config held one."""
        self._lookup_layer.load_assets(dir_path)


def _option(owner: str, argument: str, value: Any, names: Any) -> Any:
    if value is None or callable(value):
        return value
    return one_of(owner, argument, value, tuple(names))


def _widths(owner: str, ngrams: Any) -> tuple[int, ...] | None:
    """Return the sizes of n-grams."""
    if ngrams is None:
        return None
    if isinstance(ngrams, int) and ngrams > 0:
        spend_list("n-grams", ngrams, 32)
        return tuple(range(1, ngrams + 1))
    sizes = ngrams if isinstance(ngrams, (list, tuple)) else ()
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        expected = "None, a positive integer, or a tuple of them"
        raise ValueError(invalid_argument(owner, "ngrams", expected, ngrams))
    return tuple(sizes)


def _words(buffer: bytes) -> Tokens:
    """Return what white space separates, without the end marks, and lengths of rows."""
    words = buffer.split()
    is_end = np.fromiter(map(_END.__eq__, words), bool, len(words))
    ends = np.flatnonzero(is_end)
    lengths = np.diff(ends, prepend=-1) - 1
    return list(itertools.compress(words, ~is_end)), lengths


def _ngrams(
    tokens: Sequence[Any], lengths: np.ndarray, widths: tuple[int, ...]
) -> Tokens:
    """Return the n-grams of each row, those of the first width first."""
    join: Callable[..., Any] = (
        b" ".join if len(tokens) and isinstance(tokens[0], bytes) else " ".join
    )
    rows = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.repeat(np.cumsum(lengths), lengths)
    grams: list[Any] = []
    of_rows: list[np.ndarray] = []
    for width in widths:
        shifted = (itertools.islice(tokens, start, None) for start in range(width))
        joined = map(join, zip(*shifted, strict=False))
        number = max(len(tokens) - width + 1, 0)
        inside = np.arange(number) + width <= ends[:number]
        grams += itertools.compress(joined, inside)
        of_rows.append(rows[:number][inside])
    of_row = np.concatenate(of_rows)
    order = np.argsort(of_row, kind="stable").tolist()
    return [grams[i] for i in order], np.bincount(of_row, minlength=len(lengths))


def _padded(
    indices: np.ndarray, lengths: np.ndarray, length: int | None, fill: int = 0
) -> np.ndarray:
    """Return rows of different lengths in one array, cut and filled up."""
    width = int(lengths.max(initial=0)) if length is None else length
    padded = np.full((len(lengths), width), fill, "int64")
    rows = np.repeat(np.arange(len(lengths)), lengths)
    columns = np.arange(len(indices)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = columns < width
    padded[rows[kept], columns[kept]] = indices[kept]
    return padded
