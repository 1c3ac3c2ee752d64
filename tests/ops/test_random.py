"""Random functions: seeds, seed generators, arguments, symbolic tensors."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import KerasTensor, initializers

random: Any = torchkeras.random
SeedGenerator: Any = random.SeedGenerator

X = torch.arange(24.0).reshape(4, 6) + 1

DRAWS = {
    "beta": lambda seed: random.beta((4, 3), 2.0, 3.0, seed=seed),
    "binomial": lambda seed: random.binomial((4, 30), 20, 0.4, seed=seed),
    "categorical": lambda seed: random.categorical(torch.zeros(2, 50), 20, seed=seed),
    "dropout": lambda seed: random.dropout(X, 0.5, seed=seed),
    "gamma": lambda seed: random.gamma((4, 3), 0.7, seed=seed),
    "normal": lambda seed: random.normal((4, 3), seed=seed),
    "randint": lambda seed: random.randint((4, 3), 0, 1000, seed=seed),
    "shuffle": lambda seed: random.shuffle(X.flatten(), seed=seed),
    "truncated_normal": lambda seed: random.truncated_normal((4, 3), seed=seed),
    "uniform": lambda seed: random.uniform((4, 3), seed=seed),
}
every = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@every
def test_an_integer_gives_the_same_numbers_on_every_call(draw):
    assert torch.equal(draw(3), draw(3))
    assert torch.equal(draw(3), draw(np.int32(3)))
    assert not torch.equal(draw(3), draw(4))
    for seed in (-1, 2**70):  # any integer will do
        assert torch.equal(draw(seed), draw(seed))


@every
def test_without_a_seed_torch_is_the_source(draw):
    torch.manual_seed(1)
    first, second = draw(None), draw(None)
    assert not torch.equal(first, second)
    torchkeras.utils.set_random_seed(1)
    assert torch.equal(draw(None), first)


@every
def test_a_seed_leaves_the_source_of_others_alone(draw):
    before = torch.get_rng_state()
    for seed in (3, SeedGenerator(3)):
        draw(seed)
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_a_seed_generator_moves_on_and_can_be_repeated(draw):
    seed = SeedGenerator(7)
    drawn = [draw(seed) for _ in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])
    again = SeedGenerator(7)
    assert all(torch.equal(draw(again), values) for values in drawn)
    assert again.state.tolist() == [7, 3]


@every
def test_a_wrong_seed(draw):
    for seed in (1.5, True, "0"):
        with pytest.raises(ValueError, match="`seed` must be an integer, a SeedGen"):
            draw(seed)


@every
def test_meta_tensors_have_a_shape_and_use_up_no_seed(draw):
    seed = SeedGenerator(7)
    expected = draw(1)
    before = torch.get_rng_state()
    with torch.device("meta"):
        drawn = draw(seed)
    assert (drawn.shape, drawn.dtype) == (expected.shape, expected.dtype)
    if drawn.device.type == "meta":  # of those that are given no tensor
        assert seed.state.tolist() == [7, 0]
    assert torch.equal(torch.get_rng_state(), before)


def test_neighboring_seed_generators_share_no_numbers():
    first, second = SeedGenerator(0), SeedGenerator(1)
    drawn = [random.normal((1,), seed=s).item() for s in (first, second) * 5]
    assert len(set(drawn)) == len(drawn)


def test_the_state_of_a_seed_generator():
    seed = SeedGenerator(5, name="mine")
    assert seed.next().tolist() == [5, 0]
    assert seed.next().tolist() == [5, 1]
    copied = copy.deepcopy(seed)
    expected = random.normal((2,), seed=seed)
    assert torch.equal(random.normal((2,), seed=copied), expected)
    seed.state.assign([5, 2])
    assert torch.equal(random.normal((2,), seed=seed), expected)
    assert seed.next(ordered=False).tolist() == [5, 3]
    assert seed.state.tolist() == [6 * 5387 % 933199, 4 * 5387 % 933199]
    assert repr(SeedGenerator(5, name="a")) == "<SeedGenerator a, state=[5, 0]>"


def test_the_config_of_a_seed_generator():
    seed = SeedGenerator(5, name="mine")
    assert seed.get_config() == {"seed": 5, "name": "mine"}
    seed.next()
    assert SeedGenerator.from_config(seed.get_config()).state.tolist() == [5, 0]
    assert SeedGenerator().get_config()["seed"] is None


def test_an_unseeded_seed_generator_begins_where_torch_says():
    torch.manual_seed(0)
    first = SeedGenerator().state.tolist()
    assert SeedGenerator().state.tolist() != first
    torch.manual_seed(0)
    assert SeedGenerator().state.tolist() == first


def test_an_initializer_takes_a_seed_generator():
    seed = SeedGenerator(3, name="mine")
    made = initializers.RandomNormal(seed=seed)
    first = made((2, 2))
    assert not torch.equal(made((2, 2)), first)
    config = initializers.serialize(made)
    assert config["config"]["seed"]["class_name"] == "SeedGenerator"
    again = initializers.deserialize(config)
    assert torch.equal(again((2, 2)), first)


def test_the_same_seed_gives_an_initializer_and_a_function_the_same_numbers():
    made = initializers.RandomNormal(0.0, 1.0, seed=3)((4, 3))
    assert torch.equal(random.normal((4, 3), seed=3), made)


@every
def test_compiled(draw):
    compiled = torch.compile(draw, backend="aot_eager", fullgraph=True)
    assert compiled(None).shape == draw(None).shape
    assert compiled(SeedGenerator()).shape == draw(None).shape


@every
def test_compiled_with_breaks_an_integer_gives_the_same_numbers(draw):
    compiled = torch.compile(draw, backend="aot_eager")
    assert torch.equal(compiled(3), draw(3))
    assert torch.equal(compiled(3), draw(3))


def test_compiled_the_default_device_is_looked_at():
    compiled = torch.compile(DRAWS["normal"], backend="aot_eager", fullgraph=True)
    assert compiled(None).device.type == torch.empty(()).device.type
    with torch.device("meta"):
        assert compiled(None).device.type == "meta"


def test_compiled_with_breaks_a_seed_generator_moves_on():
    draw = torch.compile(DRAWS["normal"], backend="aot_eager")
    seed = SeedGenerator(7)
    first, second = draw(seed), draw(seed)
    assert not torch.equal(first, second)
    assert torch.equal(DRAWS["normal"](SeedGenerator(7)), first)


# What is drawn


def test_ranges():
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        values = random.uniform((100_000,), 2.0, 3.0, dtype=dtype)
        assert values.min() >= 2
        assert values.max() < 3
    assert set(random.randint((1000,), -2, 2).tolist()) == {-2, -1, 0, 1}
    values = random.truncated_normal((10_000,), 1.0, 0.5)
    assert values.sub(1).abs().max() <= 1
    assert random.uniform((), 2.0, 2.0) == 2
    assert not random.truncated_normal((3,), stddev=0.0).any()


def test_parameters_that_are_arrays():
    alpha = np.array([[0.1], [100.0]], "float32")
    values = random.gamma((2, 5000), alpha)
    np.testing.assert_allclose(values.mean(1), [0.1, 100.0], rtol=0.15)
    values = random.beta((2, 5000), alpha, 1.0)
    np.testing.assert_allclose(values.mean(1), [0.1 / 1.1, 100 / 101], rtol=0.15)
    values = random.binomial((2, 5000), [[3], [8]], torch.tensor([[0.5], [0.25]]))
    np.testing.assert_allclose(values.mean(1), [1.5, 2.0], rtol=0.1)


def test_categorical_takes_rows_of_log_probabilities():
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]]))
    classes = random.categorical(logits, 20_000)
    for row, chances in zip(classes, logits.exp(), strict=True):
        shares = row.bincount(minlength=3) / len(row)
        np.testing.assert_allclose(shares, chances, atol=0.02)


def test_shuffle_moves_whole_slices():
    for axis in (0, 1, -1):
        shuffled = random.shuffle(X, axis, seed=1)
        assert not torch.equal(shuffled, X)
        assert torch.equal(shuffled.sort(axis).values, X)
        others = shuffled.movedim(axis, 0) - shuffled.movedim(axis, 0)[:, :1]
        assert (others == others[0]).all()


def test_dropout():
    x = torch.ones(50, 40, requires_grad=True)
    for seed in (None, 1):
        out = random.dropout(x, 0.25, seed=seed)
        assert out.unique().tolist() == [0.0, pytest.approx(4 / 3)]
        assert out.mean().item() == pytest.approx(1, abs=0.1)
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert torch.equal(gradient, out)
    assert random.dropout(x, 0.0) is x
    assert not random.dropout(x, 1.0).any()
    assert random.dropout(x.half(), 0.5, seed=1).dtype == torch.float16


def test_dropout_of_whole_rows():
    for noise_shape in ((None, 1), (50, 1), [50, 1]):
        out = random.dropout(torch.ones(50, 40), 0.5, noise_shape=noise_shape)
        assert torch.equal(out, out[:, :1].expand(50, 40))
        assert 0 < out.mean() < 2


def test_symbolic_tensors():
    x = KerasTensor((None, 4, 3))
    assert random.dropout(x, 0.5).shape == (None, 4, 3)
    assert random.dropout(x, 0.5, (None, 1, 3), seed=1).shape == (None, 4, 3)
    assert random.shuffle(x).shape == (None, 4, 3)
    drawn = random.categorical(KerasTensor((None, 7)), 5)
    assert (drawn.shape, drawn.dtype) == ((None, 5), "int32")
    seed = SeedGenerator(1)
    random.dropout(x, 0.5, seed=seed)
    assert seed.state.tolist() == [1, 0]
    assert random.gamma((3, 2), KerasTensor((2,))).shape == (3, 2)


# What is refused

REFUSED = [
    (lambda: random.normal((2,), stddev=-1.0), "normal: `stddev` must be"),
    (lambda: random.normal((2,), dtype="int32"), "normal: `dtype` must be a floating"),
    (lambda: random.normal((2, None)), "normal: `shape` must be a sequence of sizes"),
    (lambda: random.normal(3), "normal: `shape` must be a sequence of sizes"),
    (lambda: random.truncated_normal((2,), stddev=-1.0), "`stddev` must be"),
    (lambda: random.uniform((2,), 1.0, 0.0), "`minval` must be at most `maxval`"),
    (lambda: random.uniform((2,), dtype="int8"), "uniform: `dtype` must be a floating"),
    (lambda: random.randint((2,), 3, 3), "`minval` must be less than `maxval`"),
    (lambda: random.randint((2,), 0, 3, dtype="float32"), "must be an integer dtype"),
    (lambda: random.randint((2,), 0, 2.5), "`maxval` must be an integer"),
    (lambda: random.randint((-2,), 0, 2), "randint: `shape` must be"),
    (lambda: random.gamma((2,), 0.0), "gamma: `alpha` must be positive, got 0.0"),
    (lambda: random.gamma((2,), [1.0, 2.0, 3.0]), "broadcasts to the shape"),
    (lambda: random.beta((2,), 1.0, [-1.0, 1.0]), "beta: `beta` must be positive"),
    (lambda: random.binomial((2,), -1, 0.5), "`counts` must be at least 0"),
    (lambda: random.binomial((2,), 1, 1.5), "`probabilities` must be from 0 to 1"),
    (lambda: random.categorical([0.0, 1.0], 2), "of shape .batch, classes."),
    (lambda: random.categorical([[0.0, 1.0]], 0), "`num_samples` must be"),
    (lambda: random.shuffle(X, 2), "shuffle: `axis` must be an axis of the tensor of"),
    (lambda: random.dropout(X, 1.5), "dropout: `rate` must be"),
    (lambda: random.dropout([1, 2], 0.5), "dropout: `inputs` must be a tensor of real"),
    (lambda: random.dropout(X, 0.5, (3, 1)), "dropout: `noise_shape` must be a shape"),
    (lambda: random.dropout(X, 0.5, (4, 6, None)), "dropout: `noise_shape` must be"),
    (lambda: SeedGenerator("0"), "SeedGenerator: `seed` must be an integer"),
    (lambda: SeedGenerator(SeedGenerator(0)), "SeedGenerator: `seed` must be an"),
]


@pytest.mark.parametrize(("call", "match"), REFUSED)
def test_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_refused_types():
    with pytest.raises(TypeError, match="normal: `mean` must be a finite number"):
        random.normal((2,), mean="0")
    with pytest.raises(TypeError, match=r"unexpected arguments .'sede'."):
        SeedGenerator(sede=1)
