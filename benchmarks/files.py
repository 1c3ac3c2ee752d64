"""Models of 400 MB that are saved and loaded, in every format."""

import importlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.workloads import Workload

#: The units of each layer: it has 16 MB of weights.
UNITS = 2_048


class PlainFile:
    """A torch model, whose `state_dict` is written by safetensors."""

    def __init__(self, workload: Workload) -> None:
        """Make the model and a first file."""
        self.layers = workload.samples
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "model.safetensors"
        self.model = self.make().to_empty(device="cpu")
        for parameter in self.model.parameters():
            nn.init.uniform_(parameter)
        self.save()

    def make(self) -> nn.Module:
        """Make a model without values."""
        with torch.device("meta"):
            return nn.Sequential(*(nn.Linear(UNITS, UNITS) for _ in range(self.layers)))

    def save(self) -> None:
        """Write the file."""
        save_file(self.model.state_dict(), self.path)

    def load(self) -> None:
        """Read the file into a new model."""
        model = self.make().to_empty(device="cpu")
        model.load_state_dict(load_file(self.path))


class KerasFile:
    """The same model in Keras's words, in the format that the workload is called by."""

    def __init__(self, workload: Workload, library: str) -> None:
        """Make the model and a first file."""
        self.keras: Any = importlib.import_module(library)
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/model.{workload.net}"
        dense = [self.keras.layers.Dense(UNITS) for _ in range(workload.samples)]
        self.model = self.keras.Sequential([self.keras.Input((UNITS,)), *dense])
        self.is_whole = workload.net != "weights.h5"
        self.save()

    def save(self) -> None:
        """Write the file."""
        (self.model.save if self.is_whole else self.model.save_weights)(self.path)

    def load(self) -> None:
        """Read the file, into a new model where it holds one."""
        if self.is_whole:
            self.keras.models.load_model(self.path)
        else:
            self.model.load_weights(self.path)
