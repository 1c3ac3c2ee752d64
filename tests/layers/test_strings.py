"""Layers that turn strings and integers into indices: values, data, refusals.

Keras's own need tensorflow: the values here are those of its documentation and tests,
and of the hashes' published test vectors.
"""

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from torchkeras import config, layers, models, ops
from torchkeras._core.strings import Strings
from torchkeras.layers.preprocessing._hashes import fingerprint64, siphash64

UNEVEN = "have different lengths"


def lookup(*tokens, **kwargs):
    """Return a lookup of strings."""
    return layers.StringLookup(vocabulary=list(tokens), **kwargs)


def batches(samples: Any, size):
    """Return a loader of samples."""
    return DataLoader(samples, batch_size=size)


def equal(outputs, expected):
    """Compare a tensor with nested lists."""
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)


# Hashes

#: SipHash-2-4 of the bytes 0, 1, ..., n - 1 under the key 0, 1, ..., 15.
SIPHASH = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    7: 0xAB0200F58B01D137,
    8: 0x93F5F5799A932462,
    9: 0x9E0082DF0BA9E4B0,
    15: 0xA129CA6149BE45E5,
}
#: FarmHash's `Fingerprint64` of the letters a, b, ..., over and over.
FARMHASH = {
    0: 0x9AE16A3B2F90404F,
    1: 0xB3454265B6DF75E3,
    3: 0x24A5B3A074E7F369,
    4: 0x1A5502DE4A1F8101,
    7: 0x3C40C92B1CCB7355,
    8: 0xFEE9D22990C82909,
    16: 0x54630BAD7705CEBD,
    17: 0x9E2106C72D7793A8,
    32: 0xFF96B8A54087359A,
    33: 0x1BD257E2FC3DA812,
    64: 0x9C4A595C23BB9BFA,
    65: 0x2434D8917886FE2A,
    128: 0xC3244D5EC8A4474A,
    129: 0x9B1CA0571B8CEFD4,
    300: 0x93480430F4019A90,
}


def letters(length):
    """Return so many letters."""
    return bytes(97 + i % 26 for i in range(length))


def test_siphash():
    strings = [bytes(range(n)) for n in SIPHASH]
    hashes = siphash64(strings, (0x0706050403020100, 0x0F0E0D0C0B0A0908))
    assert hashes.tolist() == list(SIPHASH.values())


def test_farmhash():
    hashes = fingerprint64([letters(n) for n in FARMHASH])
    assert hashes.tolist() == list(FARMHASH.values())


@pytest.mark.parametrize(
    ("kwargs", "inputs", "expected"),
    [
        ({"num_bins": 3}, "ABCDE", [1, 0, 1, 1, 2]),
        ({"num_bins": 3, "salt": [133, 137]}, "ABCDE", [1, 2, 1, 0, 2]),
        ({"num_bins": 3, "salt": 133}, "ABCDE", [0, 0, 2, 1, 0]),
        ({"num_bins": 3, "mask_value": ""}, ["A", "B", "", "C", "D"], [1, 1, 0, 2, 2]),
        ({"num_bins": 1, "mask_value": ""}, ["A", ""], [0, 0]),
        ({"num_bins": 3}, range(5), [1, 0, 1, 0, 2]),
        ({"num_bins": 3, "salt": [133, 137]}, range(5), [1, 1, 2, 0, 1]),
        ({"num_bins": 3}, [0.9, 1.2, 2.5], [1, 0, 1]),
        ({"num_bins": 2}, ["omar", "stringer", "marlo", "wire"], [0, 0, 1, 0]),
    ],
)
def test_hashing(kwargs, inputs, expected):
    outputs = layers.Hashing(**kwargs)([[value] for value in inputs])
    assert outputs.dtype == torch.int64
    assert outputs.flatten().tolist() == expected


def test_hashed_crossing():
    features = np.array(list("ABABA")), np.array([101, 101, 101, 102, 102])
    layer = layers.HashedCrossing(num_bins=5)
    assert layer(features).tolist() == [1, 4, 1, 1, 3]
    rows = layers.HashedCrossing(num_bins=5, output_mode="one_hot")(features)
    equal(rows, np.eye(5)[[1, 4, 1, 1, 3]])
    columns = [feature[:, None] for feature in features]
    assert layer(columns).tolist() == [[1], [4], [1], [1], [3]]
    assert layer([np.array("A"), np.array(101)]).tolist() == 1
    symbols = [layers.Input((1,), dtype=kind) for kind in ("string", "int64")]
    model = models.Model(symbols, layer(symbols))
    assert model(columns).tolist() == [[1], [4], [1], [1], [3]]


