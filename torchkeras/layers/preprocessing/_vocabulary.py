"""Vocabularies: counted, indexed, given; and never read because a config says so."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from torchkeras._core.errors import UnsafeFileError


class TokenCounts:
    """How often each token came, and in how many documents."""

    def __init__(self) -> None:
        self.tokens: Counter[Any] = Counter()
        self.in_documents: Counter[Any] = Counter()
        self.documents = 0

    def add(
        self, tokens: Sequence[Any], lengths: np.ndarray, by_document: bool
    ) -> None:
        """Count tokens, which lie document after document.

        Args:
            tokens: the tokens.
            lengths: how many of them each document has.
            by_document: whether documents are counted too.
        """
        self.tokens.update(tokens)
        if not by_document:
            return
        self.documents += len(lengths)
        numbers: dict[Any, int] = {}
        for token in tokens:
            numbers.setdefault(token, len(numbers))
        ids = np.fromiter(map(numbers.__getitem__, tokens), np.int64, len(tokens))
        rows = np.repeat(np.arange(len(lengths)), lengths)
        once = np.unique(rows * max(len(numbers), 1) + ids) % max(len(numbers), 1)
        found = np.bincount(once, minlength=len(numbers)).tolist()
        self.in_documents.update(dict(zip(numbers, found, strict=True)))

    def most_common(self, limit: int | None, without: Iterable[Any]) -> list[Any]:
        """Return the tokens, the most frequent first, of equal ones the greatest."""
        left_out = set(without)
        pairs = [(n, t) for t, n in self.tokens.items() if t not in left_out]
        return [token for _, token in sorted(pairs, reverse=True)[:limit]]

    def idf(self, tokens: Sequence[Any]) -> np.ndarray:
        """Return the logarithm of how rare each token is among the documents."""
        inside = np.array([self.in_documents[token] for token in tokens], "float64")
        return np.log(1 + self.documents / (1 + inside))


class Vocabulary:
    """The tokens of a lookup, without the special ones.

    Args:
        tokens: the tokens, in the order of their indices.
        start: the index of the first.
        mask_token: what stands for padding, None for nothing.
        mask_index: its index.
    """

    def __init__(
        self, tokens: list[Any], start: int, mask_token: Any, mask_index: int
    ) -> None:
        self.tokens = tokens
        self.indices = dict(zip(tokens, itertools.count(start), strict=False))
        if mask_token is not None:
            self.indices[mask_token] = mask_index
        self._of_bytes: dict[bytes, int] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def indices_of_bytes(self) -> dict[bytes, int]:
        """The same for tokens in UTF-8."""
        if self._of_bytes is None:
            self._of_bytes = {t.encode(): i for t, i in self.indices.items()}
        return self._of_bytes


class Given:
    """A vocabulary and its weights as they were given, which configs hold.

    Not attributes of the layer: torch would look for modules in such long lists.
    """

    def __init__(self, vocabulary: Any = None, idf_weights: Any = None) -> None:
        self.vocabulary, self.idf_weights = vocabulary, idf_weights


def refuse_path(owner: str, vocabulary: Any) -> None:
    """Refuse a vocabulary of a config that is the path of a file, or an address.

    Raises:
        UnsafeFileError: when it is a string.
    """
    if isinstance(vocabulary, (str, bytes, os.PathLike)):
        raise UnsafeFileError(
            f"{owner}: its config names the vocabulary file {vocabulary!r}. A config "
            "never makes a layer read a file. Make the layer in Python, and call "
            "`set_vocabulary(path)`."
        )
