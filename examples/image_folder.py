"""Classify the images in a folder, with augmentation: a folder for each class.

The images are made here, discs and crosses on noise, so that nothing is downloaded;
take any folder of folders in their place.

Run: ``python examples/image_folder.py --folder my_images``.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from torchkeras import Sequential, layers
from torchkeras.utils import image_dataset_from_directory, save_img, set_random_seed

SIZE = 32


def make_images(folder: Path, count: int) -> None:
    """Write images of discs and crosses, in two folders."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for name in ("cross", "disc"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            radius = random.integers(5, 9)
            y, x = random.integers(radius, SIZE - radius, 2)
            down, right = np.abs(rows - y), np.abs(columns - x)
            if name == "disc":
                shape = down**2 + right**2 <= radius**2
            else:
                shape = (np.minimum(down, right) <= 1) & (
                    np.maximum(down, right) <= radius
                )
            image = random.normal(60, 20, (SIZE, SIZE, 3))
            image[shape] += random.uniform(90, 130, 3)
            save_img(folder / name / f"{number}.png", image.clip(0, 255), scale=False)


def build_model(classes: int) -> Sequential:
    """Return a convnet that augments its images itself, in training."""
    return Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.RandomFlip("horizontal_and_vertical"),
            layers.RandomTranslation(0.1, 0.1),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def train(folder: Path, epochs: int) -> float:
    """Train on four fifths of the images and return the accuracy on the others."""
    train_ds, val_ds = image_dataset_from_directory(
        folder,
        image_size=(SIZE, SIZE),
        batch_size=32,
        validation_split=0.2,
        subset="both",
        seed=0,
    )
    model = build_model(len(train_ds.class_names))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        train_ds.cache().shuffle(1000).prefetch(2),  # images are read once
        validation_data=val_ds.cache(),
        epochs=epochs,
    )
    return model.evaluate(val_ds)[1]


def main(folder: str | None = None, count: int = 200, epochs: int = 10) -> float:
    """Train on a folder, or on images that are made, and return the accuracy."""
    set_random_seed(0)
    if folder is not None:
        return train(Path(folder), epochs)
    with tempfile.TemporaryDirectory() as made:
        make_images(Path(made), count)
        return train(Path(made), epochs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    print(f"accuracy: {main(options.folder, epochs=options.epochs):.3f}")
