"""Two networks against each other, each with an optimizer of its own.

The generator learns to draw points from a ring; the discriminator to tell them from
real ones.

Run: ``python examples/gan.py``.
"""

import argparse

import numpy as np
import torch

import torchkeras
from torchkeras import Model, Sequential, layers
from torchkeras.utils import set_random_seed

LATENT = 8


def ring(samples: int) -> np.ndarray:
    """Return points near the circle of radius 1."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, samples)
    radius = rng.normal(1.0, 0.05, samples)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points.astype("float32")


class GAN(Model):
    """A generator and a discriminator in one training step.

    Args:
        generator: the network from noise to points.
        discriminator: the network from points to a score; above 0 for real ones.
    """

    def __init__(self, generator: Sequential, discriminator: Sequential):
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.seed_generator = torchkeras.random.SeedGenerator(1337)
        self.g_loss = torchkeras.metrics.Mean(name="g_loss")
        self.d_loss = torchkeras.metrics.Mean(name="d_loss")

    @property
    def metrics(self):
        return [self.g_loss, self.d_loss]

    def compile(self, g_optimizer, d_optimizer, loss):
        super().compile()
        self.g_optimizer, self.d_optimizer = g_optimizer, d_optimizer
        self.loss = loss

    def call(self, noise):
        return self.generator(noise)

    def noise(self, rows: int):
        """Return what the generator begins with."""
        return torchkeras.random.normal((rows, LATENT), seed=self.seed_generator)

    def train_step(self, real):
        rows = real.shape[0]
        ones, zeros = real.new_ones(rows, 1), real.new_zeros(rows, 1)

        fake = self.generator(self.noise(rows)).detach()
        real = real.clone().requires_grad_()
        scores = self.discriminator(real)
        d_loss = self.loss(ones, scores) + self.loss(zeros, self.discriminator(fake))
        # A discriminator that is flat where the real points are keeps the game stable
        # (Mescheder et al., 2018). Its slope comes from plain autograd.
        (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
        penalty = slope.square().sum(dim=1).mean()
        self.update(self.discriminator, self.d_optimizer, d_loss + 0.5 * penalty)

        scores = self.discriminator(self.generator(self.noise(rows)))
        g_loss = self.loss(ones, scores)
        self.update(self.generator, self.g_optimizer, g_loss)

        self.g_loss.update_state(g_loss)
        self.d_loss.update_state(d_loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def update(self, network, optimizer, loss):
        """Take a step down the loss with the weights of one network."""
        self.zero_grad()
        loss.backward()
        weights = network.trainable_weights
        with torch.no_grad():
            optimizer.apply([w.value.grad for w in weights], weights)


def main(epochs: int = 40, batch_size: int = 128) -> float:
    """Train; return the share of generated points that lie on the ring."""
    set_random_seed(0)
    generator = Sequential(
        [
            layers.Input((LATENT,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(2),
        ],
        name="generator",
    )
    discriminator = Sequential(
        [
            layers.Input((2,)),
            layers.Dense(64),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Dense(64),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Dense(1),
        ],
        name="discriminator",
    )
    gan = GAN(generator, discriminator)
    gan.compile(
        g_optimizer=torchkeras.optimizers.Adam(2e-3, beta_1=0.5),
        d_optimizer=torchkeras.optimizers.Adam(2e-3, beta_1=0.5),
        loss=torchkeras.losses.BinaryCrossentropy(from_logits=True),
    )
    gan.fit(ring(4_096), epochs=epochs, batch_size=batch_size, verbose=2)

    points = gan.predict(gan.noise(1_000), verbose=0)
    share = (abs(np.linalg.norm(points, axis=1) - 1) < 0.2).mean()
    print(f"Generated points on the ring: {share:.0%}")
    return float(share)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=128)
    main(**vars(parser.parse_args()))
