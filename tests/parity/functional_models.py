"""Functional models that are written once, for Keras and for torchkeras."""

from typing import Any

import numpy as np

rng = np.random.default_rng(1)


def floats(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype("float32")


def residual(k: Any) -> Any:
    inputs = k.Input((6,), name="features")
    hidden = k.layers.Dense(6, activation="relu")(inputs)
    added = k.layers.Add()([hidden, inputs])
    hidden = k.layers.Dense(6, activation="tanh")(added)
    return k.Model(inputs, k.layers.Dense(2)(k.layers.Add()([hidden, added])))


def siamese(k: Any) -> Any:
    left, right = k.Input((5,), name="left"), k.Input((5,), name="right")
    tower = k.Sequential(
        [k.Input((5,)), k.layers.Dense(4, "relu"), k.layers.Dense(3)], name="tower"
    )
    distance = k.layers.Subtract()([tower(left), tower(right)])
    return k.Model([left, right], k.layers.Dense(1)(distance), name="siamese")


def several_outputs(k: Any) -> Any:
    wide, deep = k.Input((4,), name="wide"), k.Input((6,), name="deep")
    hidden = k.layers.Dense(8, activation="relu", name="hidden")(deep)
    joined = k.layers.Concatenate(name="joined")([wide, hidden])
    score = k.layers.Dense(1, name="score")(joined)
    label = k.layers.Dense(3, activation="softmax", name="label")(hidden)
    return k.Model([wide, deep], [score, label], name="wide_and_deep")


def dictionaries(k: Any) -> Any:
    inputs = {"a": k.Input((4,), name="a"), "b": k.Input((4,), name="b")}
    mean = k.layers.Average()(list(inputs.values()))
    outputs = {"sum": k.layers.Dense(2)(mean), "gate": k.layers.Dense(1)(inputs["b"])}
    return k.Model(inputs, outputs)


def nested(k: Any) -> Any:
    inner_inputs = k.Input((4,))
    inner = k.Model(
        inner_inputs,
        [k.layers.Dense(3)(inner_inputs), k.layers.Dense(2)(inner_inputs)],
        name="inner",
    )
    inputs = k.Input((4,))
    first, second = inner(inputs)
    third, _ = inner(k.layers.Dense(4)(inputs))
    joined = k.layers.Concatenate()([first, second, third])
    return k.Model(inputs, [k.layers.Dense(1)(joined), inner(inputs)[1]])


def operations(k: Any) -> Any:
    inputs = k.Input((4,), name="x")
    hidden = k.layers.Dense(6)(inputs)
    part = hidden[:, 1:5] * 2.0 - inputs / 3.0
    mean = k.ops.mean(part, axis=-1, keepdims=True)
    joined = k.ops.concatenate([part, k.ops.relu(1.0 - mean)], axis=-1)
    wide = k.ops.expand_dims(k.ops.abs(joined), 1)
    return k.Model(inputs, k.layers.Dense(2)(k.ops.squeeze(wide, axis=1)))


def convolutional(k: Any) -> Any:
    inputs = k.Input((8, 8, 3))
    left = k.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    right = k.layers.Conv2D(4, 1)(inputs)
    joined = k.layers.Concatenate()([left, right])
    normal = k.layers.BatchNormalization()(joined)
    pooled = k.layers.GlobalAveragePooling2D()(k.layers.MaxPooling2D()(normal))
    return k.Model(inputs, k.layers.Dense(3, activation="softmax")(pooled))


def masked(k: Any) -> Any:
    words = k.Input((7,), dtype="int32", name="words")
    vectors = k.layers.Embedding(10, 5, mask_zero=True)(words)
    encoded = k.layers.LSTM(4, return_sequences=True)(vectors)
    return k.Model(words, k.layers.Dense(2)(k.layers.LSTM(3)(encoded)))


def attending(k: Any) -> Any:
    steps, memory = k.Input((6, 8), name="steps"), k.Input((6, 4), name="memory")
    own = k.layers.MultiHeadAttention(2, 3)(steps, steps, use_causal_mask=True)
    added = k.layers.Add()([own, steps])
    across, scores = k.layers.MultiHeadAttention(2, 3, value_dim=2, use_gate=True)(
        added, value=memory, return_attention_scores=True
    )
    grouped = k.layers.GroupQueryAttention(3, 4, 2, use_bias=False)(
        across, added, key=added
    )
    return k.Model([steps, memory], [k.layers.Dense(2)(grouped), scores])


def attending_to_words(k: Any) -> Any:
    words = k.Input((7,), dtype="int32", name="words")
    vectors = k.layers.Embedding(10, 4, mask_zero=True)(words)
    attended = k.layers.MultiHeadAttention(2, 3)(vectors, vectors)
    normal = k.layers.LayerNormalization()(attended)
    return k.Model(words, k.layers.GlobalAveragePooling1D()(normal))


def scoring(k: Any) -> Any:
    query, value = k.Input((6, 4), name="query"), k.Input((5, 4), name="value")
    plain = k.layers.Attention(use_scale=True)([query, value])
    summed = k.layers.AdditiveAttention()([plain, value, value])
    return k.Model([query, value], k.layers.Dense(2)(summed))


def part(k: Any) -> Any:
    whole = several_outputs(k)
    return k.Model(whole.inputs, whole.get_layer("joined").output, name="part")


def from_within(k: Any) -> Any:
    inputs = k.Input((4,))
    middle = k.layers.Dense(5, activation="relu")(inputs)
    model = k.Model(middle, k.layers.Dense(2)(middle))
    model.layers[0].name = "middle"  # each has another name for the new input
    return model


def a_list_of_one(k: Any) -> Any:
    inputs = k.Input((4,))
    return k.Model([inputs], [k.layers.Dense(2)(inputs)])


WORDS = rng.integers(0, 10, (8, 7)).astype("int32")
WORDS[:, 5:] = 0

#: Each model, and inputs for it.
MODELS = {
    residual: floats(8, 6),
    siamese: [floats(8, 5), floats(8, 5)],
    several_outputs: [floats(8, 4), floats(8, 6)],
    dictionaries: {"a": floats(8, 4), "b": floats(8, 4)},
    nested: floats(8, 4),
    operations: floats(8, 4),
    convolutional: floats(8, 8, 8, 3),
    masked: WORDS,
    attending: [floats(8, 6, 8), floats(8, 6, 4)],
    attending_to_words: WORDS,
    scoring: [floats(8, 6, 4), floats(8, 5, 4)],
    part: [floats(8, 4), floats(8, 6)],
    from_within: floats(8, 5),
    a_list_of_one: floats(8, 4),
}

#: Models with masks, for which Keras has operations in the graph.
MASKED = (masked, attending_to_words)
#: Models that Keras writes to its older format and cannot read back: that has no place
#: for operations, and the word "dot" becomes the function of that name.
NOT_IN_H5 = (operations, scoring)
