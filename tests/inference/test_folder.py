"""Many photographs at once: the files of one at a time, whatever goes wrong beside them."""

import time

import numpy as np
import pytest
from PIL import Image

from retrojax.inference import folder
from retrojax.inference.folder import stylize_files
from retrojax.inference.jobs import plan_jobs


@pytest.fixture
def photographs(tmp_path, photo):
    """Six photographs of two sizes."""
    place = tmp_path / "in"
    place.mkdir()
    for index in range(6):
        pixels = photo(*((24, 32) if index % 2 else (40, 20)), seed=index)
        Image.fromarray(pixels).save(place / f"{index}.png")
    return place


def written(place):
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_the_files_do_not_depend_on_how_many_are_done_at_once(look, photographs, tmp_path):
    made = {}
    for workers in (1, 4):
        output = tmp_path / f"out-{workers}"
        jobs = plan_jobs([photographs], output)
        done = list(stylize_files(jobs, look, seed=3, workers=workers))
        assert done == [(job, None) for job in jobs]
        made[workers] = written(output)
    assert list(made[1]) and made[1] == made[4], "no other file and no temporary one either"
    assert len(set(made[1].values())) == 6


def test_a_photograph_that_cannot_be_done_stops_no_other(look, photographs, tmp_path):
    (photographs / "2.png").write_bytes(b"no picture")
    jobs = plan_jobs([photographs], tmp_path / "out")
    done = list(stylize_files(jobs, look, workers=3))
    assert [job for job, _ in done] == list(jobs)
    reasons = {job.source.name: reason for job, reason in done if reason is not None}
    assert list(reasons) == ["2.png"] and "not an image" in reasons["2.png"]
    assert len(written(tmp_path / "out")) == 5


def test_closed_early_it_begins_no_other(look, photographs, tmp_path, monkeypatch):
    begun = []

    def slow(bundle, pixels, *, seed, name, strength):
        begun.append(name)
        time.sleep(1 if len(begun) > 1 else 0)
        return np.zeros_like(pixels)

    monkeypatch.setattr(folder, "stylize", slow)
    running = stylize_files(plan_jobs([photographs], tmp_path / "out"), look, workers=1)
    next(running)
    running.close()
    assert 1 <= len(begun) <= 2
    assert len(written(tmp_path / "out")) == len(begun), "what was begun is finished"
