import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from retrojax.inference.bundle import Bundle, load_bundle, save_bundle
from retrojax.inference.geometry import geometry
from retrojax.inference.stylize import stylize
from retrojax.models import EncoderDecoderGenerator
from retrojax.models.look import LookOutput

SIZES = [(1, 1), (37, 53), (300, 451)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["look", "resnet", "unet"])
def test_the_output_has_the_size_of_the_input(size, kind, photo, request):
    image = photo(*size)
    styled = stylize(request.getfixturevalue(kind), image, tile=192)
    assert styled.shape == image.shape
    assert styled.dtype == np.uint8


@pytest.mark.parametrize("kind", ["look", "resnet", "unet"])
def test_same_seed_same_bytes_and_other_seed_or_name_other_grain(kind, photo, request):
    bundle, image = request.getfixturevalue(kind), photo(90, 130)
    first = stylize(bundle, image, seed=3, name="a.jpg")
    assert np.array_equal(first, stylize(bundle, image, seed=3, name="a.jpg"))
    assert not np.array_equal(first, stylize(bundle, image, seed=4, name="a.jpg"))
    assert not np.array_equal(first, stylize(bundle, image, seed=3, name="b.jpg"))


@pytest.mark.parametrize("kind", ["look", "resnet", "unet"])
def test_tiled_equals_whole_to_one_level(kind, photo, request):
    bundle = request.getfixturevalue(kind)
    # At training scale, so that a look is not shrunk to one tile.
    bundle = dataclasses.replace(bundle, about={"pixels_per_mm": 20.0})
    image = photo(300, 451)
    tiled = stylize(bundle, image, seed=5, tile=256).astype(int)
    whole = stylize(bundle, image, seed=5, tile=512).astype(int)
    assert tiled.std() > 5
    assert np.abs(tiled - whole).max() <= 1


@pytest.mark.parametrize("kind", ["resnet", "unet"])
def test_one_tile_is_the_network_itself(kind, photo, request, random_variables):
    bundle = request.getfixturevalue(kind)
    module = bundle.module.clone(noise_channels=0)
    image = photo(128, 192)  # whole tiles: nothing is padded
    bundle = Bundle(module, random_variables(module), {})
    source = jnp.asarray(image, jnp.float32)[None] / 127.5 - 1
    expected = (np.asarray(module.apply(bundle.variables, source, train=False)[0]) + 1) * 127.5
    assert np.abs(stylize(bundle, image) - expected).max() <= 1


def test_a_generator_of_one_size_is_given_that_size_alone(photo, random_variables, tmp_path):
    module = EncoderDecoderGenerator(size=32, features=2, levels=2, code=5)
    folder = save_bundle(
        tmp_path,
        variables=random_variables(module),
        generator_name="encoder-decoder",
        generator_options={"size": 32, "features": 2, "levels": 2, "code": 5},
        about={},
    )
    bundle = load_bundle(folder)
    assert bundle.module == module
    image = photo(32, 32)
    source = jnp.asarray(image, jnp.float32)[None] / 127.5 - 1
    expected = (np.asarray(module.apply(bundle.variables, source)[0]) + 1) * 127.5
    assert np.abs(stylize(bundle, image) - expected).max() <= 1
    with pytest.raises(ValueError, match=r"^this model takes pictures of 32x32 pixels, not 48x32;"):
        stylize(bundle, photo(32, 48))


@pytest.mark.parametrize("kind", ["look", "resnet", "unet"])
def test_nothing_beyond_the_reach_has_influence(kind, photo, request):
    bundle = request.getfixturevalue(kind)
    multiple, reach, _ = geometry(bundle.module)
    side = 128
    source = jnp.asarray(photo(side, side), jnp.float32)[None] / 127.5 - 1

    @jax.jit
    def image(source):
        noise = jnp.ones((1, side, side, bundle.module.noise_channels))
        output = bundle.module.apply(bundle.variables, source, noise)
        return output.image if isinstance(output, LookOutput) else output

    farthest = 0
    for place in range(60, 60 + max(multiple, 2)):
        changed = np.asarray(image(source) != image(source.at[0, place, place].add(1.0)))[0]
        rows = np.flatnonzero(changed.any(axis=(1, 2)))
        farthest = max(farthest, place - rows[0], rows[-1] - place)
    assert reach / 2 < farthest <= reach


