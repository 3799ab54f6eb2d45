"""What README.md shows runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def block(marker: str) -> str:
    """The fenced block of README.md that follows the comment `<!-- marker -->`."""
    text = (ROOT / "README.md").read_text()
    _, found, after = text.partition(f"<!-- {marker} -->\n")
    assert found, f"README.md has no marker {marker}"
    fence, _, rest = after.lstrip().partition("\n")
    assert fence.startswith("```"), f"no fenced block follows the marker {marker}"
    return rest.partition("\n```")[0]


def test_the_example_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", block("example")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "the example shows nothing"


def test_the_commands_install_the_pinned_versions():
    for marker in ("run", "tests"):
        assert "pip install -c constraints.txt" in block(marker)
    assert block("run").endswith("-m experiments.run --loss=lsgan")
    assert block("tests").endswith("-m pytest")


@pytest.mark.parametrize("name", ["looks", "losses"])
def test_the_tables_are_those_that_programs_wrote(name):
    table = (ROOT / "docs" / f"{name}.md").read_text()
    assert table.count("\n") >= 8
    assert f"<!-- {name} -->\n\n{table}" in (ROOT / "README.md").read_text()


def test_every_picture_and_page_that_the_documents_name_is_there():
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for name in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / name).exists(), f"{document.name} names {name}"
