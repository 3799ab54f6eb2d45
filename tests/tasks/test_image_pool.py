import jax
import jax.numpy as jnp
import numpy as np

from retrojax.tasks.image_pool import empty_pool, pool_draws, query_pool


def plain_pool(size, images, u, places):
    """The rule image by image, as anyone would write it with a list."""
    stored, judged = [], []
    for image, chance, place in zip(images, u, places, strict=True):
        if len(stored) < size:
            stored.append(image)
            judged.append(image)
        elif chance > 0.5:
            judged.append(stored[place])
            stored[place] = image
        else:
            judged.append(image)
    return judged, stored


def numbered(first, count):
    values = np.arange(first, first + count, dtype=np.float32)
    return values[:, None, None, None] * np.ones((1, 2, 2, 1), np.float32)


def test_follows_the_rule_image_by_image_over_several_batches():
    rng = np.random.default_rng(0)
    u, places = rng.random(24), rng.integers(0, 5, 24)
    images = numbered(1, 24)
    pool, judged = empty_pool(5, (2, 2, 1)), []
    for start in range(0, 24, 4):
        part = slice(start, start + 4)
        found, pool = query_pool(
            pool, jnp.asarray(images[part]), jnp.asarray(u[part]), jnp.asarray(places[part])
        )
        judged.append(found)
    expected, stored = plain_pool(5, images, u, places)
    np.testing.assert_array_equal(np.concatenate(judged), np.stack(expected))
    np.testing.assert_array_equal(pool["images"], np.stack(stored))
    assert int(pool["count"]) == 5
    assert not np.array_equal(np.stack(expected), images), "some fakes must be older ones"


def test_half_of_the_images_come_from_the_pool_and_every_place_is_drawn():
    u, places = pool_draws(jax.random.key(0), 4000, 50)
    assert abs(float((u > 0.5).mean()) - 0.5) < 0.03
    counts = np.bincount(np.asarray(places), minlength=50)
    assert counts.shape == (50,) and counts.min() > 40


def test_an_images_draw_does_not_depend_on_the_size_of_its_batch():
    few, many = pool_draws(jax.random.key(3), 2, 50), pool_draws(jax.random.key(3), 8, 50)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:2])
