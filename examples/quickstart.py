"""Train, evaluate, save and load a classifier of handwritten digits.

Run: ``python examples/quickstart.py``
"""

import tempfile
from pathlib import Path

import numpy as np

from torchkeras.datasets import digits
from torchkeras.layers import Dense
from torchkeras.models import Sequential, load_model
from torchkeras.utils import set_random_seed, to_categorical


def load_digits():
    """Return standardized images as rows, and labels as one-hot rows."""
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    x_train, x_test = (x.reshape(len(x), -1) / 16 for x in (x_train, x_test))
    mean, std = x_train.mean(), x_train.std()
    x_train, x_test = (x_train - mean) / std, (x_test - mean) / std
    y_train, y_test = to_categorical(y_train, 10), to_categorical(y_test, 10)
    held_out = len(x_train) // 10
    return (
        (x_train[held_out:], y_train[held_out:]),
        (x_train[:held_out], y_train[:held_out]),
        (x_test, y_test),
    )


def main(epochs: int = 10) -> float:
    """Run the tutorial and return the accuracy on the test images."""
    set_random_seed(0)
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = load_digits()
    input_size, num_classes = x_train.shape[1], y_train.shape[1]

    model = Sequential()
    model.add(Dense(64, activation="relu", input_shape=(input_size,)))
    model.add(Dense(256, activation="relu"))
    model.add(Dense(num_classes, activation="softmax"))
    model.summary()

    model.compile(
        loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"]
    )
    model.fit(
        x_train,
        y_train,
        batch_size=32,
        epochs=epochs,
        validation_data=(x_val, y_val),
    )
    loss, accuracy = model.evaluate(x_test, y_test)
    predictions = model.predict(x_test)

    with tempfile.TemporaryDirectory() as folder:
        for extension in (".h5", ".keras", ".safetensors"):
            path = Path(folder) / f"my_model{extension}"
            model.save(path)
            loaded_model = load_model(path)
            if not np.array_equal(loaded_model.predict(x_test), predictions):
                raise RuntimeError(f"{path.name}: the loaded model predicts otherwise")
            print(f"{path.name}: saved, loaded, and the predictions are identical")

    print(f"Test loss: {loss:.4f}, test accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