# Lookups


def test_what_a_lookup_learns():
    layer = layers.StringLookup()
    layer.adapt([["a", "c", "d"], ["d", "z", "b"]])
    assert layer.get_vocabulary() == ["[UNK]", "d", "z", "c", "b", "a"]
    assert layer.get_vocabulary(include_special_tokens=False)[0] == "d"
    equal(layer([["a", "c", "x"]]), [[5, 3, 0]])
    numbers = layers.IntegerLookup(max_tokens=3, mask_token=0)
    numbers.adapt(np.array([[0, 12, 12], [42, 42, 7]]))
    assert numbers.get_vocabulary() == [0, -1, 42]
    equal(numbers(np.array([[42, 12, 0]])), [[2, 1, 0]])


WORDS = ["one two", "two", "two three", "three"]


@pytest.mark.parametrize(
    "kind", ["array", "list", "bytes", "dtype", "batches", "loader"]
)
def test_what_text_is_adapted_to(kind):
    data = {
        "array": np.array(WORDS),
        "list": WORDS,
        "bytes": np.array(WORDS, dtype="S"),
        "dtype": np.array(WORDS, dtype=np.dtypes.StringDType()),
        "batches": (WORDS[i : i + 2] for i in (0, 2)),
        "loader": batches([(text, 1) for text in WORDS], 3),
    }[kind]
    layer = layers.TextVectorization()
    layer.adapt(data)
    assert layer.get_vocabulary() == ["", "[UNK]", "two", "three", "one"]


def test_steps_end_texts_without_end():
    def endless():
        while True:
            yield ["a b", "a"]

    layer = layers.TextVectorization()
    layer.adapt(endless(), steps=2)
    assert layer.vocabulary_size() == 4


TF_IDF = np.log([1 + 3 / 2, 1 + 3 / 3])


def test_how_rare_a_word_is():
    layer = layers.TextVectorization(output_mode="tf_idf")
    layer.adapt(["a b b", "b", "c c"])
    assert layer.get_vocabulary() == ["[UNK]", "b", "c", "a"]
    of_b, of_c, of_a = (np.log(1 + 3 / (1 + n)) for n in (2, 1, 1))
    mean = (of_a + of_b + of_c) / 3
    equal(layer(["b b c", "x"]), [[0, 2 * of_b, of_c, 0], [mean, 0, 0, 0]])
    given = layers.StringLookup(
        vocabulary=["a", "b"], idf_weights=[0.25, 0.75], output_mode="tf_idf",
        max_tokens=5, pad_to_max_tokens=True,
    )  # fmt: skip
    equal(given([["a", "a", "z"]]), [[0.5, 0.5, 0, 0, 0]])
    whole = layers.IntegerLookup(
        vocabulary=[-1, 12, 36], idf_weights=[0.9, 0.25, 0.75], output_mode="tf_idf"
    )
    equal(whole([[12, 12, 7]]), [[0.9, 0.5, 0]])


@pytest.mark.parametrize("make", [lookup, None])
def test_modes_of_lookups(make):
    tokens = list("abcd") if make else [12, 36, 1138, 42]
    other, mask = ("z", "m") if make else (7, 0)

    def of(**kwargs):
        kind = layers.StringLookup if make else layers.IntegerLookup
        return kind(vocabulary=tokens, **kwargs)

    a, b, c, d = tokens
    x = [[a, c, d, d], [d, other, b, other]]
    equal(of()(x), [[1, 3, 4, 4], [4, 0, 2, 0]])
    equal(of(mask_token=mask)([a, mask, other]), [2, 0, 1])
    equal(of(output_mode="count")(x), [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]])
    equal(of(output_mode="binary")(x), [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]])
    rows = of(output_mode="one_hot", mask_token=mask)([a, mask, other])
    equal(rows, [[0, 1, 0, 0, 0], [0] * 5, [1, 0, 0, 0, 0]])
    padded = of(output_mode="multi_hot", max_tokens=7, pad_to_max_tokens=True)
    equal(padded([[a]]), [[0, 1, 0, 0, 0, 0, 0]])
    back = of(invert=True)
    assert back([1, 4, 9]).tolist() == [a, d, "[UNK]" if make else -1]
    assert back([[0, 2]]).tolist() == [["[UNK]" if make else -1, b]]
    with pytest.raises(ValueError, match=r"inputs are not in the vocabulary: .*7|z"):
        of(num_oov_indices=0)([other])


