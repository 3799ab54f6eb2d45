"""Decoding: what a photograph file says about itself is applied, and bad files are refused."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from retrojax.data.photo_files import decode_photo, find_photos, match_pairs, photo_shape


def scene(height=40, width=60):
    """A picture without any symmetry, smooth enough for JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + 2 * y) % 256], -1).astype(np.uint8)


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


# How a viewer turns the stored pixels for each value of the EXIF orientation tag (EXIF 2.3, 4.6.4).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_orientation_is_upright_pixel_by_pixel(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(Image.fromarray(scene()), kind, exif=exif)
    np.testing.assert_array_equal(decode_photo(file, photo_size=512), UPRIGHT[orientation](scene()))


def test_orientation_and_shrinking_together():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(Image.fromarray(scene(400, 600)), "JPEG", exif=exif, quality=95)
    assert decode_photo(file, photo_size=60).shape == (60, 40, 3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((600, 400), (100, 67)), ((400, 600), (67, 100)), ((30, 20), (30, 20)), ((2000, 1), (100, 1))],
)
def test_long_side_is_shrunk_and_never_enlarged(size, expected):
    file = saved(Image.new("RGB", size, "teal"))
    height, width, _ = decode_photo(file, photo_size=100).shape
    assert (width, height) == expected
    assert photo_shape(file, photo_size=100) == (height, width)


def test_a_large_jpeg_decoded_at_a_fraction_looks_like_one_decoded_whole():
    pixels = scene(1200, 1600)
    jpeg = decode_photo(saved(Image.fromarray(pixels), "JPEG", quality=95), photo_size=100)
    whole = Image.fromarray(pixels).resize((100, 75), Image.Resampling.LANCZOS)
    # The red and green ramps; the blue one wraps round, and its jumps are JPEG's to blur.
    difference = jpeg[..., :2].astype(int) - np.asarray(whole)[..., :2]
    assert np.abs(difference).max() <= 4


