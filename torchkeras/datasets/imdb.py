"""IMDB: reviews of films, good or bad."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchkeras.datasets._files import fetch
from torchkeras.datasets._plain_pickle import read_npz
from torchkeras.datasets._words import WordLimits, load_word_index

Arrays = tuple[NDArray[Any], NDArray[Any]]

_OWNER = "imdb.load_data"
_SHA256 = "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
_INDEX_MD5 = "bfafd718b763782e994055a2d397834f"


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
    **kwargs: Any,
) -> tuple[Arrays, Arrays]:
    """Load IMDB reviews, downloading them to ``~/.keras/datasets`` the first time.

    25,000 reviews to train with and 25,000 to test with, each a list of the ranks of
    its words, 1 for the most frequent one, shifted by `index_from`; 0 is free for
    padding. See A. Maas et al., `Learning Word Vectors for Sentiment Analysis
    <https://ai.stanford.edu/~amaas/data/sentiment/>`_ (2011).

    Args:
        path: the name of the file in ``~/.keras/datasets``.
        num_words: keep the words whose shifted rank is below this.
        skip_top: leave out words whose shifted rank is below this.
        maxlen: leave out reviews that are not shorter than this.
        seed: the seed of the order of reviews.
        start_char: what each review begins with, None for nothing.
        oov_char: what stands for a word left out, None for nothing.
        index_from: what is added to each rank.
        **kwargs: not taken.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: arrays of lists of integers, and of
        1 for a good review, 0 for a bad one.

    Shape:
        All ``(25000,)`` by default.

    Raises:
        ValueError: when no review is short enough.
        OSError: when the file is neither in the cache nor to be had.
        UnsafeFileError: when the file holds more than data.
        CorruptFileError: when the file is damaged.
    """
    if kwargs:
        raise TypeError(f"{_OWNER} got unexpected arguments {sorted(kwargs)}.")
    limits = WordLimits(
        _OWNER, num_words, skip_top, maxlen, start_char, oov_char, index_from
    )
    file = fetch(path, "imdb.npz", _SHA256)
    x_train, y_train, x_test, y_test = read_npz(
        file, ("x_train", "y_train", "x_test", "y_test")
    )
    random = np.random.RandomState(seed)  # it orders one part after the other
    train, y_train = limits.shift(*_in_order(x_train, y_train, random))
    test, y_test = limits.shift(*_in_order(x_test, y_test, random))
    texts = limits.keep_words(train + test)
    cut = len(train)
    return (texts[:cut], np.array(y_train)), (texts[cut:], np.array(y_test))


def _in_order(x: Any, y: Any, random: np.random.RandomState) -> Arrays:
    order = np.arange(len(x))
    random.shuffle(order)
    return x[order], y[order]


def get_word_index(path: str = "imdb_word_index.json") -> dict[str, int]:
    """Return the rank of each word; add `index_from` to find it in the reviews.

    Args:
        path: the name of the file in ``~/.keras/datasets``.

    Raises:
        OSError: when the file is neither in the cache nor to be had.
        CorruptFileError: when the file is damaged.
    """
    return load_word_index(path, "imdb_word_index.json", _INDEX_MD5)
