"""One model of two inputs and two outputs, on handwritten digits.

An image and its mirror image go through the same layers; one output names the digit,
the other says how much ink it took.

Run: ``python examples/several_inputs_outputs.py``.
"""

import argparse

from torchkeras import Input, Model, layers
from torchkeras.datasets import digits
from torchkeras.utils import set_random_seed


def make_model() -> Model:
    """Return the model: a shared tower, joined with a count, and two heads."""
    image = Input((8, 8, 1), name="image")
    mirrored = Input((8, 8, 1), name="mirrored")

    tower = Input((8, 8, 1))
    x = layers.Conv2D(16, 3, activation="relu", padding="same")(tower)
    x = x + layers.Conv2D(16, 3, activation="relu", padding="same")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(layers.Conv2D(32, 3, activation="relu")(x))
    tower = Model(tower, x, name="tower")

    joined = layers.Concatenate()([tower(image), tower(mirrored)])
    hidden = layers.Dense(64, activation="relu")(joined)
    hidden = layers.Dropout(0.3)(hidden)
    digit = layers.Dense(10, activation="softmax", name="digit")(hidden)
    ink = layers.Dense(1, name="ink")(hidden)
    return Model([image, mirrored], {"digit": digit, "ink": ink}, name="two_views")


def views(images):
    """Return the inputs by name, and the mean brightness of each image."""
    images = images[..., None].astype("float32") / 16
    ink = images.mean(axis=(1, 2, 3))[:, None]
    return {"image": images, "mirrored": images[:, :, ::-1].copy()}, ink


def main(epochs: int = 15, batch_size: int = 32) -> float:
    """Train and evaluate; return the accuracy on the test images."""
    set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    (x_train, ink_train), (x_test, ink_test) = views(x_train), views(x_test)

    model = make_model()
    model.summary()
    model.compile(
        optimizer="adam",
        loss={"digit": "sparse_categorical_crossentropy", "ink": "mse"},
        loss_weights={"digit": 1.0, "ink": 5.0},
        metrics={"digit": ["accuracy"], "ink": ["mae"]},
    )
    model.fit(
        x_train,
        {"digit": y_train, "ink": ink_train},
        batch_size=batch_size,
        epochs=epochs,
        verbose=2,
    )
    results = model.evaluate(
        x_test, {"digit": y_test, "ink": ink_test}, verbose=0, return_dict=True
    )
    print({name: round(value, 4) for name, value in results.items()})
    return results["digit_accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=32)
    main(**vars(parser.parse_args()))
