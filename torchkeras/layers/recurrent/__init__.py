"""Recurrent layers, the cells they repeat, and `RNN` for cells of your own."""

from torchkeras.layers.recurrent.cells import (
    GRUCell,
    LSTMCell,
    SimpleRNNCell,
    StackedRNNCells,
)
from torchkeras.layers.recurrent.convolutional import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from torchkeras.layers.recurrent.layers import GRU, LSTM, SimpleRNN
from torchkeras.layers.recurrent.rnn import RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "GRUCell",
    "LSTMCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
]
