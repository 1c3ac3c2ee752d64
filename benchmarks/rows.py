"""The rows of the table: what is timed, of whom, and what it may cost."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from benchmarks.workloads import (
    CONVLSTM,
    CONVNET,
    DEEP_BLOCKS,
    DEEP_CHAIN,
    DEEP_STACK,
    FILES,
    LOOKUP,
    LSTM,
    LSTM_MASKED,
    MLP_MNIST,
    MLP_TINY,
    RESNET,
    TEXT,
    TRANSFORMER,
    VARIED,
    Workload,
)

KERAS = ("keras-torch", "keras-jax", "keras-tensorflow")
EVERYONE = ("tuned", "usual", "torchkeras", *KERAS)
ON_TORCH = ("tuned", "torchkeras", "keras-torch")

#: What is done with a model of many layers.
DEEP_TASKS = ("build", "clone", "load")
#: What is done with a layer that prepares data.
LAYER_TASKS = ("adapt", "transform")
#: What is done with a file, and the method that does it.
FILE_TASKS = {"save_file": "save", "load_file": "load"}

# Where to find each contender, by the name it has in the table.
CONTENDERS = {
    "tuned": "benchmarks.handwritten:Tuned",
    "usual": "benchmarks.handwritten:Usual",
    "torchkeras": "benchmarks.keras_api:TorchKerasModel",
    **dict.fromkeys(KERAS, "benchmarks.keras_api:KerasModel"),
}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: The name to select it by.
        task: The method of the contenders that is timed, or "imports" or "bar".
        workload: The model and its data.
        contenders: Who takes part.
        bounds: The highest ratio of torchkeras to a contender that is aimed for.
        most_us: The most microseconds a step of torchkeras may take, if not 0.
        repeats: How many calls a round makes, where it is not an epoch.
        note: What stands in the place of the tuned loop, if it is none.
    """

    name: str
    task: str
    workload: Workload
    contenders: tuple[str, ...] = EVERYONE
    bounds: Mapping[str, float] = field(default_factory=dict)
    most_us: float = 0
    repeats: int = 0
    note: str = ""

    @property
    def steps(self) -> int:
        """The number of steps or calls in a round."""
        return self.repeats or self.workload.steps

    def narrowed(self, contenders: Collection[str]) -> "Row":
        """The same row with these contenders alone."""
        kept = tuple(name for name in self.contenders if name in contenders)
        return replace(self, contenders=kept)

    def quick(self) -> "Row":
        """The same row, cut short to see whether it runs."""
        samples = min(self.workload.samples, 4 * self.workload.batch_size)
        return replace(
            self,
            workload=replace(self.workload, samples=samples, epochs=1),
            repeats=-(-self.repeats // 10),
        )


def fit_row(workload: Workload, tuned: float, usual: float = 0.75) -> Row:
    """The row of a training step, with the ratios to the loops aimed for."""
    bounds = {"tuned": tuned, "usual": usual, "keras-torch": 1, "keras-tensorflow": 1}
    return Row(workload.net, "fit", workload, bounds=bounds)


ROWS = (
    fit_row(MLP_TINY, tuned=0.8),
    fit_row(MLP_MNIST, tuned=1.05),
    fit_row(CONVNET, tuned=0.9),
    fit_row(RESNET, tuned=1.0, usual=1.0),
    fit_row(TRANSFORMER, tuned=1.05, usual=1.05),
    fit_row(LSTM, tuned=1.05),
    fit_row(LSTM_MASKED, tuned=0.5),
    Row(
        "convlstm",
        "fit",
        CONVLSTM,
        ("torchkeras", *KERAS),
        bounds=dict.fromkeys(KERAS, 1),
    ),
    *(
        Row(
            f"{task}_{workload.net}",
            task,
            workload,
            ("torchkeras", "keras-tensorflow"),
            bounds={"keras-tensorflow": 1},
            repeats=1,
            note="Keras's layers of strings are tensorflow's, on every backend",
        )
        for task, workload in (
            ("adapt", TEXT),
            ("transform", TEXT),
            ("transform", LOOKUP),
        )
    ),
    Row(
        "transform_varied",
        "transform",
        VARIED,
        ("torchkeras", *KERAS),
        bounds=dict.fromkeys(KERAS, 1),
        repeats=1,
        note="a batch of pictures flipped, turned, zoomed and changed in contrast",
    ),
    Row("predict_mlp", "predict", MLP_MNIST, bounds={"tuned": 1}),
    Row(
        "predict_convnet",
        "predict",
        replace(CONVNET, batch_size=1_024, samples=4_096),
        bounds={"tuned": 1},
    ),
    Row(
        "call",
        "call",
        MLP_TINY,
        ON_TORCH,
        bounds={"tuned": 1.5},
        repeats=2_000,
        note="`model(x)` on one row; tuned: the same `nn.Sequential`",
    ),
    Row(
        "predict_one",
        "predict_one",
        MLP_TINY,
        ("tuned", "torchkeras", *KERAS),
        most_us=100,
        repeats=100,
        note="`predict(x[:1])`; tuned: `nn.Sequential` from array to array",
    ),
    *(
        Row(
            f"{task}_{workload.net}",
            task,
            workload,
            ("torchkeras", "keras-torch"),
            bounds={"keras-torch": 1},
            repeats=1,
        )
        for workload in (DEEP_STACK, DEEP_CHAIN, DEEP_BLOCKS)
        for task in DEEP_TASKS
    ),
    *(
        Row(
            f"{method}_{name}",
            task,
            workload,
            (rival, "torchkeras"),
            bounds={rival: bound},
            repeats=1,
            note="400 MB" + "; tuned: a `state_dict` by safetensors" * (bound > 1),
        )
        for name, workload in FILES.items()
        for rival, bound in [
            ("tuned", 1.2) if name == "safetensors" else ("keras-torch", 1)
        ]
        for task, method in FILE_TASKS.items()
    ),
    Row(
        "import",
        "imports",
        MLP_TINY,
        ("tuned", "torchkeras", *KERAS),
        bounds={"tuned": 1.3},
        repeats=1,
        note="tuned: `import torch`",
    ),
    Row(
        "bar",
        "bar",
        MLP_TINY,
        ("torchkeras",),
        bounds={"tuned": 1.03},
        note="`mlp_tiny` with the bar drawn; tuned: torchkeras with `verbose=0`",
    ),
)
SOAK = Row(
    "soak",
    "soak",
    MLP_TINY,
    ("torchkeras",),
    repeats=10_000,
    note="`train_on_batch` and `predict_on_batch`; the last round's {steps:,} steps "
    "let the memory grow by {value:.1f} MB",
)
