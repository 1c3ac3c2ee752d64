"""Words and numbers as indices of a vocabulary: `StringLookup`, `IntegerLookup`."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.context import context
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import DTYPES, STRING
from torchkeras._core.errors import (
    count,
    describe,
    invalid_argument,
    one_of,
)
from torchkeras._core.limits import spend_list
from torchkeras._core.strings import as_strings, is_strings, list_of_text
from torchkeras._core.typing import PathLike
from torchkeras._core.variable import IDENTITY, WeightView
from torchkeras.layers._state import LayerState
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.preprocessing._adapting import batches_of, is_one_array
from torchkeras.layers.preprocessing._categories import (
    encode,
    mode_of,
    refuse_sparse,
    shape_of_encoded,
)
from torchkeras.layers.preprocessing._hashes import fingerprint64, salt_of, siphash64
from torchkeras.layers.preprocessing._host import HostLayer
from torchkeras.layers.preprocessing._vocabulary import (
    Given,
    TokenCounts,
    Vocabulary,
    refuse_path,
)

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
VOCABULARY_FILE = "vocabulary.txt"


class IndexLookup(HostLayer):
    """What lookups of strings and of integers have in common.

    The arguments are those of `StringLookup`.
    """

    #: Whether the vocabulary was an argument.
    _is_given: bool

    oov_token: Any
    mask_token: Any
    _given: Given
    _vocabulary: Vocabulary | None
    _counts: TokenCounts
    #: The size that a config told, of a vocabulary that comes later.
    _size_to_come: int | None

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        sparse: bool,
        pad_to_max_tokens: bool,
        oov_method: str,
        salt: Any,
        vocabulary_size: int | None = None,
        has_input_vocabulary: bool | None = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, autocast=False, **kwargs)
        owner = type(self).__name__
        self.output_mode = mode_of(owner, output_mode, MODES)
        refuse_sparse(owner, sparse=sparse)
        if max_tokens is not None:
            max_tokens = count(owner, "max_tokens", max_tokens, least=2)
        self.max_tokens = max_tokens
        self.num_oov_indices = count(owner, "num_oov_indices", num_oov_indices, least=0)
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert, self.sparse = invert, sparse
        self.pad_to_max_tokens = pad_to_max_tokens
        self.oov_method = one_of(
            owner, "oov_method", oov_method, ("floormod", "farmhash")
        )
        self.salt = salt_of(owner, salt)
        self._check_options(owner, idf_weights)
        self._vocabulary = None
        self._size_to_come = vocabulary_size
        self._counts = TokenCounts()
        self._given = Given()
        if type(self).__module__.startswith("torchkeras."):
            self.__dict__["_captured"] = (), {}  # attributes say it all
        self._is_given = vocabulary is not None
        if has_input_vocabulary is not None:
            self._is_given = has_input_vocabulary
        if vocabulary is not None:
            if self.output_mode == "tf_idf" and idf_weights is None:
                raise ValueError(
                    f"{owner}: a `vocabulary` with output_mode='tf_idf' needs "
                    "`idf_weights` as well."
                )
            self.set_vocabulary(vocabulary, idf_weights)
            if self._is_given and not isinstance(vocabulary, (str, os.PathLike)):
                self._given = Given(self._tokens_of(vocabulary), _floats(idf_weights))

    def _check_options(self, owner: str, idf_weights: Any) -> None:
        if self.pad_to_max_tokens and self.max_tokens is None:
            raise ValueError(f"{owner}: `pad_to_max_tokens=True` needs `max_tokens`.")
        if self.invert and self.output_mode != "int":
            raise ValueError(
                f"{owner}: `invert=True` needs output_mode='int', got "
                f"{self.output_mode!r}."
            )
        if idf_weights is not None and self.output_mode != "tf_idf":
            raise ValueError(
                f"{owner}: `idf_weights` have a meaning for output_mode='tf_idf' only, "
                f"not for {self.output_mode!r}."
            )

    # The vocabulary

    @property
    def input_vocabulary(self) -> list[Any] | None:
        """The vocabulary as it was given, None for one that was learnt or read."""
        return self._given.vocabulary

    @property
    def _oov_start(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _token_start(self) -> int:
        return self._oov_start + self.num_oov_indices

    @property
    def _special(self) -> list[Any]:
        spend_list("tokens", self.num_oov_indices)
        return [self.mask_token] * self._oov_start + [
            self.oov_token
        ] * self.num_oov_indices

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Return the tokens in the order of their indices.

        Args:
            include_special_tokens: whether the tokens for masks and for what is not in
                the vocabulary are among them.
        """
        tokens = [] if self._vocabulary is None else self._vocabulary.tokens
        return [*self._special, *tokens] if include_special_tokens else list(tokens)

    def vocabulary_size(self) -> int:
        """Return the number of indices, with those of masks and of other tokens."""
        return self._token_start + (
            0 if self._vocabulary is None else len(self._vocabulary)
        )

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take a vocabulary in place of the one there is.

        Args:
            vocabulary: an array or a list of tokens, with the special ones in front or
                without them; or the path of a text file of a token a line.
            idf_weights: with output_mode ``"tf_idf"``, a weight for each token.

        Raises:
            ValueError: for an empty vocabulary, one that is too large, tokens that are
                there twice or that are special, and for weights that do not fit.
        """
        where = f"Layer '{self.name}' ({type(self).__name__})"
        if (self.output_mode == "tf_idf") != (idf_weights is not None):
            raise ValueError(
                f"{where}: `idf_weights` must be given with output_mode='tf_idf', and "
                f"only then; output_mode is {self.output_mode!r}."
            )
        if isinstance(vocabulary, (str, os.PathLike)):
            tokens = self._read(vocabulary)
        else:
            tokens = self._tokens_of(vocabulary)
        if not tokens:
            raise ValueError(f"{where}: the vocabulary is empty.")
        special, start = self._special, self._token_start
        with_special = bool(special) and tokens[:start] == special
        own = tokens[start:] if with_special else tokens
        self._check_tokens(where, own, special)
        weights = None
        if idf_weights is not None:
            given = np.asarray(_floats(idf_weights), dtype="float64")
            if given.shape != (len(tokens),):
                raise ValueError(
                    f"{where}: `idf_weights` must be a number for each of the "
                    f"{len(tokens)} tokens, got {describe(idf_weights)}."
                )
            weights = given if with_special else self._with_others(given)
        self._take(own, weights)

    def _check_tokens(self, where: str, tokens: list[Any], special: list[Any]) -> None:
        if len(set(tokens)) != len(tokens):
            repeated = [t for t, n in Counter(tokens).items() if n > 1]
            raise ValueError(
                f"{where}: tokens are in the vocabulary more than once: "
                f"{describe(repeated)}."
            )
        reserved = [self.mask_token, self.oov_token if self.invert else None]
        for token in reserved:
            if token is not None and token in tokens:
                raise ValueError(
                    f"{where}: the special token {token!r} is at position "
                    f"{tokens.index(token)} of the vocabulary. Leave special tokens "
                    f"out, or begin with all of them: {special}."
                )
        size = self._token_start + len(tokens)
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                f"{where}: the vocabulary takes {size} indices, more than max_tokens="
                f"{self.max_tokens}."
            )

    def _with_others(self, weights: np.ndarray) -> np.ndarray:
        """Put weights for special tokens in front: nothing is known, so the mean."""
        front = np.full(self._token_start, weights.mean())
        return np.concatenate([front, weights])

    def _take(self, tokens: list[Any], idf_weights: np.ndarray | None) -> None:
        size = self._token_start + len(tokens)
        fixed = self.output_mode != "int" and not self.pad_to_max_tokens
        before = size if self._vocabulary is None else self.vocabulary_size()
        if fixed and self._nodes and size != before:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}) is part of a model that "
                f"counts on {before} tokens; the new vocabulary has {size}. Give "
                "`max_tokens` and `pad_to_max_tokens=True`, or make the model anew."
            )
        index = 0 if self.output_mode == "int" else self._depth_of(size)
        self._vocabulary = Vocabulary(tokens, self._token_start, self.mask_token, index)
        if idf_weights is not None:
            missing = (self.max_tokens or 0) - size if self.pad_to_max_tokens else 0
            padded = np.pad(idf_weights, (0, missing))
            values = torch.as_tensor(padded, dtype=DTYPES[config.floatx()])
            device = config.default_device()
            self.register_buffer("idf_weights", values.to(device), persistent=False)

    def _tokens_of(self, vocabulary: Any) -> list[Any]:
        """Return tokens in any form as a list of Python's objects."""
        raise NotImplementedError

    def _token_of_line(self, line: str) -> Any:
        raise NotImplementedError

    def _read(self, path: PathLike) -> list[Any]:
        """Return the tokens of a file that the user names: one a line."""
        where = f"Layer '{self.name}' ({type(self).__name__})"
        file = Path(path)
        if not file.is_file():
            raise ValueError(f"{where}: there is no vocabulary file '{file}'.")
        return self._tokens_of_file(file)

    def _tokens_of_file(self, file: Path) -> list[Any]:
        encoding = getattr(self, "encoding", "utf-8")
        where = f"Layer '{self.name}' ({type(self).__name__})"
        try:
            text = file.read_bytes().decode(encoding)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{where}: the vocabulary file '{file}' is no {encoding} text: {error}."
            ) from None
        lines = text.replace("\r\n", "\n").split("\n")
        while lines and not lines[-1]:
            lines.pop()
        try:
            return [self._token_of_line(line) for line in lines]
        except ValueError as error:
            raise ValueError(
                f"{where}: a line of the vocabulary file '{file}' is no token: {error}."
            ) from None

    # Learning it

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the vocabulary of data, the most frequent tokens first.

        Args:
            data: an array, a tensor or a list of tokens, or batches of them: a
                generator, a `DataLoader`, a `PyDataset`; of ``(x, y)`` the first is
                taken. A sample, or a batch of one axis, is a document.
            steps: how many batches to take at most.

        Raises:
            ValueError: for data without tokens, or where a vocabulary was given.
        """
        self.reset_state()
        for batch in batches_of(type(self).__name__, data, steps):
            self.update_state(self._documents(batch) if is_one_array(data) else batch)
        self.finalize_state()

    def _documents(self, data: Any) -> Any:
        """Return data in which each element of a vector is a document."""
        array = self._array(data)
        return array[:, None] if array.ndim == 1 else array

    def _array(self, data: Any) -> Any:
        """Return data as an array or a tensor."""
        raise NotImplementedError

    def update_state(self, data: Any) -> None:
        """Count the tokens of a batch."""
        self._check_adapts()
        array = self._array(data)
        array = array[None] if array.ndim < 2 else array
        tokens = self._flat(array)
        self.add_tokens(tokens, np.full(len(array), len(tokens) // max(len(array), 1)))

    def _flat(self, array: Any) -> list[Any]:
        raise NotImplementedError

    def add_tokens(self, tokens: Sequence[Any], lengths: np.ndarray) -> None:
        """Count tokens that lie document after document."""
        self._check_adapts()
        self._counts.add(tokens, lengths, self.output_mode == "tf_idf")

    def _check_adapts(self) -> None:
        if self._is_given:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}) was given its "
                "vocabulary, so `adapt` has nothing to learn."
            )

    def finalize_state(self) -> None:
        """Make a vocabulary of what was counted."""
        if self._is_given:
            return
        limit = None if self.max_tokens is None else self.max_tokens - self._token_start
        special = (self.mask_token, self.oov_token)
        tokens = self._counts.most_common(limit, self._as_counted(special))
        if not tokens:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): `adapt` got no tokens."
            )
        weights = None
        if self.output_mode == "tf_idf":
            weights = self._with_others(self._counts.idf(tokens))
        self._take(self._as_tokens(tokens), weights)
        self.reset_state()

    def _as_counted(self, tokens: Iterable[Any]) -> list[Any]:
        """Return tokens in the form in which they are counted."""
        kind = type(next(iter(self._counts.tokens), None))
        return [t.encode() if kind is bytes and t is not None else t for t in tokens]

    def _as_tokens(self, counted: list[Any]) -> list[Any]:
        return [t.decode() if isinstance(t, bytes) else t for t in counted]

    def reset_state(self) -> None:
        """Forget what was counted."""
        self._counts = TokenCounts()

    # Calling

    @property
    def depth(self) -> int | None:
        """The size of the last axis of encoded outputs, None while it is not known."""
        known = self._vocabulary is not None
        return self._depth_of(self.vocabulary_size() if known else self._size_to_come)

    def _depth_of(self, size: Any) -> Any:
        return self.max_tokens if self.pad_to_max_tokens else size

    @property
    def compute_dtype(self) -> str:
        """The dtype of the outputs."""
        return "int64" if self.output_mode == "int" else config.floatx()

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        if self.output_mode == "int":
            return tuple(input_shape)
        mode = "one_hot" if self.output_mode == "one_hot" else "count"
        return shape_of_encoded(input_shape, mode, self.depth)

    def known_vocabulary(self, owner: Layer | None = None) -> Vocabulary:
        """Return the vocabulary.

        Args:
            owner: the layer that looks words up in this one, for messages.

        Raises:
            ValueError: while there is none.
        """
        if self._vocabulary is None:
            named = owner or self
            raise ValueError(
                f"Layer '{named.name}' ({type(named).__name__}) has no vocabulary. "
                "Call `adapt(data)` or `set_vocabulary(tokens)` first."
            )
        return self._vocabulary

    @property
    def oov_index(self) -> int:
        """The index of what is not in the vocabulary, -1 where there is not one."""
        return self._oov_start if self.num_oov_indices == 1 else -1

    def encoded(self, indices: Tensor) -> Tensor:
        """Return outputs for indices, of which those of masks count for nothing."""
        if self.output_mode == "int":
            return indices
        depth: Any = self.depth
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        dtype = DTYPES[config.floatx()]
        # One more for masks, which is left out.
        outputs = encode(indices, mode, depth + 1, dtype)[..., :depth]
        if self.output_mode == "tf_idf":
            outputs = outputs * self.idf_weights.to(outputs.device)
        return outputs

    def _refuse_others(self, tokens: Any) -> None:
        raise ValueError(
            f"Layer '{self.name}' ({type(self).__name__}): inputs are not in the "
            f"vocabulary: {describe(tokens)}. With num_oov_indices=0 all must be; take "
            "num_oov_indices=1 for a place for others."
        )

    def buckets(self, tokens: Sequence[bytes]) -> np.ndarray:
        """Return indices of tokens that are not in the vocabulary, by their hash."""
        salt = self.salt
        hashes = fingerprint64(tokens) if salt is None else siphash64(tokens, salt)
        buckets = (hashes % np.uint64(self.num_oov_indices)).astype("int64")
        return buckets + self._oov_start

    # Config and files

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["vocabulary"] = self._given.vocabulary
        config["idf_weights"] = self._given.idf_weights
        config["oov_method"] = self.oov_method
        config["vocabulary_size"] = (
            None if self._vocabulary is None else self.vocabulary_size()
        )
        config["salt"] = self.salt
        if self._vocabulary is not None and self._goes_into_config():
            whole = None not in self._special
            config["vocabulary"] = self.get_vocabulary(whole)
            config["has_input_vocabulary"] = self._is_given
            if self.output_mode == "tf_idf":
                first, size = 0 if whole else self._token_start, self.vocabulary_size()
                config["idf_weights"] = self.idf_weights[first:size].tolist()
        else:
            config.pop("has_input_vocabulary", None)
        return config

    def _goes_into_config(self) -> bool:
        """Say whether a vocabulary that was learnt stands in the config.

        It does where files have no other place for it, or a file of lines none.
        """
        if self._given.vocabulary is not None:
            return False
        return context.configs_hold_assets or not self._fits_lines()

    def _fits_lines(self) -> bool:
        return True

    @classmethod
    def _from_arguments(cls, values: dict[str, Any]) -> Any:
        refuse_path(cls.__name__, values.get("vocabulary"))
        return super()._from_arguments(values)

    def named_variables(self) -> dict[str, Any]:
        """Return what Keras's files have of this layer beside its weights, by name."""
        if self.output_mode != "tf_idf" or self._vocabulary is None:
            return {}
        view = WeightView(self, ("idf_weights",), IDENTITY, "idf_weights")
        view.path = f"{self.name}/idf_weights"
        return {"idf_weights": view}

    def save_assets(self, dir_path: str) -> None:
        """Write the vocabulary into a folder, unless the config holds it."""
        elsewhere = self._given.vocabulary is not None or self._goes_into_config()
        if self._vocabulary is not None and not elsewhere:
            lines = "\n".join(map(str, self.get_vocabulary()))
            Path(dir_path, VOCABULARY_FILE).write_bytes(lines.encode())

    def load_assets(self, dir_path: str) -> None:
        """Take the vocabulary that stands in a folder, unless the config held one."""
        file = Path(dir_path, VOCABULARY_FILE)
        if self._given.vocabulary is None and file.is_file():
            tokens = self._tokens_of_file(file)
            # Their weights come after them.
            weights = np.zeros(len(tokens)) if self.output_mode == "tf_idf" else None
            self.set_vocabulary(tokens, weights)


