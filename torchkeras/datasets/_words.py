"""What IMDB and Reuters have in common: texts as the ranks of their words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchkeras._core.errors import CorruptFileError
from torchkeras.datasets._files import fetch

Texts = list[list[int]]


@dataclass(frozen=True)
class WordLimits:
    """Which words, and which texts, are kept.

    Args:
        owner: the name of the function, for messages.
        num_words: keep the ranks below this one; all but the last by default.
        skip_top: leave out the words of the lowest ranks.
        maxlen: keep the texts that are shorter than this.
        start_char: what each text begins with, if anything.
        oov_char: what stands for a word left out; nothing if None.
        index_from: what is added to each rank.
    """

    owner: str
    num_words: int | None
    skip_top: int
    maxlen: int | None
    start_char: int | None
    oov_char: int | None
    index_from: int | None

    def shift(
        self, texts: Iterable[Sequence[int]], labels: Iterable[Any]
    ) -> tuple[Texts, list[Any]]:
        """Return texts in shifted ranks, without those that are too long."""
        start = [] if self.start_char is None else [self.start_char]
        by = self.index_from or 0
        shifted = [start + [rank + by for rank in text] for text in texts]
        if not self.maxlen:
            return shifted, list(labels)
        pairs = zip(shifted, labels, strict=True)
        kept = [pair for pair in pairs if len(pair[0]) < self.maxlen]
        if not kept:
            raise ValueError(
                f"{self.owner}: no text is shorter than `maxlen`, {self.maxlen}. "
                "Increase it."
            )
        return [text for text, _ in kept], [label for _, label in kept]

    def keep_words(self, texts: Texts) -> NDArray[Any]:
        """Return texts with the words that are kept, as an array of lists."""
        # Keras's end is the last rank that occurs, which is then left out itself.
        end = self.num_words or max(max(text, default=0) for text in texts)
        first, oov = self.skip_top, self.oov_char
        array = np.empty(len(texts), object)
        for index, text in enumerate(texts):
            if oov is None:
                array[index] = [rank for rank in text if first <= rank < end]
            else:
                array[index] = [r if first <= r < end else oov for r in text]
        return array


def load_word_index(name: str, origin: str, md5: str) -> dict[str, int]:
    """Return the rank of each word.

    Raises:
        CorruptFileError: when the file holds anything else.
    """
    path = fetch(name, origin, md5)
    try:
        index = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        index, fault = None, str(error)
    else:
        fault = f"got a {type(index).__name__}"
    if not isinstance(index, dict):
        raise CorruptFileError(
            f"{path}: expected the ranks of words as JSON; {fault}. Delete it to "
            "download it again."
        )
    return index