def test_of_a_large_jpeg_only_a_fraction_of_the_pixels_is_ever_decoded(monkeypatch):
    file = saved(Image.fromarray(scene(1200, 1600)), "JPEG", quality=95)
    decoded, resize = [], Image.Image.resize

    def seen(image, *arguments, **options):
        decoded.append(image.size)
        return resize(image, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", seen)
    assert decode_photo(file, photo_size=100).shape == (75, 100, 3)
    assert decoded == [(200, 150)], "an eighth of each side, twice the final size, shrunk once"


def test_transparency_lies_on_white():
    rgba = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    np.testing.assert_array_equal(decode_photo(saved(rgba), photo_size=8), 255)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    file = saved(palette, transparency=1)
    np.testing.assert_array_equal(decode_photo(file, photo_size=8), 255)


def test_palette_and_grey_and_two_level_images_become_colour():
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 10, 20, 255])
    assert decode_photo(saved(palette), photo_size=8)[0, 0].tolist() == [10, 20, 255]
    assert decode_photo(saved(Image.new("L", (8, 8), 77)), photo_size=8)[0, 0].tolist() == [77] * 3
    assert decode_photo(saved(Image.new("1", (8, 8), 1)), photo_size=8)[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_rounded_to_eight(kind):
    levels = np.array([[0, 128, 129, 257 * 100, 257 * 100 + 129, 65535]], np.uint16)
    decoded = decode_photo(saved(Image.fromarray(levels), kind), photo_size=8)
    assert decoded[0, :, 0].tolist() == [0, 0, 1, 100, 101, 255]


def test_cmyk_becomes_rgb():
    file = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = decode_photo(file, photo_size=16)[8, 8].astype(int)
    assert red > 200 and green < 80 and blue < 80


def test_a_profile_other_than_srgb_is_converted_and_srgb_left_alone():
    pixels = Image.fromarray(scene())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = saved(pixels, icc_profile=srgb)
    np.testing.assert_array_equal(decode_photo(file, photo_size=99), scene())


def test_a_profile_that_is_broken_or_for_other_channels_is_ignored():
    pixels = Image.fromarray(scene())
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    file = saved(pixels, icc_profile=lab)
    np.testing.assert_array_equal(decode_photo(file, photo_size=99), scene())
    file = saved(pixels, icc_profile=b"no profile")
    np.testing.assert_array_equal(decode_photo(file, photo_size=99), scene())


def test_a_linear_light_profile_is_brought_to_srgb():
    decoded = decode_photo(
        saved(Image.new("RGB", (4, 4), (55, 55, 55)), icc_profile=linear_profile()), photo_size=4
    )
    # sRGB encoding of 55/255 linear: 1.055 x^(1/2.4) - 0.055 = 0.5017, level 128.
    assert np.abs(decoded.astype(int) - 128).max() <= 2


def linear_profile():
    """A matrix profile with sRGB's primaries and straight curves, as bytes (ICC.1:2001-04)."""

    def s15(value):
        return round(value * 65536).to_bytes(4, "big", signed=True)

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    curve = b"curv\0\0\0\0" + (0).to_bytes(4, "big")
    text = b"desc\0\0\0\0" + (7).to_bytes(4, "big") + b"linear\0" + bytes(78 + 3)
    tags = {
        b"desc": text[: len(text) // 4 * 4],
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.4360, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = len(tags).to_bytes(4, "big"), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + (start + len(body)).to_bytes(4, "big") + len(value).to_bytes(4, "big")
        body += value
    size = (start + len(body)).to_bytes(4, "big")
    header = size + bytes(4) + b"\x02\x10\0\0" + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return header + s15(0.9642) + s15(1.0) + s15(0.8249) + bytes(48) + table + body


def test_more_pixels_than_the_limit_is_an_error_before_decoding(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for side in (40, 200):  # between one and two times the limit, and far above
        with pytest.raises(ValueError, match="more pixels than the limit of 1000"):
            decode_photo(saved(Image.new("RGB", (side, side))), photo_size=8)
    assert decode_photo(saved(Image.new("RGB", (30, 30))), photo_size=8).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_truncated_file_is_an_error_or_whole_but_never_another_exception(kind):
    encoded = saved(Image.fromarray(scene()), kind).getvalue()
    assert decode_photo(io.BytesIO(encoded), photo_size=99).shape == (40, 60, 3)
    for percent in range(0, 100, 10):
        try:
            decode_photo(io.BytesIO(encoded[: len(encoded) * percent // 100]), photo_size=99)
        except ValueError as error:
            assert "\n" not in str(error) and str(error)


def test_random_bytes_and_formats_not_listed_are_errors():
    for content in (b"", b"not an image" * 99, saved(Image.new("RGB", (8, 8)), "PPM").getvalue()):
        with pytest.raises(ValueError, match="JPEG, PNG, WEBP, TIFF, BMP, GIF"):
            decode_photo(io.BytesIO(content), photo_size=8)


def test_floating_point_pixels_are_refused():
    with pytest.raises(ValueError, match="8 or 16 bits"):
        decode_photo(saved(Image.new("F", (8, 8), 0.5), "TIFF"), photo_size=8)


def test_files_are_found_below_a_folder_in_order_without_hidden_ones(tmp_path):
    for name in ("b.JPG", "a/z.png", "a/c.webp", ".hidden/x.png", "a/._z.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert [photo.name for photo in find_photos(tmp_path)] == ["a/c.webp", "a/z.png", "b.JPG"]


def test_pairs_are_matched_by_stem_whatever_the_suffix(tmp_path):
    for name in ("s/a/1.png", "s/2.jpg", "t/a/1.jpg", "t/2.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    pairs = match_pairs(tmp_path / "s", tmp_path / "t")
    assert [(pair.name, pair.target.name) for pair in pairs] == [("2", "2.tif"), ("a/1", "1.jpg")]
