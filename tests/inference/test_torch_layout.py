"""State dictionaries of PyTorch's originals against our networks.

The keys are written out from the originals' own numbering, by place; the product counts them off.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from retrojax.inference.bundle import load_bundle, save_bundle
from retrojax.inference.shapes import variable_shapes
from retrojax.inference.torch_detect import detect
from retrojax.inference.torch_layout import from_torch, heads_from_torch, heads_to_torch, to_torch
from retrojax.models import DISCRIMINATORS, GENERATORS, LookGenerator, PatchDiscriminator

MODULES = {**GENERATORS, **DISCRIMINATORS}


class Keys:
    """Collects tensors under the originals' rule: what follows `norm` has a bias or not."""

    def __init__(self, norm, seed=0):
        self.norm, self.state, self.draw = norm, {}, np.random.default_rng(seed)

    def add(self, key, *shape):
        # Kernels that keep their input's size: without a norm, tanh would cut off what is larger.
        spread = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) == 4 else 0.3
        self.state[key] = self.draw.normal(0, spread, shape).astype(np.float32)

    def conv(self, place, out, inside, side, *, bias=None, transposed=False):
        shape = (inside, out) if transposed else (out, inside)
        self.add(f"{place}.weight", *shape, side, side)
        if self.norm == "instance" if bias is None else bias:
            self.add(f"{place}.bias", out)

    def normed(self, place, channels):
        if self.norm == "batch":
            self.add(f"{place}.weight", channels)
            self.add(f"{place}.bias", channels)
            self.add(f"{place}.running_mean", channels)
            self.add(f"{place}.running_var", channels)
            self.state[f"{place}.running_var"] = 0.5 + abs(self.state[f"{place}.running_var"])
            self.state[f"{place}.num_batches_tracked"] = np.zeros((), np.int64)

    def filtered(self, place, channels, taps):
        weights = np.outer(taps, taps).astype(np.float32) / 16
        self.state[f"{place}.filt"] = np.tile(weights, (channels, 1, 1, 1))