def test_several_indices_for_others():
    layer = layers.IntegerLookup(vocabulary=[12, 36, 1138, 42], num_oov_indices=2)
    equal(layer(np.array([[12, 1138, 42], [37, 1000, 36]])), [[2, 4, 5], [1, 0, 3]])
    hashed = layers.IntegerLookup(
        vocabulary=[10], num_oov_indices=4, oov_method="farmhash"
    )
    equal(hashed(np.array([100, 300, 700, 1100, 1700, 2000])), [3, 3, 2, 2, 0, 1])
    strings = lookup("x", num_oov_indices=3)
    equal(strings(list("ABCDEx")), [1, 0, 1, 1, 2, 3])
    salted = lookup("x", num_oov_indices=3, salt=[133, 137])
    equal(salted(list("ABCDEx")), [1, 2, 1, 0, 2, 3])


def test_vocabularies_of_files(tmp_path):
    file = tmp_path / "words.txt"
    file.write_bytes("b\r\nä\n\nc\n".encode())
    layer = layers.StringLookup(vocabulary=file, mask_token=None)
    assert layer.get_vocabulary() == ["[UNK]", "b", "ä", "", "c"]
    assert layer.get_config()["vocabulary"] is None
    file.write_text("3\n5\n")
    equal(layers.IntegerLookup(vocabulary=str(file))([5, 3, 0]), [2, 1, 0])
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"words.txt' is no utf-8 text"):
        layers.StringLookup().set_vocabulary(file)
    file.write_text("3\nfive")
    with pytest.raises(ValueError, match=r"words.txt' is no token.*five"):
        layers.IntegerLookup().set_vocabulary(file)
    with pytest.raises(ValueError, match=r"there is no vocabulary file 'missing.txt'"):
        layers.TextVectorization(vocabulary="missing.txt")


# Text


@pytest.mark.parametrize(
    ("kwargs", "texts", "words"),
    [
        ({}, ["A cat!"], ["a", "cat"]),
        ({"standardize": "lower"}, ["A cat!"], ["a", "cat!"]),
        ({"standardize": "strip_punctuation"}, ["A 'cat'!"], ["A", "cat"]),
        ({"standardize": None}, [" A\tcat!\n\u2003x"], ["A", "cat!", "\u2003x"]),
        ({}, ["ÀÉ x"], ["ÀÉ", "x"]),
        ({"split": "character"}, ["aÉ b"], ["a", "É", " ", "b"]),
        ({"split": None}, ["A cat!"], ["a cat"]),
        ({"split": lambda x: np.char.split(x, ">")}, ["A>b c"], ["ab c"]),
        (
            {"split": lambda x: np.char.split(x, ">"), "standardize": None},
            ["A>b c"],
            ["A", "b c"],
        ),
        ({"standardize": np.char.upper}, ["a cat!"], ["A", "CAT!"]),
        ({"ngrams": 2}, ["a b c"], ["a", "b", "c", "a b", "b c"]),
        ({"ngrams": (3, 1)}, ["a b c"], ["a b c", "a", "b", "c"]),
        ({"ngrams": (2,), "split": "character"}, ["abc"], ["a b", "b c"]),
        ({"ngrams": (2,), "split": None}, [["x", "y z"]], ["x y z"]),
    ],
)
def test_how_text_is_cut_into_words(kwargs, texts, words):
    own = list(dict.fromkeys(words))
    layer = layers.TextVectorization(vocabulary=own, **kwargs)
    expected = [own.index(word) + 2 for word in words]
    outputs = layer(
        [*texts, *(["other"] if isinstance(texts[0], str) else [["?", "?"]])]
    )
    assert outputs.reshape(2, -1)[0, : len(words)].tolist() == expected


def test_rows_of_ngrams_stay_apart():
    layer = layers.TextVectorization(vocabulary=["a b", "b c"], ngrams=(2,))
    equal(layer(["a b", "", "c", "a b c"]), [[2, 0], [0, 0], [0, 0], [2, 3]])


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_lengths_of_text(shape):
    texts = np.array(["a b", "b", ""]).reshape(shape)
    layer = layers.TextVectorization(vocabulary=["a", "b"])
    equal(layer(texts), [[2, 3], [3, 0], [0, 0]])
    for length, expected in (
        (1, [[2], [3], [0]]),
        (3, [[2, 3, 0], [3, 0, 0], [0] * 3]),
    ):
        layer.output_sequence_length = length
        equal(layer(texts), expected)
        symbol = layer(layers.Input(shape[1:], dtype="string"))
        assert (symbol.shape, symbol.dtype) == ((None, length), "int64")
    assert layer("b a").tolist() == [3, 2, 0]
    with pytest.raises(ValueError, match=r"texts to be split must have the shape"):
        layer([["a", "b"]])


