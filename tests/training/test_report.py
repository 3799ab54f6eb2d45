import base64
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from retrojax.training.curves import line_chart, thinned, vertical_range
from retrojax.training.log_file import append_line
from retrojax.training.pictures import data_uris, sample_grids
from retrojax.training.report import write_report
from retrojax.training.report_sections import configuration_section, formula_section
from retrojax.training.samples import write_png

SECTIONS = (
    "figures", "final-pictures", "curves", "samples-over-time", "formula", "configuration", "run",
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


def test_each_player_has_its_formula_on_a_line_of_its_own():
    assert "D: f - r\nG: -f<" in formula_section({"formula": "D: f - r    G: -f"})
    assert "not logged" in formula_section(None)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_every_setting_is_shown_once_and_in_order(count):
    config = {f"setting_{k}": k for k in range(count)}
    html = configuration_section(config)
    assert re.findall(r">(setting_\d)<", html) == list(config)
    assert html.count("<table") == min(count, 2)


def test_a_run_stopped_after_one_line_has_a_report(tmp_path):
    log = new_run(tmp_path)
    append_line(log, {"step": 1, "seconds": 3.0, "images_per_second": 5.0, "g/total": 1.0})
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert [a["id"] for a in page.having("section")] == list(SECTIONS)
    assert "Stopped at step 1 of 40" in page.text
    assert "No figures were measured" in page.text
    assert "No samples were written." in page.text
    assert len(page.having("g", **{"class": "smooth"})) == 2


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


def drawn(svg, kind):
    """Points of a chart's line, and how many pieces it has."""
    path = svg.find(f".//g[@class='{kind}']/path").get("d")
    return np.array(re.findall(r"[ML] (\S+) (\S+)", path), float), path.count("M")


def labels(svg, axis):
    """Numbers along an axis (1: steps, 2: values) and where they stand."""
    texts = svg.findall(f".//g[@class='matplotlib.axis_{axis}']//text")
    return [t.text.replace("\u2212", "-") for t in texts], [float(t.get("x")) for t in texts]


def test_charts_are_well_formed_and_stay_inside_their_frame():
    values = np.sin(np.arange(1000) / 50) + np.random.default_rng(0).normal(0, 0.1, 1000)
    values[500] = 1e9
    values[[3, 700]] = math.nan, math.inf
    svg = ElementTree.fromstring(line_chart("g/<total>", range(1000), values.tolist()))
    assert svg.get("aria-label") == "g/<total> over steps"
    assert drawn(svg, "broken")[1] == 2
    for kind in ("raw", "smooth"):
        points, pieces = drawn(svg, kind)
        assert pieces == 1 and 100 < len(points) <= 400
        assert points.min() >= 0 and np.all(points.max(0) <= (340, 170))
        assert np.all(np.diff(points[:, 0]) >= 0)
    # The spike does not flatten the sine: its swing keeps almost half the height.
    rows = drawn(svg, "raw")[0][:, 1]
    assert np.percentile(rows, 95) - np.percentile(rows, 5) > 55


def test_the_mean_of_alternating_values_runs_through_their_middle():
    svg = ElementTree.fromstring(line_chart("d", range(200), [0.0, 2.0] * 100))
    rows, mean = (drawn(svg, kind)[0][:, 1] for kind in ("raw", "smooth"))
    assert np.ptp(rows) > 100
    middle = (rows.min() + rows.max()) / 2
    assert np.all(np.abs(mean[10:-10] - middle) < 0.05 * np.ptp(rows))


def test_a_point_of_a_chart_stands_where_the_axes_say():
    svg = ElementTree.fromstring(line_chart("d", range(0, 2000, 100), list(range(-10, 10))))
    numbers, columns = labels(svg, 1)
    assert "1.5k" in numbers and "500" in numbers
    steps = [float(n[:-1]) * 1000 if n.endswith("k") else float(n) for n in numbers]
    points = drawn(svg, "raw")[0]
    np.testing.assert_allclose(
        np.interp(steps, range(0, 2000, 100), points[:, 0]), columns, atol=0.01
    )
    rules = svg.findall(".//g[@class='matplotlib.axis_2']//path")
    heights = [float(rule.get("d").split()[2]) for rule in rules]
    expected = np.interp([float(n) for n in labels(svg, 2)[0]], range(-10, 10), points[:, 1])
    np.testing.assert_allclose(heights, expected, atol=0.01)


def test_charts_take_colours_and_font_from_the_page_and_refer_to_nothing():
    chart = line_chart("d", [1, 2, 3], [1.0, math.nan, 3.0])
    # An id, or a reference to one, would meet those of the page's other charts.
    for foreign in ("#", " id=", "href", "url(", "xmlns", "<style", "<metadata"):
        assert foreign not in chart, foreign
    texts = ElementTree.fromstring(chart).findall(".//text")
    assert texts and all("fill: currentColor" in text.get("style") for text in texts)
    for colour in ("stroke: var(--accent)", "stroke: var(--bad)", "stroke: currentColor"):
        assert colour in chart


def test_settings_of_matplotlib_do_not_change_a_chart_and_are_left_as_they_were():
    chart = line_chart("d", [1, 2], [1.0, 2.0])
    with matplotlib.rc_context({"font.size": 30.0, "lines.linestyle": "--"}):
        assert line_chart("d", [1, 2], [1.0, 2.0]) == chart
        assert matplotlib.rcParams["font.size"] == 30.0


def test_matplotlib_waits_for_the_first_chart():
    code = "import retrojax.training.report, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_chart_of_nothing_finite_has_no_line():
    svg = ElementTree.fromstring(line_chart("d", [1, 2], [math.nan, math.inf]))
    assert svg.find(".//g[@class='raw']") is None and drawn(svg, "broken")[1] == 2
    with pytest.raises(ValueError, match="one value a step, got 1 for 2"):
        line_chart("d", [1, 2], [1.0])


def test_a_lone_value_is_a_dot():
    chart = line_chart("d", [5], [2.0])
    points, _ = drawn(ElementTree.fromstring(chart), "smooth")
    # A path of one point alone is not drawn at all.
    assert len(points) == 2 and np.all(points[0] == points[1])
    assert "stroke-width: 6; stroke-linecap: round" in chart


def test_the_range_of_a_chart_ignores_few_outliers_and_is_never_empty():
    few = np.array([1.0, 2.0] * 50)
    few[50] = 1e9
    low, high = vertical_range(few)
    assert low < 1.0 and 2.0 < high < 5.0
    assert vertical_range(np.array([0.0, 1.0]))[0] == 0.0
    assert vertical_range(np.array([-1.0, 1.0]))[0] < -1.0
    for constant in (0.0, 5.0, -1e-7, 1e12):
        low, high = vertical_range(np.full(9, constant))
        assert low <= constant < high


def test_thinning_keeps_order_and_level():
    x, y = thinned(np.arange(1003.0), np.full(1003, 2.0))
    assert len(x) == 400 and np.all(y == 2.0) and np.all(np.diff(x) > 0)
