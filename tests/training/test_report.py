import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from retrojax.training.curves import line_chart, running_mean, short, thinned, ticks
from retrojax.training.log_file import append_line
from retrojax.training.pictures import data_uris, sample_grids
from retrojax.training.report import write_report
from retrojax.training.samples import write_png

SECTIONS = (
    "figures", "before-and-after", "curves", "samples-over-time", "formula", "configuration", "run",
)  # fmt: skip
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests look at."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.text += data + "\n"

    def having(self, tag, **attrs):
        return [a for t, a in self.tags if t == tag and attrs.items() <= a.items()]


def photograph(seed=0, size=(96, 128)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def new_run(folder, *, steps=40, **config):
    folder.mkdir(exist_ok=True)
    fields = {"look": "sepia", "loss": "lsgan", "steps": steps, "batch_size": 16, **config}
    (folder / "config.json").write_text(json.dumps(fields))
    return folder / "metrics.jsonl"


@pytest.fixture
def full_run(tmp_path):
    log = new_run(tmp_path / "a-run", run_dir=None)
    for step in range(1, 41):
        values = {"g/total": 1 / step, "d/total": math.nan if step == 7 else 0.5}
        append_line(log, {"step": step, "seconds": step * 2.0, "images_per_second": 8.0, **values})
    figures = {
        "untouched input": {"colour_ratio_to_input": 1.0, "grain_isotropy_db": math.nan},
        "trained": {"colour_ratio_to_input": 0.31, "grain_isotropy_db": 1.5, "kid": 0.0123},
    }
    append_line(log, {"step": 20, "event": "resumed", "reason": "SIGTERM"})
    append_line(log, {"step": 40, "event": "figures", "figures": figures})
    append_line(log, {"step": 40, "event": "formula", "formula": "D: 1/2 (r - 1)^2  a < b"})
    append_line(log, {"step": 40, "event": "timing", "compile_seconds": 9.25})
    append_line(log, {"step": 0, "event": "environment", "jax": "0.10.2"})
    samples = log.parent / "samples"
    for step in (10, 20, 40):
        write_png(samples / f"{step:08d}.png", photograph(step))
    for kind in ("source", "output", "target"):
        write_png(samples / f"final-old-town-{kind}.png", photograph())
    return log.parent


def test_every_section_is_there_and_shows_what_was_logged(full_run):
    path = write_report(full_run)
    assert path == full_run / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert [a["id"] for a in page.having("section")] == list(SECTIONS)
    assert {a["href"] for a in page.having("a")} == {f"#{name}" for name in SECTIONS}
    for text in (
        "40 steps with batches of 16 (640 images seen) in 1 min 20 s",
        "colour error 0.31 of the untouched input\u2019s",
        "2 of 2 goals met",
        "old-town",
        "kid",
        "0.0123",
        "D: 1/2 (r - 1)^2  a < b",
        "SIGTERM",
        "0.10.2",
        "9.25",
        "batch_size",
    ):
        assert text in page.text, text
    assert len(page.having("svg")) == 3
    assert [a["alt"] for a in page.having("img") if a["alt"].startswith("step")] == [
        "step 10", "step 20", "step 40",
    ]  # fmt: skip


def test_nothing_is_loaded_from_anywhere(full_run):
    text = write_report(full_run).read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", text))
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base")
        assert tag != "script" or "src" not in attributes
        if tag == "img":
            assert attributes["src"].startswith("data:image/")
    policy = page.having("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in policy[0]["content"]


def test_sliders_can_be_named_and_reached_by_keyboard(full_run):
    page = Page(write_report(full_run).read_text(encoding="utf-8"))
    ranges = page.having("input", type="range")
    assert len(ranges) == 2
    assert "old-town" in ranges[0]["aria-label"]
    assert not any("tabindex" in a or "disabled" in a for a in ranges)
    choices = page.having("input", type="radio")
    assert [a["value"] for a in choices] == ["source", "target"]


def test_the_runs_own_result_stands_first_and_is_marked(full_run):
    text = write_report(full_run).read_text(encoding="utf-8")
    heads = re.findall(r'<th scope="col"( class="own")?>([^<]+)</th>', text)
    assert heads == [("", "figure"), ("", "goal"), (' class="own"', "trained"),
                     ("", "untouched input")]  # fmt: skip


def test_a_run_stopped_after_one_line_has_a_report(tmp_path):
    log = new_run(tmp_path)
    append_line(log, {"step": 1, "seconds": 3.0, "images_per_second": 5.0, "g/total": 1.0})
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [a["id"] for a in page.having("section")] == list(SECTIONS)
    assert "Stopped at step 1 of 40" in page.text
    assert "No figures were measured" in page.text
    assert "No samples were written." in page.text
    assert page.having("circle")


def test_a_run_without_a_single_line_has_a_report_and_a_stray_folder_has_none(tmp_path):
    new_run(tmp_path)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Stopped at step 0 of 40" in page.text
    with pytest.raises(ValueError, match="no readable config.json; give a run's folder"):
        write_report(tmp_path / "elsewhere")


def test_text_from_the_run_cannot_become_markup(tmp_path):
    evil = "<script>alert('1')</script>\"'&"
    log = new_run(tmp_path, look=evil, note=evil)
    append_line(log, {"step": 1, "seconds": 1.0, evil: 1.0})
    append_line(log, {"step": 1, "event": evil, evil: evil})
    append_line(log, {"step": 1, "event": "figures", "figures": {evil: {evil: 1.0}}})
    for kind in ("source", "output", "target"):
        write_png(tmp_path / "samples" / f"final-a\"><b>'-{kind}.png", photograph())
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert len(page.having("script")) == 1 and not page.having("b")
    assert evil in page.text


def test_torn_and_foreign_files_do_not_cost_the_report(full_run):
    (full_run / "samples" / "00000030.png").write_bytes(b"\x89PNG torn" * 9000)
    (full_run / "samples" / "final-odd-output.png").write_bytes(b"nothing")
    (full_run / "samples" / "notes.txt").write_text("mine")
    page = Page(write_report(full_run).read_text(encoding="utf-8"))
    assert [a["alt"] for a in page.having("img")].count("step 30") == 0
    assert "old-town" in page.text and "odd" not in page.text


def test_outputs_without_sources_are_shown_alone(tmp_path):
    new_run(tmp_path)
    write_png(tmp_path / "samples" / "final-drawn-output.png", photograph())
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [a["alt"] for a in page.having("img")] == ["output"]
    assert not page.having("input")


def test_pictures_shrink_together_until_they_fit(tmp_path):
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        write_png(path, photograph(seed, size=(600, 900)))
    rich, poor = data_uris(paths, budget=10**8), data_uris(paths, budget=600_000)

    def sizes(uris):
        decoded = (base64.b64decode(uri.partition(",")[2]) for uri in uris.values())
        return {Image.open(io.BytesIO(data)).size for data in decoded}

    assert sizes(rich) == {(900, 600)}
    assert sum(map(len, poor.values())) <= 600_000
    assert len(sizes(poor)) == 1 and sizes(poor) != sizes(rich)


def test_many_grids_are_chosen_evenly_with_both_ends(tmp_path):
    for step in range(0, 1010, 10):
        (tmp_path / f"{step:08d}.png").touch()
    steps = list(sample_grids(tmp_path, most=11))
    assert steps == list(range(0, 1010, 100))


def test_charts_are_well_formed_and_stay_inside_their_frame():
    values = np.sin(np.arange(1000) / 50) + np.random.default_rng(0).normal(0, 0.1, 1000)
    values[500] = 1e9
    values[[3, 700]] = math.nan, math.inf
    svg = ElementTree.fromstring(line_chart("g/<total>", range(1000), values.tolist()))
    assert svg.get("aria-label") == "g/<total> over steps"
    raw, smooth = (svg.find(f"path[@class='{kind}']").get("d") for kind in ("raw", "smooth"))
    assert len(svg.findall("path[@class='broken']")) == 2
    for path in (raw, smooth):
        points = np.array([p.split() for p in path[1:].split("L")], float)
        assert 100 < len(points) <= 400
        assert points[:, 0].min() >= 46 and points[:, 0].max() <= 330
        assert points[:, 1].min() >= 8 and points[:, 1].max() <= 146
        assert np.all(np.diff(points[:, 0]) > 0)
    # The spike does not flatten the sine: its swing fills most of the height.
    rows = np.array([p.split()[1] for p in raw[1:].split("L")], float)
    assert np.percentile(rows, 95) - np.percentile(rows, 5) > 80


def test_a_chart_of_nothing_finite_has_no_line():
    svg = ElementTree.fromstring(line_chart("d", [1, 2], [math.nan, math.inf]))
    assert not svg.findall("path[@class='raw']") and len(svg.findall("path[@class='broken']")) == 2
    with pytest.raises(ValueError, match="one value a step, got 1 for 2"):
        line_chart("d", [1, 2], [1.0])


def test_chart_arithmetic():
    assert ticks(0.0, 1.0, 4) == [0.0, 0.5, 1.0]
    assert ticks(0.1, 0.43, 4) == [0.1, 0.2, 0.3, 0.4]
    assert [short(n) for n in (500, 1500, 20_000, 3e6)] == ["500", "1.5k", "20k", "3M"]
    np.testing.assert_allclose(running_mean(np.array([0.0, 3.0, 6.0, 9.0]), 1), [1.5, 3, 6, 7.5])
    x, y = thinned(np.arange(1003.0), np.full(1003, 2.0))
    assert len(x) == 400 and np.all(y == 2.0) and np.all(np.diff(x) > 0)