def _floats(values: Any) -> list[float] | None:
    if values is None:
        return None
    values = values.detach().cpu() if isinstance(values, Tensor) else values
    return np.asarray(values).tolist()


@layers.register()
class StringLookup(IndexLookup):
    """Gives strings their index in a vocabulary, or the other way round.

    The vocabulary is given, or learnt from data by `adapt`. It runs on the host: before
    the model, in a loader's workers, or in a model whose `Input` has the dtype
    ``"string"``.

    Args:
        max_tokens: how many indices there are at most.
        num_oov_indices: how many indices stand for strings that are not in the
            vocabulary; of several one is chosen by hash, and with 0 such a string is
            an error.
        mask_token: a string that stands for padding: index 0, or none in rows.
        oov_token: the string that stands for all others, where `invert` gives one.
        vocabulary: the strings, or the path of a text file of one a line.
        idf_weights: for ``"tf_idf"``, a weight for each string of `vocabulary`.
        invert: whether indices are given their string.
        output_mode: ``"int"`` for indices; ``"one_hot"`` for a row of zeros and a one
            for each; for a row for each sample ``"multi_hot"``, ``"count"``, or
            ``"tf_idf"``, where counts are multiplied by how rare a string is.
        pad_to_max_tokens: whether rows have `max_tokens` places in any case.
        sparse: must be False.
        encoding: how bytes say characters.
        name: the name.
        salt: one or two integers: the hash is SipHash with this key, not FarmHash.

    Shape:
        Strings in lists or arrays of any shape; ``"int"`` gives the same shape,
        ``"one_hot"`` one more axis, others ``(batch, n)`` to ``(batch, indices)``.

    Raises:
        ValueError: for an unknown mode, or options that contradict each other.

    Example:
        >>> layer = StringLookup(vocabulary=["a", "b"])
        >>> layer(["b", "c", "a"])
        tensor([2, 0, 1])
        >>> StringLookup(vocabulary=["a", "b"], invert=True)([2, 0])
        array(['b', '[UNK]'], dtype=object)
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        oov_method = kwargs.pop("oov_method", "floormod")
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary,
            idf_weights, invert, output_mode, sparse, pad_to_max_tokens, oov_method,
            salt, name=name, **kwargs,
        )  # fmt: skip

    @property
    def compute_dtype(self) -> str:
        """The dtype of the outputs."""
        return STRING if self.invert else super().compute_dtype

    def _tokens_of(self, vocabulary: Any) -> list[str]:
        array = as_strings(vocabulary)
        if not is_strings(array) and len(array):
            expected = "strings, or the path of a file"
            raise ValueError(
                invalid_argument("StringLookup", "vocabulary", expected, vocabulary)
            )
        return list_of_text("StringLookup", np.asarray(array), self.encoding)

    def _token_of_line(self, line: str) -> str:
        return line

    def _fits_lines(self) -> bool:
        tokens = self.get_vocabulary()
        if any(token is None for token in self._special):
            return False
        return "\n".join(tokens).splitlines() == tokens

    def _array(self, data: Any) -> np.ndarray:
        array = as_strings(data)
        if not is_strings(array):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): expected strings, got "
                f"{describe(data)}."
            )
        return array

    def _flat(self, array: np.ndarray) -> list[str]:
        return list_of_text(f"Layer '{self.name}'", array, self.encoding)

    def compute(self, inputs: Any) -> Any:
        """Return indices, rows, or strings, of an array."""
        vocabulary = self.known_vocabulary()
        if self.invert:
            return self._strings_at(inputs)
        array = self._array(inputs)
        indices = self.indices_of(self._flat(array), vocabulary.indices)
        return self.encoded(torch.from_numpy(indices.reshape(array.shape)))

    def indices_of(self, tokens: Sequence[Any], table: dict[Any, int]) -> np.ndarray:
        """Return the indices of strings, or of bytes, by the table for them."""
        defaults = itertools.repeat(self.oov_index)
        found = np.fromiter(map(table.get, tokens, defaults), np.int64, len(tokens))
        others = np.flatnonzero(found < 0).tolist()
        if others:
            kept = [tokens[i] for i in others]
            if not self.num_oov_indices:
                self._refuse_others(kept)
            encoded = [t if isinstance(t, bytes) else t.encode() for t in kept]
            found[others] = self.buckets(encoded)
        return found

    def _strings_at(self, inputs: Any) -> np.ndarray:
        indices = as_tensor(inputs).detach().cpu().numpy()
        tokens = np.array([*self.get_vocabulary(), self.oov_token], dtype=object)
        inside = (indices >= 0) & (indices < len(tokens) - 1)
        return tokens[np.where(inside, indices, len(tokens) - 1)]


@layers.register()
class IntegerLookup(IndexLookup):
    """Gives integers their index in a vocabulary, or the other way round.

    The vocabulary is given, or learnt from data by `adapt`.

    Args:
        max_tokens: how many indices there are at most.
        num_oov_indices: how many indices stand for integers that are not in the
            vocabulary; of several one is chosen by remainder or hash, and with 0 such
            an integer is an error.
        mask_token: an integer that stands for padding: index 0, or none in rows.
        oov_token: the integer that stands for all others, where `invert` gives one.
        vocabulary: the integers, or the path of a text file of one a line.
        vocabulary_dtype: must be ``"int64"``.
        idf_weights: for ``"tf_idf"``, a weight for each integer of `vocabulary`.
        invert: whether indices are given their integer.
        output_mode: as for `StringLookup`.
        sparse: must be False.
        pad_to_max_tokens: whether rows have `max_tokens` places in any case.
        oov_method: how one of several indices for others is chosen: ``"floormod"`` or
            ``"farmhash"``.
        salt: one or two integers: the hash is SipHash with this key, not FarmHash.
        name: the name.

    Shape:
        As for `StringLookup`.

    Raises:
        ValueError: for an unknown mode, or options that contradict each other.

    Example:
        >>> layer = IntegerLookup(vocabulary=[12, 36], output_mode="count")
        >>> layer([[12, 12, 36], [7, 36, 36]])
        tensor([[0., 2., 1.],
                [1., 0., 2.]])
    """

    takes_strings = False
    computes_on_host = False
    index_dtypes = (torch.int64, torch.int32)

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        one_of("IntegerLookup", "vocabulary_dtype", vocabulary_dtype, ("int64",))
        if invert and oov_token is None:
            raise ValueError("IntegerLookup: `invert=True` needs an `oov_token`.")
        if salt is not None and oov_method != "farmhash":
            raise ValueError(
                "IntegerLookup: `salt` needs oov_method='farmhash', got "
                f"{oov_method!r}."
            )
        super().__init__(
            max_tokens, num_oov_indices, mask_token, oov_token, vocabulary,
            idf_weights, invert, output_mode, sparse, pad_to_max_tokens, oov_method,
            salt, name=name, **kwargs,
        )  # fmt: skip
        self.vocabulary_dtype = vocabulary_dtype

    def _tokens_of(self, vocabulary: Any) -> list[int]:
        array = np.asarray(as_tensor(vocabulary).detach().cpu())
        if array.dtype.kind not in "iu" and array.size:
            expected = "integers, or the path of a file"
            raise ValueError(
                invalid_argument("IntegerLookup", "vocabulary", expected, vocabulary)
            )
        return array.ravel().tolist()

    def _token_of_line(self, line: str) -> int:
        return int(line)

    def _fits_lines(self) -> bool:
        return not any(token is None for token in self._special)

    def _take(self, tokens: list[int], idf_weights: np.ndarray | None) -> None:
        super()._take(tokens, idf_weights)
        keys = torch.tensor(tokens, dtype=torch.int64)
        keys, order = keys.sort()
        tables = {"_keys": keys, "_order": order + self._token_start}
        if self.invert:
            numbers = [*self.get_vocabulary(), self.oov_token]
            tables["_numbers"] = torch.tensor(numbers, dtype=torch.int64)
        for name, tensor in tables.items():
            table = tensor.to(config.default_device())
            self.register_buffer(name, table, persistent=False)

    def _array(self, data: Any) -> Tensor:
        if is_strings(as_strings(data)):
            raise ValueError(
                f"Layer '{self.name}' (IntegerLookup): expected integers, got strings. "
                "Take `StringLookup`."
            )
        return as_tensor(data)

    def _flat(self, array: Tensor) -> list[int]:
        return array.detach().long().flatten().tolist()

    def call(self, inputs: Tensor) -> Tensor:
        if context.probes:
            return self._stand_in(inputs)
        self.known_vocabulary()
        inputs = inputs.long()
        return self._integers_at(inputs) if self.invert else self._indices_of(inputs)

    def _indices_of(self, inputs: Tensor) -> Tensor:
        last = len(self._keys) - 1
        places = torch.searchsorted(self._keys, inputs).clamp(max=last)
        known = self._keys[places] == inputs
        indices = torch.where(known, self._order[places], self._others(inputs, known))
        if self.mask_token is not None:
            is_mask = inputs == self.mask_token
            index = 0 if self.output_mode == "int" else self.depth
            indices = torch.where(is_mask, index, indices)  # type: ignore[arg-type]
            known = known | is_mask
        looks = not (self.num_oov_indices or torch.compiler.is_compiling())
        if looks and not bool(known.all()):
            self._refuse_others(inputs[~known].tolist())
        return self.encoded(indices)

    def _others(self, inputs: Tensor, known: Tensor) -> Any:
        """Return the indices of integers that are not in the vocabulary."""
        if self.num_oov_indices < 2:
            return torch.full_like(inputs, self.oov_index)
        if self.oov_method == "floormod":
            return inputs.remainder(self.num_oov_indices) + self._oov_start
        digits = inputs.detach().cpu().flatten().numpy().astype("S").tolist()
        buckets = torch.from_numpy(self.buckets(digits)).to(inputs.device)
        return buckets.reshape(inputs.shape)

    def _choose_path_with(self, inner: list[LayerState]) -> None:
        Layer._choose_path_with(self, inner)  # it computes where the inputs are

    def _integers_at(self, inputs: Tensor) -> Tensor:
        last = len(self._numbers) - 1  # that of what no index has
        inside = (inputs >= 0) & (inputs < last)
        return self._numbers[torch.where(inside, inputs, last)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vocabulary_dtype": "int64"}