def test_what_is_no_text():
    layer = layers.TextVectorization(vocabulary=["a"], name="text")
    with pytest.raises(ValueError, match=r"'text' .*: expected strings, got Tensor"):
        layer([1, 2])
    with pytest.raises(ValueError, match="expected strings, got None at number 1"):
        layer(np.array(["a", None], dtype=object))
    with pytest.raises(ValueError, match=r"number 0, b'\\xff', is no utf-8"):
        layer(np.array([b"\xff"]))
    assert layers.TextVectorization(vocabulary=["é"], encoding="latin-1")(
        np.array([b"\xe9"])
    ).tolist() == [[2]]
    with pytest.raises(ValueError, match=UNEVEN):
        lookup("a")([["a"], ["b", "c"]])
    with pytest.raises(ValueError, match="`standardize` must return strings of the sh"):
        layers.TextVectorization(vocabulary=["a"], standardize=len)(["a"])
    with pytest.raises(ValueError, match="expected integers, got strings"):
        layers.IntegerLookup().adapt(["a"])


def test_vocabularies_that_make_no_sense():
    for layer in (layers.StringLookup(), layers.TextVectorization()):
        unadapted = rf"\({type(layer).__name__}\) has no vocabulary. Call `adapt"
        with pytest.raises(ValueError, match=unadapted):
            layer(["a"])
        with pytest.raises(ValueError, match="the vocabulary is empty"):
            layer.set_vocabulary([])
        with pytest.raises(ValueError, match=r"more than once: \['a'\]"):
            layer.set_vocabulary(["a", "b", "a"])
        with pytest.raises(ValueError, match=r"`adapt` got .*no (tokens|batches)"):
            layer.adapt([])
        with pytest.raises(ValueError, match="`vocabulary` must be strings"):
            layer.set_vocabulary([1, 2])
    with pytest.raises(ValueError, match="special token '' is at position 1"):
        layers.TextVectorization(vocabulary=["a", ""])
    with pytest.raises(ValueError, match="takes 4 indices, more than max_tokens=3"):
        lookup("a", "b", "c", max_tokens=3)
    with pytest.raises(ValueError, match="was given its vocabulary"):
        lookup("a").adapt(["b"])
    with pytest.raises(ValueError, match="must be a number for each of the 2 tokens"):
        lookup("a", "b", output_mode="tf_idf", idf_weights=[1.0])
    for tokens in (["", "[UNK]", "a"], ["a"]):
        layer = layers.TextVectorization(vocabulary=tokens)
        assert layer.get_vocabulary() == ["", "[UNK]", "a"]


def test_the_size_of_a_vocabulary_that_a_model_counts_on():
    layer = layers.StringLookup(output_mode="count")
    layer.adapt(["a", "b"])
    layer.adapt(["a"])  # no model has it yet
    inputs = layers.Input((3,), dtype="string")
    models.Model(inputs, layers.Dense(1)(layer(inputs)))
    layer.adapt(["b"])
    with pytest.raises(ValueError, match="counts on 2 tokens; the new vocabulary"):
        layer.adapt(["a", "b"])