def test_a_look_at_training_scale_is_the_network_away_from_the_border(look, photo):
    image = photo(50, 72)
    quiet = Bundle(look.module.clone(noise_channels=0), look.variables, look.about)
    source = jnp.asarray(image, jnp.float32)[None] / 127.5 - 1
    clean = quiet.module.apply(quiet.variables, source).image[0]
    expected = np.rint((np.asarray(clean) + 1) * 127.5)
    inner = (slice(look.module.reach, -look.module.reach),) * 2
    assert np.abs(stylize(quiet, image)[inner] - expected[inner]).max() <= 1


def test_a_look_without_glow_and_grain_is_a_colour_map(look, photo):
    """Equal colours in, equal colours out, at any size: no tile, band or scale shows."""
    module = look.module.clone(glow_features=0, noise_channels=0)
    bundle = Bundle(module, look.variables, look.about)
    image = photo(300, 451) // 32 * 32
    styled = stylize(bundle, image)
    flat, first, place = np.unique(
        image.reshape(-1, 3), axis=0, return_index=True, return_inverse=True
    )
    assert len(flat) > 50
    colours = styled.reshape(-1, 3)
    assert np.abs(colours.astype(int) - colours[first][place.ravel()].astype(int)).max() <= 1


def test_the_bands_of_a_large_look_leave_no_seam(look):
    """A plain picture at ten times the training scale: each row has the same mean and spread."""
    image = np.full((720, 400, 3), 140, np.uint8)
    module = look.module.clone(noise_channels=0)
    styled = stylize(Bundle(module, look.variables, look.about), image)
    assert np.ptp(styled.reshape(-1, 3), axis=0).max() <= 1


def test_grain_keeps_its_size_in_the_frame(look):
    """A photograph four times as large, shrunk again, has the grain of the small one."""
    small = np.full((48, 72, 3), 120, np.uint8)
    large = np.full((192, 288, 3), 120, np.uint8)
    grain = stylize(look, small, seed=1).astype(float)
    shrunk = Image.fromarray(stylize(look, large, seed=1)).resize((72, 48), Image.Resampling.BOX)
    correlation = np.corrcoef(grain.ravel(), np.asarray(shrunk, float).ravel())[0, 1]
    assert grain.std(axis=(0, 1)).max() > 2
    assert correlation > 0.9


@pytest.mark.parametrize("strength", [0.0, 0.25])
def test_strength_mixes_with_the_input(look, photo, strength):
    image = photo(40, 60)
    full = stylize(look, image).astype(float)
    mixed = stylize(look, image, strength=strength)
    assert np.abs(mixed - (image + strength * (full - image))).max() <= 1
    if strength == 0:
        assert np.array_equal(mixed, image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed -1 is out of range"),
        ({"seed": 2**32}, "seed 4294967296 is out of range"),
        ({"strength": 1.5}, "strength 1.5 is out of range"),
        ({"strength": float("nan")}, "strength nan is out of range"),
    ],
)
def test_options_out_of_range_are_refused(look, photo, options, message):
    with pytest.raises(ValueError, match=message):
        stylize(look, photo(8, 8), **options)


def test_an_empty_picture_is_refused(look):
    with pytest.raises(ValueError, match="at least one pixel"):
        stylize(look, np.zeros((0, 5, 3), np.uint8))


def test_shrinking_by_whole_pixels_first_changes_one_level_at_most(monkeypatch):
    rng = np.random.default_rng(0)
    waves = 128 + 90 * np.sin(np.arange(3000) ** 2 / 30000)
    image = waves[None, :, None] + rng.normal(0, 8, (300, 3000, 3))
    image = np.clip(image, 0, 255).astype(np.uint8)
    bundle = load_bundle("faded-print")
    found = stylize(bundle, image).astype(int)

    def lanczos_alone(image, size):
        shrunk.append(size)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))

    shrunk = []
    monkeypatch.setattr("retrojax.inference.stylize._shrunk", lanczos_alone)
    difference = np.abs(found - stylize(bundle, image))
    assert shrunk == [(512, 51)]
    assert difference.max() <= 1
    assert 0 < difference.mean() < 0.05
