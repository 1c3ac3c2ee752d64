"""Reuters: short news on 46 topics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchkeras._core.errors import number_in
from torchkeras.datasets._files import fetch
from torchkeras.datasets._plain_pickle import read_npz
from torchkeras.datasets._tables import shuffled
from torchkeras.datasets._words import WordLimits, load_word_index

Arrays = tuple[NDArray[Any], NDArray[Any]]

_OWNER = "reuters.load_data"
_SHA256 = "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"
_INDEX_MD5 = "4d44cc38712099c9e383dc6e5f11a921"
_LABELS = """
cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade
reserves ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum
oilseed gold tin strategic-metal livestock retail ipi iron-steel rubber heat jobs lei
bop zinc orange pet-chem dlr gas silver wpi hog lead
"""


def load_data(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
) -> tuple[Arrays, Arrays]:
    """Load Reuters news, downloading them to ``~/.keras/datasets`` the first time.

    11,228 news of 1987, each a list of the ranks of its words, 1 for the most frequent
    one, shifted by `index_from`; 0 is free for padding. `get_label_names` has the
    topics. Made of Reuters-21578, as Keras did.

    Args:
        path: the name of the file in ``~/.keras/datasets``.
        num_words: keep the words whose shifted rank is below this.
        skip_top: leave out words whose shifted rank is below this.
        maxlen: leave out news that are not shorter than this.
        test_split: the share of the news to test with, from 0 to 1.
        seed: the seed of the order of news before they are split.
        start_char: what each one begins with, None for nothing.
        oov_char: what stands for a word left out, None for nothing.
        index_from: what is added to each rank.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: arrays of lists of integers, and of
        topics from 0 to 45.

    Shape:
        ``x_train`` and ``y_train`` (8982,), ``x_test`` and ``y_test`` (2246,), by
        default.

    Raises:
        ValueError: when no text is short enough, or for a `test_split` out of range.
        OSError: when the file is neither in the cache nor to be had.
        UnsafeFileError: when the file holds more than data.
        CorruptFileError: when the file is damaged.
    """
    number_in(_OWNER, "test_split", test_split, 0, 1)
    limits = WordLimits(
        _OWNER, num_words, skip_top, maxlen, start_char, oov_char, index_from
    )
    file = fetch(path, "reuters.npz", _SHA256)
    x, y = read_npz(file, ("x", "y"))
    order = shuffled(len(x), seed)
    texts, labels = limits.shift(x[order], y[order])
    cut = int(len(texts) * (1 - test_split))
    x, y = limits.keep_words(texts), np.array(labels)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def get_word_index(path: str = "reuters_word_index.json") -> dict[str, int]:
    """Return the rank of each word; add `index_from` to find it in the news.

    Args:
        path: the name of the file in ``~/.keras/datasets``.

    Raises:
        OSError: when the file is neither in the cache nor to be had.
        CorruptFileError: when the file is damaged.
    """
    return load_word_index(path, "reuters_word_index.json", _INDEX_MD5)


def get_label_names() -> tuple[str, ...]:
    """Return the names of the topics, in the order of the labels.

    Example:
        >>> get_label_names()[3], len(get_label_names())
        ('earn', 46)
    """
    return tuple(_LABELS.split())