@pytest.mark.parametrize(
    ("make", "kwargs", "message"),
    [
        (layers.StringLookup, {"output_mode": "ints"}, "`output_mode` must be one of"),
        (
            layers.StringLookup,
            {"invert": True, "output_mode": "count"},
            "needs output_m",
        ),
        (layers.StringLookup, {"pad_to_max_tokens": True}, "needs `max_tokens`"),
        (layers.StringLookup, {"max_tokens": 1}, "`max_tokens` must be an integer, at"),
        (layers.StringLookup, {"salt": [1]}, "`salt` must be an integer, or two"),
        (layers.StringLookup, {"idf_weights": [1.0]}, "`idf_weights` have a meaning"),
        (layers.IntegerLookup, {"invert": True, "oov_token": None}, "needs an `oov_to"),
        (layers.IntegerLookup, {"salt": 1}, "`salt` needs oov_method='farmhash'"),
        (layers.IntegerLookup, {"vocabulary_dtype": "int32"}, "must be one of 'int64'"),
        (layers.TextVectorization, {"ngrams": 0}, "`ngrams` must be None, a positive"),
        (layers.TextVectorization, {"split": "words"}, "`split` must be one of"),
        (layers.TextVectorization, {"standardize": "up"}, "`standardize` must be one"),
        (
            layers.TextVectorization,
            {"output_mode": "count", "output_sequence_length": 3},
            "has a meaning for output_mode='int' only",
        ),
        (
            layers.Hashing,
            {"num_bins": 3, "dtype": "float32"},
            "`dtype` must be 'int32'",
        ),
        (layers.Hashing, {"num_bins": 0}, "`num_bins` must be a positive integer"),
        (
            layers.HashedCrossing,
            {"num_bins": 3, "output_mode": "count"},
            "must be one of",
        ),
    ],
)
def test_options_that_make_no_sense(make, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.array(["a"]), "expected a list of features"),
        ([np.array(["a"])], "at least two features, got 1"),
        ([np.array(["a"]), np.array(["a", "b"])], "features must have one shape"),
        ([np.ones((1, 2), int)] * 2, "features must have one shape"),
        ([np.ones(1), np.ones(1)], "features must be integers or strings"),
    ],
)
def test_features_that_cannot_be_crossed(inputs, message):
    with pytest.raises(ValueError, match=message):
        layers.HashedCrossing(num_bins=3)(inputs)


# Strings among tensors


def text_model(first=None, **kwargs):
    """Return a model that classifies text, and texts."""
    texts = ["good film", "bad film", "very good", "very bad"] * 8
    layer = layers.TextVectorization(output_sequence_length=3, **kwargs)
    layer.adapt(texts)
    stack = [layer, layers.Embedding(9, 4), layers.Flatten(), layers.Dense(1)]
    if first is None:
        return models.Sequential(stack), np.array(texts)
    x = first
    for each in stack:
        x = each(x)
    return models.Model(first, x), np.array(texts)


@pytest.mark.parametrize("shape", [None, (), (1,)])
def test_a_model_of_strings_trains_and_predicts(shape):
    first = None if shape is None else layers.Input(shape, dtype="string")
    model, texts = text_model(first)
    y = np.array([1.0, 0.0] * 16)[:, None]
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(
        texts, y, epochs=2, batch_size=8, validation_split=0.25, verbose=0
    ).history
    assert set(history) == {"loss", "mae", "val_loss", "val_mae"}
    model.fit(texts, y, class_weight={0: 1.0, 1: 2.0}, verbose=0)
    expected = model(texts).detach()
    loss, _ = model.evaluate(texts, y, batch_size=5, verbose=0)
    assert loss == pytest.approx(
        float(((expected - torch.tensor(y)) ** 2).mean()), 1e-5
    )
    for form in (texts, texts.tolist(), texts.astype(object), texts[:, None]):
        equal(model.predict(form, batch_size=7, verbose=0), expected)
    equal(model.predict(texts[:0], verbose=0), expected[:0])
    loader = batches(list(zip(texts.tolist(), y, strict=True)), 4)
    model.fit(loader, verbose=0)
    assert model.train_on_batch(texts[:4], y[:4])[0] > 0
    twin = copy.deepcopy(model)
    equal(twin.predict(texts, verbose=0), model.predict(texts, verbose=0))


def test_strings_and_numbers_in_one_model():
    word = layers.Input((1,), dtype="string", name="word")
    number = layers.Input((2,), name="number")
    rows = lookup("a", "b", output_mode="one_hot")(word)
    model = models.Model({"word": word, "number": number},
                         layers.Concatenate()([rows, number]))  # fmt: skip
    data = {"word": np.array([["b"], ["z"]]), "number": np.ones((2, 2))}
    expected = [[0, 0, 1, 1, 1], [1, 0, 0, 1, 1]]
    equal(model(data), expected)
    equal(model.predict({**data, "word": [["b"], ["z"]]}, verbose=0), expected)
    outer = layers.Input((1,), dtype="string")
    nested = models.Model([outer, number], model({"word": outer, "number": number}) * 2)
    equal(nested([data["word"], data["number"]]), 2 * np.array(expected))
    with pytest.raises(ValueError, match="'word' must be of dtype string, got Tensor"):
        model({**data, "word": np.ones((2, 1))})
    with pytest.raises(
        ValueError, match="'number' must be of dtype float32, got ndarr"
    ):
        model({"word": data["word"], "number": np.array([["a", "b"]])})


