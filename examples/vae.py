"""A variational autoencoder of handwritten digits, with a training step of its own.

Run: ``python examples/vae.py``.
"""

import argparse

import torch

import torchkeras
from torchkeras import Input, Model, layers, ops
from torchkeras.datasets import digits
from torchkeras.utils import set_random_seed

LATENT = 4


class Sampling(layers.Layer):
    """Draws a code from the normal distribution that the encoder describes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = torchkeras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_variance = inputs
        noise = torchkeras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


def make_encoder() -> Model:
    """Return the model from images to the mean, the log variance and a code."""
    inputs = Input((8, 8, 1))
    x = layers.Conv2D(16, 3, activation="relu", padding="same")(inputs)
    x = layers.Conv2D(32, 3, strides=2, activation="relu", padding="same")(x)
    x = layers.Dense(32, activation="relu")(layers.Flatten()(x))
    mean = layers.Dense(LATENT, name="mean")(x)
    log_variance = layers.Dense(LATENT, name="log_variance")(x)
    code = Sampling()([mean, log_variance])
    return Model(inputs, [mean, log_variance, code], name="encoder")


def make_decoder() -> Model:
    """Return the model from codes to images."""
    inputs = Input((LATENT,))
    x = layers.Dense(4 * 4 * 32, activation="relu")(inputs)
    x = layers.Reshape((4, 4, 32))(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, activation="relu", padding="same")(x)
    outputs = layers.Conv2D(1, 3, activation="sigmoid", padding="same")(x)
    return Model(inputs, outputs, name="decoder")


class VAE(Model):
    """An encoder and a decoder, trained on both parts of the evidence's bound."""

    def __init__(self, encoder: Model, decoder: Model, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.total = torchkeras.metrics.Mean(name="loss")
        self.reconstruction = torchkeras.metrics.Mean(name="reconstruction")
        self.divergence = torchkeras.metrics.Mean(name="divergence")

    @property
    def metrics(self):
        return [self.total, self.reconstruction, self.divergence]

    def call(self, inputs):
        return self.decoder(self.encoder(inputs)[0])

    def train_step(self, data):
        mean, log_variance, code = self.encoder(data)
        pixels = torchkeras.losses.binary_crossentropy(data, self.decoder(code))
        reconstruction = pixels.sum(dim=(1, 2)).mean()
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp())
        divergence = divergence.sum(dim=1).mean()

        self.zero_grad()
        (reconstruction + divergence).backward()
        weights = self.trainable_weights
        with torch.no_grad():
            self.optimizer.apply([w.value.grad for w in weights], weights)

        self.total.update_state(reconstruction + divergence)
        self.reconstruction.update_state(reconstruction)
        self.divergence.update_state(divergence)
        return {metric.name: metric.result() for metric in self.metrics}


def main(epochs: int = 20, batch_size: int = 64) -> float:
    """Train; return how much of the images' variance their reconstructions explain."""
    set_random_seed(0)
    (x_train, _), (x_test, _) = digits.load_data()
    x_train, x_test = (x[..., None].astype("float32") / 16 for x in (x_train, x_test))

    vae = VAE(make_encoder(), make_decoder())
    vae.compile(optimizer=torchkeras.optimizers.Adam(5e-3))
    vae.fit(x_train, epochs=epochs, batch_size=batch_size, verbose=2)

    error = ((vae.predict(x_test, verbose=0) - x_test) ** 2).mean()
    explained = 1 - error / x_test.var()
    print(f"Variance explained by {LATENT} numbers: {explained:.2f}")
    return float(explained)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    main(**vars(parser.parse_args()))
