"""What train refuses before any features are computed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.config.load import load_config
from tlcli.errors import DataError
from tlcli.heads import kernel
from tlcli.workflows import train as workflow


def test_more_images_than_a_kernel_takes_are_refused_before_the_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "images" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    config = tmp_path / "c.yaml"
    config.write_text(f"dataset: {{path: {tmp_path / 'images'}}}\nhead: {{fit: kernel}}\naugment: {{views: 1}}\n")

    class PassedError(Exception):
        pass

    def extractor(*_: object) -> None:
        raise PassedError

    monkeypatch.setattr(workflow, "opener_for", lambda ray: extractor)
    monkeypatch.setattr(kernel, "MOST_ROWS", 56)  # 28 training images, each twice
    with pytest.raises(PassedError):
        workflow.train(load_config(config), tmp_path / "runs")
    monkeypatch.setattr(kernel, "MOST_ROWS", 55)
    with pytest.raises(DataError) as caught:
        workflow.train(load_config(config), tmp_path / "runs")
    assert caught.value.code == "data.too_many_images_for_kernel"
