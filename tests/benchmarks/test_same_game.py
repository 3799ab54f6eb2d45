"""Systems that are compared play the same game: equal losses from equal weights, step by step."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import linen as nn

from benchmarks.comparison import agree
from benchmarks.contender import ProductContender
from benchmarks.games import CHECKED_STEPS, GAMES, game
from benchmarks.handover import Handover, load, save
from benchmarks.idiomatic_flax import FlaxContender, stock_layers
from benchmarks.prepared import build
from retrojax.models.layers import Conv, ConvTranspose
from retrojax.models.look import RadialConv

TINY = {
    "document": {"size": 16, "batch_size": 2},
    "dcgan64": {"features": 4, "batch_size": 2},
    "pix2pix": {"size": 32, "features": 4, "batch_size": 2},
    "cyclegan": {"size": 32, "features": 4, "blocks": 1},
    "look": {"size": 16, "batch_size": 2},
}


@pytest.fixture(scope="module")
def torch():
    """PyTorch, on one thread; asked for before the product compiles anything for it."""
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="module", params=TINY)
def handed_over(request, tmp_path_factory):
    """A model's options, its file, and the product's losses."""
    options = {"model": request.param, **TINY[request.param]}
    product = ProductContender(**options)
    file = str(tmp_path_factory.mktemp("handover") / f"{request.param}.npz")
    product.hand_over(file)
    return options, file, product.losses()


def test_every_game_has_a_tiny_form():
    assert set(TINY) == set(GAMES)


def test_pytorch_plays_the_products_game(torch, handed_over):
    from benchmarks.torch_reference import TorchContender

    options, file, expected = handed_over
    contender = TorchContender(**options)
    contender.load(file)
    worst = agree("torch", contender.losses(), expected)
    assert worst["steps"] == CHECKED_STEPS
    # A thousandth is for large networks; these leave no room for another formula.
    assert worst["difference"] < 1e-4

    contender.compile()
    for _ in range(2):
        found = contender.round(steps=2, warmup=1)
        assert found["finite"] and found["seconds"] > 0
    json.dumps(contender.facts())


@pytest.mark.parametrize(
    "timed", [lambda contender: contender.compile(), lambda contender: contender.train(steps=1)]
)
def test_every_timed_step_of_pytorch_may_compute_as_jax_does(torch, timed, monkeypatch):
    from benchmarks import torch_reference

    allowed = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    found = []

    class Step:
        batches = [{}]

        def __init__(self, *arguments):
            cudnn = torch.backends.cudnn
            found.append((torch.get_float32_matmul_precision(), cudnn.benchmark, cudnn.allow_tf32))

        def step(self, batch):
            assert found

    monkeypatch.setattr(torch_reference, "JointStep", Step)
    contender = torch_reference.TorchContender(model="look")
    contender.handover = None
    try:
        torch.set_float32_matmul_precision("highest")
        timed(contender)
    finally:
        torch.set_float32_matmul_precision(allowed)
    assert found == [("high", True, True)]


def test_the_norm_of_one_image_has_the_right_gradient_in_channels_last(torch):
    """PyTorch 2.14's own does not, on a CPU: CycleGAN with a batch of one was another game."""
    from benchmarks.torch_networks import instance_norm

    for batch in (1, 2):
        x, g = torch.randn(2, batch, 4, 6, 5)
        found = []
        for dtype, order in (
            (torch.float64, torch.contiguous_format),
            (torch.float32, torch.channels_last),
        ):
            given = x.to(dtype, memory_format=order).requires_grad_()
            result = instance_norm(given)
            found.append(torch.autograd.grad(result, given, g.to(dtype, memory_format=order))[0])
        torch.testing.assert_close(found[1].double(), found[0], rtol=1e-4, atol=1e-5)


def test_the_hand_over_is_read_as_it_was_written(tmp_path):
    params = {"conv": {"kernel": np.ones((3, 3, 1, 2), np.float32)}}
    batches = [{"real": np.full((1, 2, 2, 3), i, np.float32)} for i in range(3)]
    draws = [{"latent": np.float32([[i]])} for i in range(3)]
    settings = {"task": {"weight": 0.5}, "generator": {"norm": "batch"}, "discriminator": {}}
    for drawn in (draws, [{}] * 3):
        written = Handover(settings, {"params": params}, {"params": params}, batches, drawn)
        save(tmp_path / "game.npz", written)
        read = load(tmp_path / "game.npz")
        assert read.settings == settings
        assert jax.tree.structure(read) == jax.tree.structure(written)
        jax.tree.map(np.testing.assert_array_equal, read[1:], written[1:])


@pytest.mark.slow
def test_stock_flax_plays_the_products_game(handed_over):
    options, file, expected = handed_over
    contender = FlaxContender(**options)
    contender.load(file)
    assert agree("flax", contender.losses(), expected)["difference"] < 1e-4


@pytest.mark.parametrize(
    "layer",
    [
        Conv(5, 4, 2, 1),
        Conv(5, 5, 2, "same", use_bias=False),
        Conv(5, 3, 1, "valid"),
        Conv(5, 3, 1, ((1, 0), (2, 1))),
        ConvTranspose(5, 5, 2, "same"),
        ConvTranspose(5, 4, 1, 0, use_bias=False),
        ConvTranspose(5, 3, 2, ((1, 0), (1, 0))),
        RadialConv(5, 5),
    ],
    ids=lambda layer: f"{type(layer).__name__} {getattr(layer, 'padding', 'wrapped')}",
)
def test_a_stock_layer_computes_what_the_products_layer_does(layer):
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layer.copy(name="layer")(x)

    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    network = Network()
    variables = network.init(jax.random.key(1), x)
    ours = network.apply(variables, x)
    called = []

    def watched(call, args, kwargs, context):
        result = stock_layers(call, args, kwargs, context)
        called.append(type(context.module))
        return result

    with nn.intercept_methods(watched):
        theirs = network.apply(variables, x)
    assert type(layer) in called
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_without_dropout_nothing_else_changes():
    for model, options in TINY.items():
        played = game(model, **options)
        wet, dry = build(played), build(replace(played, drops=False))
        assert played.checked.config.learning_rate == pytest.approx(
            played.config.learning_rate / 10
        )
        for name in ("generator", "discriminator"):
            network = getattr(wet, name)
            rate = {"dropout": 0.0} if hasattr(network, "dropout") else {}
            assert getattr(dry, name) == network.clone(**rate)


def test_weights_of_another_network_are_refused(torch):
    from benchmarks.torch_networks import DCGANDiscriminator
    from benchmarks.torch_weights import give_weights

    with pytest.raises(RuntimeError, match="conv_0.weight"):
        give_weights(DCGANDiscriminator(4), {"params": {}}, mirrored=False)