def test_layers_of_numbers_refuse_strings():
    for inputs in (np.array([["a"]]), [["a"]], layers.Input((1,), dtype="string")):
        with pytest.raises(ValueError, match=r"'dense.* expected numbers, got strings"):
            layers.Dense(1)(inputs)


class Lengths(layers.Layer):
    """A layer of one's own for strings."""

    takes_strings = True

    def call(self, inputs):
        return torch.from_numpy(np.strings.str_len(inputs.astype(str)))


def test_a_layer_of_ones_own_takes_strings():
    inputs = layers.Input((1,), dtype="string")
    model = models.Model(inputs, Lengths()(inputs))
    assert model.output_shape == (None, 1)
    equal(model([["abc"], [""]]), [[3], [0]])


def test_jit_compile_is_left_out_where_strings_are():
    model, texts = text_model()
    with pytest.warns(UserWarning, match="computes on the host"):
        model.compile("sgd", "mse", jit_compile=True)
    model.fit(texts, np.ones(32), verbose=0)
    assert not model.jit_compile


def transform(sample):
    """Vectorize a text in a loader's worker."""
    return VECTORIZER(sample)


VECTORIZER = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=2)


def test_lookups_in_workers_of_a_loader():
    class Texts(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return transform(["a", "b", "a b", "c"][index])

    batches = list(DataLoader(Texts(), batch_size=2, num_workers=1))
    equal(torch.cat(batches), [[2, 0], [3, 0], [2, 3], [1, 0]])


def test_strings_are_cut_like_tensors():
    strings = Strings(np.array([["a"], ["b"], ["c"]]))
    assert [len(part) for part in strings.split(2)] == [2, 1]
    chosen = strings.index_select(0, torch.tensor([2, 0]))
    assert np.asarray(chosen).tolist() == [["c"], ["a"]]
    assert strings.new_zeros((1, 1)).shape == (1, 1)


def test_columns_of_tables():
    frame = pd.DataFrame({"word": ["x", "y", "x"], "number": [1, 2, 1]})
    words, numbers = layers.StringLookup(), layers.IntegerLookup()
    words.adapt(frame["word"])
    numbers.adapt(frame["number"])
    equal(words(frame["word"]), [1, 2, 1])
    equal(numbers(frame["number"]), [1, 2, 1])
    with pytest.raises(ValueError, match="expected strings, got nan at number 1"):
        words(pd.Series(["x", None]))


def test_a_model_that_answers_in_words(tmp_path):
    inputs = layers.Input((3,))
    scores = layers.Dense(2, activation="softmax")(inputs)
    names = lookup("cat", "dog", num_oov_indices=0, invert=True)
    answers = names(ops.argmax(scores, -1))
    assert (answers.shape, answers.dtype) == ((None,), "string")
    model = models.Model(inputs, [scores, answers])
    x = np.random.standard_normal((5, 3)).astype("float32")
    expected = np.array(["cat", "dog"])[model(x)[0].argmax(-1)].tolist()
    model.save(tmp_path / "model.keras")
    for twin in (model, models.load_model(tmp_path / "model.keras")):
        assert twin(x)[1].tolist() == expected
        assert twin.predict(x, batch_size=2, verbose=0)[1].tolist() == expected
        assert twin.predict_on_batch(x)[1].tolist() == expected
        assert twin.predict(x[:0], verbose=0)[1].tolist() == []


class Classifier(models.Model):
    """A model of one's own that begins with text."""

    def __init__(self, texts):
        super().__init__()
        self.vectorize = layers.TextVectorization(output_sequence_length=3)
        self.vectorize.adapt(texts)
        self.embedding = layers.Embedding(9, 4)
        self.dense = layers.Dense(1)

    def call(self, texts):
        return self.dense(self.embedding(self.vectorize(texts)).mean(1))


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16"])
def test_a_model_of_ones_own_that_begins_with_text(policy):
    texts = np.array(["good film", "bad film"] * 4)
    before = config.dtype_policy()
    config.set_dtype_policy(policy)
    try:
        model = Classifier(texts)
    finally:
        config.set_dtype_policy(before)
    model.compile("adam", "mse")
    model.fit(texts, np.ones(8), validation_data=(texts, np.ones(8)), verbose=0)
    parts = (texts[i : i + 2] for i in range(0, 8, 2))
    equal(model.predict(parts, verbose=0), model.predict(texts, verbose=0))
