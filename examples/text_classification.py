"""Tell whether a review is good or bad, from raw text to a model that takes raw text.

The reviews are made up: a few words decide, with negations, among many that say
nothing. `TextVectorization` learns the words; the model of indices is trained, and then
put behind the vectorization in one model that is saved, loaded and asked about strings.

Run: ``python examples/text_classification.py``.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from torchkeras import Input, Model, layers, models
from torchkeras.utils import set_random_seed

GOOD = "great wonderful brilliant moving funny charming gripping".split()
BAD = "dull awful boring clumsy tedious predictable lifeless".split()
FILLER = """the a this that film movie plot story actor scene ending music camera in
    of and with for from about after before all some was is were felt looked""".split()


def made_reviews(count, seed):
    """Return reviews, and 1 for each that is good."""
    draw = np.random.default_rng(seed)
    reviews, labels = [], []
    for _ in range(count):
        good, negated = draw.integers(0, 2, 2)
        words = list(draw.choice(FILLER, draw.integers(8, 16)))
        judgement = draw.choice(GOOD if good else BAD)
        place = draw.integers(0, len(words))
        words[place:place] = ["Not", judgement] if negated else [judgement.title()]
        reviews.append(f"{' '.join(words)}{draw.choice(['.', '!', '...'])}")
        labels.append(good != negated)
    return np.array(reviews), np.array(labels, dtype="float32")[:, None]


def build_classifier(vocabulary_size):
    """Return a model of indices of words: pairs of words decide."""
    inputs = Input((None,), dtype="int64")
    x = layers.Embedding(vocabulary_size, 16)(inputs)
    x = layers.Conv1D(32, 2, padding="same", activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    return Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def main(epochs=6, count=4000):
    """Train, save and load; return the accuracy on reviews of the loaded model."""
    set_random_seed(0)
    reviews, labels = made_reviews(count, seed=0)
    vectorize = layers.TextVectorization(max_tokens=200, output_sequence_length=20)
    vectorize.adapt(reviews)
    classifier = build_classifier(vectorize.vocabulary_size())
    classifier.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    classifier.fit(vectorize(reviews), labels, epochs=epochs, validation_split=0.1)

    text = Input((1,), dtype="string")
    whole = Model(text, classifier(vectorize(text)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reviews.keras"
        whole.save(file)
        loaded = models.load_model(file)
    asked = ["A great film, the music was moving.", "this was not funny at all"]
    for review, score in zip(asked, loaded.predict(asked, verbose=0), strict=True):
        print(f"{float(score[0]):.2f}  {review}")
    loaded.compile(loss="binary_crossentropy", metrics=["accuracy"])
    _, accuracy = loaded.evaluate(*made_reviews(500, seed=1), verbose=0)
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    print(f"accuracy {main(parser.parse_args().epochs):.3f}")
