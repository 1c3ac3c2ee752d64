"""The loops that people write by hand, without any Keras."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import Accuracy

from benchmarks.workloads import VOCABULARY, Workload

#: An accelerator where there is one, as both Keras on torch and torchkeras choose.
DEVICE = torch.accelerator.current_accelerator() or torch.device("cpu")


class SentenceNet(nn.Module):
    """Embedding, LSTM and one logit, with padding (word 0) packed away or read."""

    def __init__(self, packed: bool) -> None:
        """Make the three layers."""
        super().__init__()
        self.packed = packed
        self.embedding = nn.Embedding(VOCABULARY, 64)
        self.lstm = nn.LSTM(64, 64, batch_first=True)
        self.head = nn.Linear(64, 1)

    def forward(self, words: Tensor) -> Tensor:
        """Return the logit of each row of `words`."""
        embedded = self.embedding(words)
        if self.packed:
            lengths = (words != 0).sum(1).cpu()
            embedded = pack_padded_sequence(
                embedded, lengths, batch_first=True, enforce_sorted=False
            )
        _, (hidden, _) = self.lstm(embedded)
        return self.head(hidden[-1])


class Residual(nn.Module):
    """Two convolutions with batch normalization, beside a shortcut."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        """Make the layers."""
        super().__init__()
        self.first = nn.Conv2d(inputs, filters, 3, stride, padding=1)
        self.first_norm = nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)
        self.second = nn.Conv2d(filters, filters, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)
        shortcut = nn.Conv2d(inputs, filters, 1, stride) if stride > 1 else None
        self.shortcut = shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified sum."""
        y = torch.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return torch.relu(y + self.shortcut(x))


