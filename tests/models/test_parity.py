"""Our networks compute what PyTorch's do: values and gradients against tests/goldens/networks.npz.

The file is written by tests/goldens/make_networks.py, which needs PyTorch; this test does not.
Weights come in PyTorch's layout and go through the product's own import where it has one. The
networks of CUT are compared with features at every kind of tap, R3GAN's discriminators in their R1
penalty too, so their gradients are second derivatives. What has no true gradient, a bias before
instance norm, is not compared.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from retrojax.inference.torch_layout import (
    from_torch,
    heads_from_torch,
    heads_to_torch,
    to_torch,
)
from retrojax.losses import patch_nce, zero_centred_penalty
from retrojax.models import (
    DISCRIMINATORS,
    GENERATORS,
    PatchSampleF,
    R3GANDiscriminator,
    R3GANGenerator,
    SinCUTDiscriminator,
    SinCUTGenerator,
)
from tests.goldens.layout import ported
from tests.goldens.recipe import digest, values, weight

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "networks.npz")
MANIFEST = json.loads(str(GOLDENS["manifest"]))
TAPS = {
    "cut": (0, 4, 8, 12, 13),
    "cut-plain": (0, 4, 8, 10, 11),
    "cut-plain-down": (5, 10, 11),
    "cut-plain-up": (7, 11, 12),
}
INDICES = (jnp.asarray([5, 0, 17, 41]), jnp.asarray([3, 2, 19, 11, 7]))


def expected(name):
    """Name of each digest -> digest."""
    sizes = MANIFEST[name]["digests"]
    parts = np.split(GOLDENS[name], np.cumsum(list(sizes.values()))[:-1])
    return dict(zip(sizes, parts, strict=True))


def state_of(name):
    """The network's weights, in PyTorch's layout under PyTorch's names."""
    unit = name.startswith(("r3gan", "sincut"))
    return {
        key: weight(f"{name}.{key}", tuple(shape), unit=unit)
        for key, shape in MANIFEST[name]["state"].items()
    }


def ours(array):
    """NCHW -> NHWC."""
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def theirs(array):
    """NHWC -> NCHW."""
    return jnp.moveaxis(array, -1, 1) if array.ndim == 4 else array


def inputs_of(name):
    shapes = MANIFEST[name]["inputs"]
    return [jnp.asarray(ours(values(f"{name}.input.{i}", tuple(s)))) for i, s in enumerate(shapes)]


R3GAN = {"widths": (16, 16, 8), "group_channels": 4, "blocks": 1}
LABELS = jnp.asarray([3, 1])
OTHERS = {
    "r3gan-generator": R3GANGenerator(**R3GAN, latent_size=6),
    "r3gan-classes-generator": R3GANGenerator(**R3GAN, latent_size=6, classes=5),
    "r3gan-discriminator": R3GANDiscriminator(**R3GAN),
    "r3gan-classes-discriminator": R3GANDiscriminator(**R3GAN, classes=5),
    "sincut-generator": SinCUTGenerator(features=4, blocks=1),
    "sincut-discriminator": SinCUTDiscriminator(widths=(4, 6, 8)),
}