def resnet(ngf, blocks, norm, dropout=False, down=False, up=False, inside=3):
    """`down`, `up`: CUT's filters. Each row of the places below is one form of the original."""
    keys, n = Keys(norm), blocks
    places = {
        (False, False): (4, 7, 10, 10 + n, 13 + n, 17 + n),
        (True, True): (4, 8, 12, 13 + n, 17 + n, 21 + n),
        (False, True): (4, 7, 10, 11 + n, 15 + n, 19 + n),
        (True, False): (4, 8, 12, 12 + n, 15 + n, 19 + n),
    }
    down_0, down_1, first, up_0, up_1, last = places[down, up]
    keys.conv("model.1", ngf, inside, 7)
    keys.normed("model.2", ngf)
    for place, width in ((down_0, 2 * ngf), (down_1, 4 * ngf)):
        keys.conv(f"model.{place}", width, width // 2, 3)
        keys.normed(f"model.{place + 1}", width)
        if down:
            keys.filtered(f"model.{place + 3}", width, (1, 2, 1))
    for block in range(first, first + n):
        for conv in (1, 6 if dropout else 5):
            keys.conv(f"model.{block}.conv_block.{conv}", 4 * ngf, 4 * ngf, 3)
            keys.normed(f"model.{block}.conv_block.{conv + 1}", 4 * ngf)
    for place, width in ((up_0, 2 * ngf), (up_1, ngf)):
        if up:
            keys.filtered(f"model.{place - 1}", 2 * width, (1, 3, 3, 1))
        keys.conv(f"model.{place}", width, 2 * width, 3, transposed=not up)
        keys.normed(f"model.{place + 1}", width)
    keys.conv(f"model.{last}", 3, ngf, 7, bias=True)
    return keys.state


def unet(ngf, levels, norm):
    keys = Keys(norm)
    widths = [ngf * min(2**level, 8) for level in range(levels)]
    keys.conv("model.model.0", ngf, 3, 4)
    keys.conv("model.model.3", 3, 2 * ngf, 4, bias=True, transposed=True)
    for level in range(2, levels + 1):
        prefix = "model.model.1.model" + ".3.model" * (level - 2)
        width, above = widths[level - 1], widths[level - 2]
        keys.conv(f"{prefix}.1", width, above, 4)
        if level < levels:
            keys.normed(f"{prefix}.2", width)
            keys.conv(f"{prefix}.5", above, 2 * width, 4, transposed=True)
            keys.normed(f"{prefix}.6", above)
        else:
            keys.conv(f"{prefix}.3", above, width, 4, transposed=True)
            keys.normed(f"{prefix}.4", above)
    return keys.state


def patchgan(ndf, layers, norm, inside=3, antialias=False):
    keys, n = Keys(norm), layers
    step = 4 if antialias else 3
    keys.conv("model.0", ndf, inside, 4, bias=True)
    if antialias:
        keys.filtered("model.2", ndf, (1, 2, 1))
    width = ndf
    for k in range(1, n + 1):
        above, width = width, ndf * min(2**k, 8)
        keys.conv(f"model.{step * k - 1}", width, above, 4)
        keys.normed(f"model.{step * k}", width)
        if antialias and k < n:
            keys.filtered(f"model.{4 * k + 2}", width, (1, 2, 1))
    keys.conv(f"model.{step * n + 2}", 1, width, 4, bias=True)
    return keys.state


def pixelgan(ndf, norm, inside=3):
    keys = Keys(norm)
    keys.conv("net.0", ndf, inside, 1, bias=True)
    keys.conv("net.2", 2 * ndf, ndf, 1)
    keys.normed("net.3", 2 * ndf)
    keys.conv("net.5", 1, 2 * ndf, 1)
    return keys.state


def resnet_fields(ngf, blocks, norm, dropout=False, down=False, up=False, inside=3):
    return {
        "features": ngf,
        "blocks": blocks,
        "norm": norm,
        "dropout": 0.5 if dropout else 0.0,
        "antialias_down": down,
        "antialias_up": up,
        "noise_channels": inside - 3,
    }


CASES = {
    **{
        f"resnet {norm}{' dropout' if dropout else ''}": (
            "resnet",
            resnet(4, 2, norm, dropout),
            resnet_fields(4, 2, norm, dropout),
        )
        for norm in ("instance", "batch", "none")
        for dropout in (False, True)
    },
    **{
        f"resnet down={down} up={up} {norm}": (
            "resnet",
            resnet(2, 3, norm, False, down, up),
            resnet_fields(2, 3, norm, False, down, up),
        )
        for down, up in ((True, True), (False, True), (True, False))
        for norm in ("instance", "batch")
    },
    **{
        f"unet {levels} {norm}": (
            "unet",
            unet(2, levels, norm),
            {"features": 2, "levels": levels, "norm": norm, "dropout": 0.5, "noise_channels": 0},
        )
        for levels, norm in ((2, "batch"), (5, "instance"), (6, "batch"), (3, "none"))
    },
    **{
        f"patchgan {layers} {norm} antialias={antialias}": (
            "patchgan",
            patchgan(2, layers, norm, inside, antialias),
            {"features": 2, "layers": layers, "norm": norm, "antialias": antialias},
        )
        for layers, inside in ((1, 3), (3, 6), (5, 3))
        for norm, antialias in (("instance", False), ("batch", False), ("instance", True))
    },
    "patchgan none": (
        "patchgan",
        patchgan(2, 3, "none"),
        {"features": 2, "layers": 3, "norm": "none", "antialias": False},
    ),
    **{
        f"pixelgan {norm}": ("pixelgan", pixelgan(4, norm, 6), {"features": 4, "norm": norm})
        for norm in ("instance", "batch", "none")
    },
}
each_case = pytest.mark.parametrize(("name", "state", "fields"), CASES.values(), ids=CASES)


@each_case
def test_the_architecture_is_detected_and_every_variable_is_filled(name, state, fields):
    found = from_torch(state)
    assert (found.name, dict(found.options)) == (name, fields)
    flat = flatten_dict(found.variables, sep="/")
    channels = detect(state).channels
    shapes = variable_shapes(MODULES[name](**fields), channels=channels)
    assert {k: v.shape for k, v in flat.items()} == {k: v.shape for k, v in shapes.items()}
    counted = sum(v.size for k, v in state.items() if not k.endswith(("filt", "_tracked")))
    assert sum(leaf.size for leaf in flat.values()) == counted


@each_case
def test_the_way_back_is_the_same_state_dictionary_bit_for_bit(name, state, fields):
    back = to_torch(MODULES[name](**fields), from_torch(state).variables)
    assert list(back) == list(back | state) and set(back) == set(state)
    for key, array in state.items():
        assert back[key].dtype == array.dtype, key
        assert np.array_equal(back[key], array), key


def test_kernels_are_transposed_and_statistics_kept():
    state = resnet(4, 2, "batch")
    variables = from_torch(state).variables
    y, x, i, o = 1, 2, 3, 5
    weight, kernel = state["model.4.weight"], variables["params"]["down_0"]["kernel"]
    assert kernel[y, x, i, o] == weight[o, i, y, x]
    weight, kernel = state["model.12.weight"], variables["params"]["up_0"]["kernel"]
    assert kernel[y, x, o, i] == weight[i, o, y, x]
    stats = variables["batch_stats"]["block_1_norm_1"]
    assert np.array_equal(stats["mean"], state["model.11.conv_block.6.running_mean"])
    assert np.array_equal(stats["var"], state["model.11.conv_block.6.running_var"])


def test_what_says_nothing_is_ignored():
    state = resnet(2, 2, "instance", False, True, True)
    plain = from_torch(state)
    noisy = {f"module.{key}": array for key, array in state.items() if "filt" not in key}
    for norm in ("model.2", "model.12.conv_block.6"):
        noisy[f"module.{norm}.running_mean"] = np.ones(2, np.float32)
        noisy[f"module.{norm}.running_var"] = np.ones(2, np.float32)
        noisy[f"module.{norm}.num_batches_tracked"] = np.ones((), np.float32)
    again = from_torch(noisy)
    assert (again.name, again.options) == (plain.name, plain.options)
    first, second = (flatten_dict(found.variables) for found in (plain, again))
    assert all(np.array_equal(first[key], second[key]) for key in first | second)


def test_flags_say_what_keys_do_not():
    state = unet(2, 3, "batch")
    assert from_torch(state).options["dropout"] == 0.5
    assert from_torch(state, dropout=False).options["dropout"] == 0.0
    noisy = from_torch(resnet(2, 1, "instance", inside=5), noise_channels=2)
    assert noisy.options["noise_channels"] == 2
    # Convolutions without a bias: no norm by the originals' rule, or a fork's instance norm.
    bare = resnet(2, 1, "none")
    assert from_torch(bare).options["norm"] == "none"
    found = from_torch(bare, norm="instance")
    assert found.options["norm"] == "instance"
    assert not found.variables["params"]["stem"]["bias"].any()
    assert from_torch(bare, architecture="resnet").name == "resnet"


def without(state, key):
    return {k: v for k, v in state.items() if k != key}


RESNET, UNET = resnet(2, 2, "instance"), unet(2, 3, "batch")


@pytest.mark.parametrize(
    ("state", "flags", "message"),
    [
        (
            without(RESNET, "model.19.bias"),
            {},
            r"looks like resnet .*blocks=2.*lacks model\.19\.bias;",
        ),
        (
            without(RESNET, "model.10.conv_block.5.weight"),
            {},
            r"lacks model\.10\.conv_block\.5\.we",
        ),
        (without(RESNET, "model.1.weight"), {}, r"lacks the convolution model\.1\.weight"),
        (without(UNET, "model.model.3.weight"), {}, "lacks .*model"),
        (
            {**RESNET, "model.30.weight": np.zeros(3), "extra": np.zeros(1)},
            {},
            r"lacks .* and has extra.*for which there is no place",
        ),
        (
            {**RESNET, "extra": np.zeros(1)},
            {},
            "has extra, for which there is no place; only the net",
        ),
        (RESNET, {"architecture": "unet"}, "those of resnet, not unet; give --architecture resnet"),
        (RESNET, {"norm": "none"}, r"norm=none.*has model\.1\.bias"),
        (RESNET, {"norm": "batch"}, r"norm=batch.*lacks .*model\.1.*\d more"),
        (RESNET, {"norm": "layer"}, "unknown norm 'layer'"),
        (RESNET, {"dropout": True}, "this resnet show no dropout; leave --dropout out"),
        (RESNET, {"noise_channels": 1}, "takes 3 channels, not a photograph's 3 and 1 of noise"),
        (resnet(2, 1, "instance", inside=1), {}, "takes 1 channels.*colour photographs"),
        (patchgan(2, 2, "batch"), {"noise_channels": 1}, "a patchgan takes no noise"),
        (
            {**RESNET, "model.4.weight": np.zeros((4, 2, 5, 5), np.float32)},
            {},
            r"model\.4\.weight has shape \(4, 2, 5, 5\), resnet .* needs \(4, 2, 3, 3\)",
        ),
        ({**RESNET, "model.4.bias": np.full(4, np.nan)}, {}, r"model\.4\.bias holds NaN or inf"),
        (
            {"conv1.weight": np.zeros((2, 2, 3, 3))},
            {},
            "conv1.weight belong to none of resnet, unet",
        ),
        ({"mlp_0.0.weight": np.zeros((4, 3))}, {}, r"PatchSampleF.*give latest_net_G\.pth"),
        ({"a\nb" * 50: np.zeros(2)}, {}, "belong to none"),
        (unet(1, 13, "none"), {}, "U-Net of 13 levels; 2 to 12"),
        ({"model.0.weight": np.zeros((2, 3, 4, 4))}, {}, "PatchGAN of -1 layers"),
        ({"model.10.conv_block.1.weight": np.zeros(3)}, {}, "lacks the convolution"),
    ],
)
def test_what_does_not_fit_names_its_keys(state, flags, message):
    with pytest.raises(ValueError, match=message) as caught:
        from_torch(state, **flags)
    assert "\n" not in str(caught.value)


def test_networks_without_a_counterpart_are_not_exported():
    with pytest.raises(
        ValueError, match="LookGenerator has no counterpart.*only resnet, unet, pat"
    ):
        to_torch(LookGenerator(), {})
    for module in (PatchDiscriminator(kernel_size=3), PatchDiscriminator(detail=2.0)):
        with pytest.raises(
            ValueError, match="original PatchGAN has kernels of 4.*cannot be exported"
        ):
            to_torch(module, {})


def test_projection_heads_go_there_and_back():
    keys = Keys("instance")
    for head, channels in enumerate((3, 8)):
        keys.add(f"mlp_{head}.0.weight", 5, channels)
        keys.add(f"mlp_{head}.0.bias", 5)
        keys.add(f"mlp_{head}.2.weight", 5, 5)
        keys.add(f"mlp_{head}.2.bias", 5)
    variables = heads_from_torch(keys.state)
    assert variables["params"]["mlp_1_0"]["kernel"].shape == (8, 5)
    back = heads_to_torch(variables)
    assert set(back) == set(keys.state)
    assert all(np.array_equal(back[key], keys.state[key]) for key in back)
    with pytest.raises(ValueError, match=r"net\.0\.weight is no layer.*latest_net_F"):
        heads_from_torch(pixelgan(2, "none"))


@pytest.mark.parametrize("name", ["patchgan 3 batch antialias=False", "pixelgan instance"])
def test_a_discriminator_is_a_bundle_too(name, tmp_path):
    kind, state, fields = CASES[name]
    save_bundle(
        tmp_path / "d",
        variables=from_torch(state).variables,
        generator_name=kind,
        generator_options=fields,
        about={},
    )
    loaded = load_bundle(tmp_path / "d")
    judged = loaded.module.apply(loaded.variables, jnp.zeros((1, 64, 64, 6)))
    assert judged.shape[0] == 1 and np.isfinite(judged).all()


def reference(name, fields, inside):
    """The original, from PyTorch's own layers, in evaluation mode."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Named(nn.Module):
        def __init__(self, attribute, layers):
            super().__init__()
            setattr(self, attribute, nn.Sequential(*layers))
            self.attribute = attribute

        def forward(self, x):
            return getattr(self, self.attribute)(x)

    class Residual(Named):
        def forward(self, x):
            return x + super().forward(x)

    class Skip(Named):
        def forward(self, x):
            return torch.cat([x, super().forward(x)], 1)

    class Down(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.register_buffer("filt", torch.empty(channels, 1, 3, 3))

        def forward(self, x):
            x = nn.functional.pad(x, (1, 1, 1, 1), "reflect")
            return nn.functional.conv2d(x, self.filt, stride=2, groups=x.shape[1])

    class Up(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.register_buffer("filt", torch.empty(channels, 1, 4, 4))

        def forward(self, x):
            return nn.functional.interpolate(x, scale_factor=2, mode="bilinear")

    biased = fields["norm"] == "instance"
    norms = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d, "none": nn.Identity}
    normed = norms[fields["norm"]]

    def conv(inside, out, side, stride=1, pad=0, bias=biased):
        return nn.Conv2d(inside, out, side, stride, pad, bias=bias)

    def up_conv(inside, out, side, pad, extra=0, bias=biased):
        return nn.ConvTranspose2d(inside, out, side, 2, pad, extra, bias=bias)

    relu, leaky, f = nn.ReLU, lambda: nn.LeakyReLU(0.2), fields["features"]
    if name == "resnet":
        down, up = fields["antialias_down"], fields["antialias_up"]
        layers = [nn.ReflectionPad2d(3), conv(inside, f, 7), normed(f), relu()]
        for width in (2 * f, 4 * f):
            layers += [conv(width // 2, width, 3, 1 if down else 2, 1), normed(width), relu()]
            layers += [Down(width)] if down else []
        for _ in range(fields["blocks"]):
            half = [nn.ReflectionPad2d(1), conv(4 * f, 4 * f, 3), normed(4 * f)]
            again = [nn.ReflectionPad2d(1), conv(4 * f, 4 * f, 3), normed(4 * f)]
            dropout = [nn.Dropout(0.5)] if fields["dropout"] else []
            layers.append(Residual("conv_block", [*half, relu(), *dropout, *again]))
        for width in (2 * f, f):
            change = [Up(2 * width), conv(2 * width, width, 3, 1, 1)]
            layers += change if up else [up_conv(2 * width, width, 3, 1, 1)]
            layers += [normed(width), relu()]
        layers += [nn.ReflectionPad2d(3), conv(f, 3, 7, bias=True), nn.Tanh()]
        return Named("model", layers).eval()
    if name == "unet":
        widths = [f * min(2**level, 8) for level in range(fields["levels"])]
        inner = None
        for level in range(fields["levels"], 1, -1):
            width, above = widths[level - 1], widths[level - 2]
            down = [leaky(), conv(above, width, 4, 2, 1)]
            if inner is None:
                layers = [*down, relu(), up_conv(width, above, 4, 1), normed(above)]
            else:
                up = [relu(), up_conv(2 * width, above, 4, 1), normed(above)]
                layers = [*down, normed(width), inner, *up]
            inner = Skip("model", layers)
        last = [relu(), up_conv(2 * f, 3, 4, 1, bias=True), nn.Tanh()]
        outer = Named("model", [conv(inside, f, 4, 2, 1), inner, *last])
        whole = nn.Module()
        whole.model = outer
        whole.forward = outer.forward
        return whole.eval()
    if name == "patchgan":
        blurred, width = fields["antialias"], f
        layers = [conv(inside, f, 4, 1 if blurred else 2, 1, True), leaky()]
        layers += [Down(f)] if blurred else []
        for k in range(1, fields["layers"] + 1):
            above, width, halve = width, f * min(2**k, 8), k < fields["layers"]
            stride = 2 if halve and not blurred else 1
            layers += [conv(above, width, 4, stride, 1), normed(width), leaky()]
            layers += [Down(width)] if halve and blurred else []
        return Named("model", [*layers, conv(width, 1, 4, 1, 1, True)]).eval()
    first, second = conv(inside, f, 1, bias=True), conv(f, 2 * f, 1)
    return Named("net", [first, leaky(), second, normed(2 * f), leaky(), conv(2 * f, 1, 1)]).eval()


@pytest.mark.slow
@each_case
def test_pytorch_loads_the_export_strictly_and_computes_the_same(name, state, fields):
    torch = pytest.importorskip("torch")
    module, found = MODULES[name](**fields), from_torch(state)
    channels = detect(state).channels
    original = reference(name, fields, channels)
    exported = to_torch(module, found.variables)
    original.load_state_dict({key: torch.from_numpy(x) for key, x in exported.items()}, strict=True)
    images = np.random.default_rng(1).uniform(-1, 1, (1, 128, 192, channels)).astype(np.float32)
    with torch.no_grad():
        wanted = original.forward(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    variables = jax.tree.map(jnp.asarray, found.variables)
    ours = np.asarray(jax.jit(module.apply)(variables, jnp.asarray(images)))
    ours = ours[..., None] if ours.ndim == 3 else ours
    wanted = wanted.transpose(0, 2, 3, 1)
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(ours, wanted, atol=2e-5 * max(1, abs(wanted).max()))