def resnet() -> nn.Module:
    """A small residual network at 32x32."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        Residual(16, 16, 1),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class Transformer(nn.Module):
    """Embedding, one transformer block of four heads, the mean and one logit."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 64)
        self.query, self.key, self.value, self.output = (
            nn.Linear(64, 64) for _ in range(4)
        )
        self.first_norm = nn.LayerNorm(64, eps=1e-3)
        self.second_norm = nn.LayerNorm(64, eps=1e-3)
        self.wide, self.narrow = nn.Linear(64, 128), nn.Linear(128, 64)
        self.head = nn.Linear(64, 1)

    def forward(self, words: Tensor) -> Tensor:
        """Return the logit of each row of `words`."""
        x = self.embedding(words)
        heads = [
            project(x).unflatten(-1, (4, 16)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        ]
        attended = nn.functional.scaled_dot_product_attention(*heads)
        x = self.first_norm(x + self.output(attended.transpose(1, 2).flatten(-2)))
        x = self.second_norm(x + self.narrow(torch.relu(self.wide(x))))
        return self.head(x.mean(1))


def mlp_tiny() -> nn.Module:
    """20-16-16-1."""
    return nn.Sequential(
        nn.Linear(20, 16),
        nn.ReLU(),
        nn.Linear(16, 16),
        nn.ReLU(),
        nn.Linear(16, 1),
    )


def mlp_mnist() -> nn.Module:
    """784-512-512-10 with dropout."""
    return nn.Sequential(
        nn.Linear(784, 512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 10),
    )


def convnet() -> nn.Module:
    """The MNIST convnet of keras.io."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(1600, 10),
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp_tiny": mlp_tiny,
    "mlp_mnist": mlp_mnist,
    "convnet": convnet,
    "resnet": resnet,
    "transformer": Transformer,
    "lstm": lambda: SentenceNet(packed=False),
    "lstm_masked": lambda: SentenceNet(packed=True),
}


def start_as_keras(net: nn.Module) -> None:
    """Draw the weights as Keras does, so that the losses can be compared."""
    for name, weight in net.named_parameters():
        if "bias" in name:
            nn.init.zeros_(weight)
        elif weight.ndim == 1:
            nn.init.ones_(weight)
        elif "embedding" in name:
            nn.init.uniform_(weight, -0.05, 0.05)
        elif "weight_hh" in name:
            nn.init.orthogonal_(weight)
        else:
            nn.init.xavier_uniform_(weight)
        if "bias_ih" in name:
            forget_gate = weight.detach().chunk(4)[1]
            forget_gate.fill_(1)


class Usual:
    """`DataLoader`, torchmetrics, default Adam and `.item()` at each step."""

    optimizer_options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, workload: Workload) -> None:
        """Make the net and the tensors."""
        torch.manual_seed(0)
        self.workload = workload
        x, y = workload.data(workload.samples)
        if x.ndim == 4:
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.net = NETS[workload.net]()
        start_as_keras(self.net)
        self.net.to(DEVICE)
        binary = workload.classes == 1
        self.activation = nn.Sigmoid() if binary else nn.Softmax(dim=-1)
        self.loss = nn.BCEWithLogitsLoss() if binary else nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), **self.optimizer_options
        )

    def fit(self) -> float:
        """Train for a round and return the mean loss of its last epoch."""
        workload, net, optimizer = self.workload, self.net, self.optimizer
        loader = DataLoader(
            TensorDataset(self.x, self.y), workload.batch_size, shuffle=True
        )
        if workload.classes == 1:
            accuracy = Accuracy(task="binary").to(DEVICE)
        else:
            accuracy = Accuracy(task="multiclass", num_classes=workload.classes)
            accuracy.to(DEVICE)
        net.train()
        total = 0.0
        for _ in range(workload.epochs):
            total = 0.0
            accuracy.reset()
            for x, y in loader:
                x, y = x.to(DEVICE), y.to(DEVICE)
                optimizer.zero_grad()
                outputs = net(x)
                loss = self.loss(outputs, y)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(x)
                accuracy.update(outputs, y.int())
            accuracy.compute().item()
        return total / workload.samples

    def predict(self) -> np.ndarray:
        """Return the probabilities of all samples."""
        self.net.eval()
        loader = DataLoader(TensorDataset(self.x), self.workload.batch_size)
        with torch.no_grad():
            outputs = [self.activation(self.net(x.to(DEVICE))) for (x,) in loader]
        return torch.cat(outputs).cpu().numpy()


class Tuned(Usual):
    """The same in eager PyTorch at its best: nothing is read or made twice."""

    # Keras's epsilon.
    optimizer_options = MappingProxyType({"fused": True, "eps": 1e-7})

    # Gathering several batches at once saves calls; a whole epoch would leave the
    # cache.
    gathered = 16

    def batches(self, all_x: Tensor, all_y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield an epoch of shuffled batches."""
        size = self.workload.batch_size
        order = torch.randperm(len(all_x), device=DEVICE)
        for chunk in order.split(self.gathered * size):
            x, y = all_x.index_select(0, chunk), all_y.index_select(0, chunk)
            yield from zip(x.split(size), y.split(size), strict=True)

    def fit(self) -> float:
        """Train for a round and return the mean loss of its last epoch."""
        net, optimizer = self.net, self.optimizer
        binary = self.workload.classes == 1
        if binary:
            loss_function = nn.functional.binary_cross_entropy_with_logits
        else:
            loss_function = nn.functional.cross_entropy
        net.train()
        all_x, all_y = self.x.to(DEVICE), self.y.to(DEVICE)
        total = torch.zeros((), device=DEVICE)
        for _ in range(self.workload.epochs):
            total = torch.zeros((), device=DEVICE)
            hits = torch.zeros((), dtype=torch.int64, device=DEVICE)
            for x, y in self.batches(all_x, all_y):
                outputs = net(x)
                loss = loss_function(outputs, y)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                with torch.no_grad():
                    total.add_(loss, alpha=len(x))
                    if binary:
                        hits.add_(((outputs > 0) == (y > 0.5)).sum())
                    else:
                        hits.add_((outputs.argmax(1) == y).sum())
            hits.item()
        return total.item() / self.workload.samples

    def predict(self) -> np.ndarray:
        """Return the probabilities of all samples."""
        net, activation = self.net.eval(), self.activation
        with torch.inference_mode():
            batches = self.x.to(DEVICE).split(self.workload.batch_size)
            return torch.cat([activation(net(x)) for x in batches]).cpu().numpy()

    def call(self, times: int) -> None:
        """Call the net on one row, as one `nn.Sequential`."""
        net = nn.Sequential(*self.net.children(), self.activation).eval()
        row = self.x[:1].to(DEVICE)
        with torch.no_grad():
            for _ in range(times):
                net(row)

    def predict_one(self, times: int) -> None:
        """Call the net on one row of an array and return an array."""
        net = nn.Sequential(*self.net.children(), self.activation).eval()
        row = self.x[:1].numpy()
        for _ in range(times):
            with torch.no_grad():
                net(torch.from_numpy(row).to(DEVICE)).cpu().numpy()