def network(name):
    """Variables, a function of them and the inputs to (outputs, statistics), and the way back."""
    if name.startswith("patch-nce"):
        loss = lambda _, q, k: ((patch_nce(q, k, all_negatives=name.endswith("all")),), {})  # noqa: E731
        return {"params": {}}, loss, lambda variables: {}
    if name == "patch-sample":
        heads = PatchSampleF(features=16)
        run = lambda v, *features: (heads.apply(v, features, INDICES), {})  # noqa: E731
        return heads_from_torch(state_of(name)), run, heads_to_torch
    if name in OTHERS:
        module = OTHERS[name]
        variables, back = ported(name, state_of(name))

        def run(variables, x):
            if name == "sincut-generator":
                noise = jnp.asarray(ours(values(f"{name}.noise", (2, 1, 12, 16))))
                image, features = module.apply(variables, x, noise, taps=(0, 2, 3))
                return (image, *features), {}
            labels = (LABELS,) if getattr(module, "classes", 0) else ()
            judge = lambda x: module.apply(variables, x, *labels)  # noqa: E731
            if name.startswith("r3gan") and name.endswith("discriminator"):
                return (judge(x), zero_centred_penalty(judge, x)), {}
            return (judge(x),), {}

        return variables, run, back
    imported = from_torch(state_of(name), dropout=False if name.startswith("unet") else None)
    module = {**GENERATORS, **DISCRIMINATORS}[imported.name](**imported.options)
    options = {"train": not name.endswith("eval"), "mutable": ["batch_stats"]}
    options |= {"taps": TAPS[name]} if name in TAPS else {}

    def run(variables, x):
        out, moved = module.apply(variables, x, **options)
        return (out[0], *out[1]) if name in TAPS else (out,), moved

    return imported.variables, run, lambda variables: to_torch(module, variables)


@functools.cache
def computed(name):
    """Name of each digest -> our array, in PyTorch's layout."""
    variables, run, back = network(name)
    inputs = inputs_of(name)

    def scalar(params, inputs):
        outputs, moved = run(variables | {"params": params}, *inputs)
        outputs = [theirs(out) for out in outputs]
        total = jnp.zeros(())
        for i, out in enumerate(outputs):
            total += (out * values(f"{name}.cotangent.{i}", out.shape)).sum()
        return total, (outputs, moved)

    if any(key.startswith("gradient") for key in expected(name)) or not variables["params"]:
        slope = jax.jit(jax.grad(scalar, (0, 1), has_aux=True))
        (gradients, by_input), (outputs, moved) = slope(variables["params"], inputs)
    else:
        gradients, by_input = variables["params"], []
        outputs, moved = jax.jit(scalar)(variables["params"], inputs)[1]
    found = {f"output/{i}": out for i, out in enumerate(outputs)}
    found |= {f"input/{i}": theirs(x) for i, x in enumerate(by_input)}
    statistics = dict(moved).get("batch_stats", {})
    given = {"params": gradients} | ({"batch_stats": statistics} if statistics else {})
    for key, array in back(jax.device_get(given)).items():
        found[f"{'after' if 'running' in key else 'gradient'}/{key}"] = array
    return {key: np.asarray(found[key]) for key in expected(name)}


@pytest.mark.parametrize("name", MANIFEST)
def test_values_and_gradients_are_pytorchs(name):
    """Measured: 2e-6 for outputs, 9e-6 for gradients, by the largest element of each tensor."""
    for key, wanted in expected(name).items():
        if key.endswith("running_var"):
            continue  # The next test's.
        error = np.abs(digest(computed(name)[key]) - wanted).max() / np.abs(wanted).max()
        limit = 1e-4 if key.startswith(("output", "after")) else 1e-3
        assert error < limit, f"{name} {key}: {error}"


@pytest.mark.parametrize(
    ("name", "layer", "count"),
    [
        ("pixelgan-batch", "net.3", 2 * 8 * 9),
        ("patchgan-batch-train", "model.3", 2 * 5 * 6),
        ("patchgan-batch-train", "model.6", 2 * 4 * 5),
    ],
)
def test_running_variances_move_to_the_biased_variance_and_pytorchs_to_the_unbiased(
    name, layer, count
):
    """Of n = batch * height * width values: PyTorch's step is n / (n - 1) times ours."""
    key = f"{layer}.running_var"
    kept = 0.9 * state_of(name)[key]
    theirs_moved = expected(name)[f"after/{key}"] - kept
    ours_moved = computed(name)[f"after/{key}"] - kept
    np.testing.assert_allclose(theirs_moved, ours_moved * count / (count - 1), rtol=1e-4)
