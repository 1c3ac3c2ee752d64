"""Small data sets to learn and to test with; each has a `load_data`."""

from torchkeras.datasets import digits, fashion_mnist, mnist

__all__ = ["digits", "fashion_mnist", "mnist"]
