"""The images of a build, read back by torchvision as a stranger would read MNIST."""

import os
from types import SimpleNamespace

import plain_files
import pytest
import torch
from torchvision.datasets import MNIST

from bn_tutorial.data.dataset import Dataset, Split


@pytest.fixture
def data():
    images = torch.arange(6 * 784).view(6, 28, 28).to(torch.uint8)
    labels = torch.tensor([3, 1, 4, 1, 5, 9])
    parts = Split(images, labels), Split(images[:2] + 1, labels[:2])
    return Dataset("made", "made", "none", "here", "0123456789abcdef0", *parts)


def test_torchvision_reads_what_the_build_uses(data, tmp_path):
    plain_files.write(data, tmp_path)
    for train, split in ((True, data.train), (False, data.test)):
        read = MNIST(str(tmp_path), train=train)
        torch.testing.assert_close(read.data, split.images, rtol=0, atol=0)
        assert read.targets.tolist() == split.labels.tolist()


def test_folder_is_named_by_the_data_and_written_once(data, tmp_path, monkeypatch):
    monkeypatch.setenv("BN_TUTORIAL_CACHE", str(tmp_path))
    monkeypatch.setenv("MNIST_FOLDER", "")
    loaded = []
    monkeypatch.setattr("bn_tutorial.data.loading.load", lambda: loaded.append(1) or data)
    config = SimpleNamespace(html_context={"data": {"digest": data.digest}})
    plain_files.prepare(None, config)
    assert os.environ["MNIST_FOLDER"] == str(tmp_path / "plain" / "0123456789abcdef")
    plain_files.prepare(None, config)
    assert loaded == [1]
    (file,) = tmp_path.rglob("t10k-labels*")
    file.unlink()
    plain_files.prepare(None, config)
    assert loaded == [1, 1]
    assert file.is_file()
    written = file.read_bytes()
    file.write_bytes(written[:-1] + b"\7")  # torchvision would read it without a word
    plain_files.prepare(None, config)
    assert loaded == [1, 1, 1]
    assert file.read_bytes() == written
