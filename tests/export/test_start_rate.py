"""Rows that begin with what is known learn at a share of the rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from micro_yolo.model.build import shares_of
from micro_yolo.model.keras import keras, tf
from micro_yolo.pipeline.learn.optimizer import make_optimizer
from micro_yolo.pipeline.learn.recipe import Recipe

pytestmark = pytest.mark.slow
STEPS = 4


def model() -> keras.Model:
    layers = keras.layers
    with_weights = [
        layers.Conv2D(3, 1, name="b1_conv"),
        layers.BatchNormalization(name="b1_bn"),
        layers.Conv2D(2, 1, name="b10_conv"),
    ]
    made = keras.Sequential([keras.Input((4, 4, 2)), *with_weights])
    rng = np.random.default_rng(0)
    made.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in made.get_weights()])
    return made


def recipe(optimizer: str) -> Recipe:
    return Recipe(epochs=2, optimizer=optimizer, learning_rate=0.01, weight_decay=0.5, warmup_epochs=0.5)


def stepped(optimizer: keras.optimizers.Optimizer, of: keras.Model, steps: int, rng: np.random.Generator) -> None:
    for _ in range(steps):
        found = [tf.constant(rng.normal(size=v.shape), tf.float32) for v in of.trainable_variables]
        optimizer.apply_gradients(zip(found, of.trainable_variables, strict=True))


def moved(shares: list[float] | None, kind: str, steps: int = 1) -> list[np.ndarray]:
    its = model()
    before = [v.numpy() for v in its.trainable_variables]
    stepped(make_optimizer(recipe(kind), its.trainable_variables, STEPS, shares), its, steps, np.random.default_rng(1))
    return [v.numpy() - was for v, was in zip(its.trainable_variables, before, strict=True)]


def test_a_row_is_found_by_its_whole_name() -> None:
    its = model()
    assert shares_of(its, its.trainable_variables, ("b1",), 0.3) == [0.3] * 4 + [1.0] * 2
    assert shares_of(its, its.trainable_variables, ("b10", "b2"), 0.3) == [1.0] * 4 + [0.3] * 2
    assert shares_of(its, its.trainable_variables, (), 0.3) == [1.0] * 6


def test_a_step_in_one_operation_is_that_of_keras() -> None:
    its = model()
    before = [v.numpy() for v in its.trainable_variables]
    optimizer = make_optimizer(recipe("adamw"), its.trainable_variables, STEPS)
    stock = keras.optimizers.AdamW.from_config(optimizer.get_config())
    stock.exclude_from_weight_decay([v for v in its.trainable_variables if len(v.shape) != 4])
    stepped(stock, its, 5, np.random.default_rng(1))
    theirs = [v.numpy() - was for v, was in zip(its.trainable_variables, before, strict=True)]
    for one, other in zip(moved(None, "adamw", 5), theirs, strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_with_all_of_it_the_steps_are_the_optimizers_own(kind: str) -> None:
    for one, other in zip(moved(None, kind, 5), moved([1.0] * 6, kind, 5), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_share_of_the_rate_is_a_share_of_the_way_decay_included(kind: str) -> None:
    shares = [0.25] * 4 + [1.0] * 2
    # The first step of the warm-up is by a rate of 0: of two, the first moves nothing.
    whole, some = moved(None, kind, 2), moved(shares, kind, 2)
    assert all(np.abs(way).max() > 1e-4 for way in whole)
    for share, one, other in zip(shares, whole, some, strict=True):
        np.testing.assert_allclose(share * one, other, rtol=1e-3, atol=1e-6)


@pytest.fixture
def half_precision() -> Iterator[None]:
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy(policy)


def test_it_goes_with_scaled_losses(half_precision: None) -> None:
    whole, some = moved(None, "adamw", 2), moved([0.25] * 4 + [1.0] * 2, "adamw", 2)
    for share, one, other in zip([0.25] * 4 + [1.0] * 2, whole, some, strict=True):
        np.testing.assert_allclose(share * one, other, rtol=1e-3, atol=1e-6)


def test_a_checkpoint_knows_what_goes_slower(tmp_path: Path) -> None:
    def begun(shares: list[float]) -> tuple[keras.Model, keras.optimizers.Optimizer, tf.train.Checkpoint]:
        its = model()
        optimizer = make_optimizer(recipe("adamw"), its.trainable_variables, STEPS, shares)
        return its, optimizer, tf.train.Checkpoint(model=its, optimizer=optimizer)

    rng, again = np.random.default_rng(2), np.random.default_rng(2)
    whole, optimizer, _ = begun([0.25] * 4 + [1.0] * 2)
    stepped(optimizer, whole, 5, rng)
    half, optimizer, checkpoint = begun([0.25] * 4 + [1.0] * 2)
    stepped(optimizer, half, 3, again)
    saved = checkpoint.save(str(tmp_path / "saved"))
    rest, optimizer, checkpoint = begun([1.0] * 6)
    checkpoint.restore(saved).assert_existing_objects_matched()
    stepped(optimizer, rest, 2, again)
    for one, other in zip(whole.get_weights(), rest.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_two_devices_go_the_same_way() -> None:
    found = []
    for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0"])):
        with strategy.scope():
            its = model()
            optimizer = make_optimizer(recipe("adamw"), its.trainable_variables, STEPS, [0.25] * 4 + [1.0] * 2)

        @tf.function(autograph=False)
        def step(its: keras.Model = its, optimizer: keras.optimizers.Optimizer = optimizer) -> None:
            gradients = [tf.ones(v.shape) for v in its.trainable_variables]
            optimizer.apply_gradients(zip(gradients, its.trainable_variables, strict=True))

        for _ in range(3):
            strategy.run(step)
        found.append(its.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
