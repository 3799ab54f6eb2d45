"""The document's formulas, studied on the smallest preset."""

import pytest
from PIL import Image

from experiments import document_losses


@pytest.fixture
def trained_here(monkeypatch, tmp_path):
    """The study's runs in this process and in a folder of their own, two steps each."""
    from experiments.run import main

    def train(config):
        assert main([f"--preset={config.preset}", f"--loss={config.loss}", "--steps=2"]) == 0
        return config.folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(document_losses, "train", train)


@pytest.mark.slow
def test_the_study_prints_a_row_for_each_loss_and_draws_them(trained_here, tmp_path, capsys):
    document_losses.main(["--preset=document-tiny", f"--output={tmp_path / 'x.png'}"])
    said = capsys.readouterr().out
    for name in document_losses.LOSSES:
        assert f"| `{name}` |" in said
    assert "a discriminator" in said
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 1000
