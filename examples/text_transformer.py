"""Tell whose documentation a sentence is from, with a transformer by subclassing.

The text is real and always at hand: the docstrings of Python, NumPy and PyTorch, cut
into sentences, without the words that name a library.

Run: ``python examples/text_transformer.py``.
"""

import argparse
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from torchkeras import Model, layers, ops
from torchkeras.utils import set_random_seed

MODULES = {
    "Python": """argparse ast asyncio calendar codecs collections concurrent.futures
        configparser contextlib csv datetime decimal difflib email.message enum
        fractions ftplib functools gettext gzip heapq html.parser http.client
        http.cookies http.server imaplib inspect io ipaddress itertools json locale
        logging logging.handlers mailbox math mmap multiprocessing.pool os os.path
        pathlib pdb platform plistlib pprint pstats queue random re
        sched secrets select selectors shelve shlex shutil signal smtplib socket
        socketserver sqlite3 ssl statistics string struct subprocess sys tarfile
        tempfile textwrap threading timeit traceback types unittest
        unittest.mock urllib.parse urllib.request urllib.robotparser uuid warnings
        wave weakref xml.dom.minidom xml.etree.ElementTree xmlrpc.client zipfile""",
    "NumPy": """numpy numpy.fft numpy.lib.stride_tricks numpy.linalg numpy.ma
        numpy.polynomial numpy.random numpy.strings numpy.testing""",
    "PyTorch": """torch torch.autograd torch.cuda torch.distributions torch.fft torch.fx
        torch.jit torch.linalg torch.nn torch.nn.functional torch.nn.init torch.nn.utils
        torch.optim torch.optim.lr_scheduler torch.profiler torch.sparse torch.special
        torch.utils.data""",
}
GIVEAWAYS = set("aten builtin ndarray np numpy py python pytorch tensor torch".split())
VOCABULARY, LENGTH = 4000, 32  # in words; 0 pads, 1 is a word too rare to be known


def docstrings(module_name: str) -> Iterator[str]:
    """Yield the docstrings of a module's public functions, classes and methods."""
    module = importlib.import_module(module_name)
    for name in sorted(set(dir(module)) - set(vars(object))):
        member = getattr(module, name)
        if name.startswith("_") or not callable(member):
            continue
        methods = vars(member).values() if inspect.isclass(member) else ()
        for described in (member, *filter(callable, methods)):
            yield inspect.getdoc(described) or ""


def sentences(library: str) -> list[list[str]]:
    """Return the different sentences of one library, as words, in a fixed order."""
    found = set()
    for module in MODULES[library].split():
        for text in docstrings(module):
            for sentence in re.split(r"\n\n|[.!?:]\s", text):
                words = re.findall(r"[a-z]{2,}", sentence.lower())
                if 8 <= len(words) <= LENGTH and ">>>" not in sentence:
                    found.add(tuple(w for w in words if w.rstrip("s") not in GIVEAWAYS))
    return [list(words) for words in sorted(found)]


def load_sentences():
    """Return word indices and labels of as many sentences of each library."""
    texts = [sentences(library) for library in MODULES]
    count = min(map(len, texts))
    order = np.random.default_rng(0)
    chosen = [
        (text[i], label)
        for label, text in enumerate(texts)
        for i in order.permutation(len(text))[:count]
    ]
    order.shuffle(chosen)
    train, test = chosen[: len(chosen) * 4 // 5], chosen[len(chosen) * 4 // 5 :]

    words = Counter(word for sentence, _ in train for word in sentence)
    known = {w: i for i, (w, _) in enumerate(words.most_common(VOCABULARY - 2), 2)}

    def arrays(pairs):
        x = np.zeros((len(pairs), LENGTH), "int32")
        for row, (sentence, _) in zip(x, pairs, strict=True):
            row[: len(sentence)] = [known.get(word, 1) for word in sentence]
        return x, np.array([label for _, label in pairs])

    return arrays(train), arrays(test)


class TokenAndPositionEmbedding(layers.Layer):
    """A vector of each word plus one of its place; word 0 is masked."""

    def __init__(self, length: int, vocabulary: int, size: int, **kwargs):
        super().__init__(**kwargs)
        self.words = layers.Embedding(vocabulary, size, mask_zero=True)
        self.places = layers.Embedding(length, size)

    def compute_mask(self, inputs, mask=None):
        return self.words.compute_mask(inputs)

    def call(self, inputs):
        return self.words(inputs) + self.places(ops.arange(ops.shape(inputs)[1]))


class TransformerBlock(layers.Layer):
    """Attention among the words, then two dense layers, each with a residual."""

    def __init__(self, heads: int, size: int, hidden: int, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.attention = layers.MultiHeadAttention(heads, size // heads, dropout=rate)
        self.dense = [layers.Dense(hidden, activation="gelu"), layers.Dense(size)]
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.dropout = layers.Dropout(rate)

    def call(self, inputs, training=None):
        attended = self.attention(inputs, inputs, training=training)
        x = self.norms[0](inputs + self.dropout(attended, training=training))
        transformed = self.dense[1](self.dense[0](x))
        return self.norms[1](x + self.dropout(transformed, training=training))


class Classifier(Model):
    """Embedding, transformer blocks, the mean over the words, and the classes."""

    def __init__(self, classes: int, blocks: int = 1, size: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.embedding = TokenAndPositionEmbedding(LENGTH, VOCABULARY, size)
        self.blocks = [
            TransformerBlock(heads=2, size=size, hidden=2 * size, rate=0.1)
            for _ in range(blocks)
        ]
        self.pooling = layers.GlobalAveragePooling1D()
        self.dropout = layers.Dropout(0.3)
        self.outputs = layers.Dense(classes, activation="softmax")

    def call(self, inputs, training=None):
        x = self.embedding(inputs)
        for block in self.blocks:
            x = block(x, training=training)
        return self.outputs(self.dropout(self.pooling(x), training=training))


def main(epochs: int = 3) -> float:
    """Train the classifier and return its accuracy on unseen sentences."""
    set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = load_sentences()
    model = Classifier(classes=len(MODULES))
    model.build((None, LENGTH))
    model.summary()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=64, epochs=epochs, validation_split=0.1)
    loss, accuracy = model.evaluate(x_test, y_test)
    print(f"Test loss: {loss:.4f}, test accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    main(parser.parse_args().epochs)
