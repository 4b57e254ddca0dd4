from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch

from bn_tutorial.data import dataset, digits

# ---------------------------------------------------------------------------------------------
# Drawn
# ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """All 70,000 images, as the experiments get them; drawn once for this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BN_TUTORIAL_CACHE", str(tmp_path_factory.mktemp("digits")))
        return data.load("digits")


def test_the_digits_have_the_shapes_and_types_of_mnist(embedded):
    for split, count in ((embedded.train, 60_000), (embedded.test, 10_000)):
        assert split.images.shape == (count, 28, 28)
        assert split.images.dtype == torch.uint8
        assert split.labels.shape == (count,)
        assert split.labels.dtype == torch.int64


def test_every_digit_is_about_a_tenth_of_the_digits(embedded):
    for split in (embedded.train, embedded.test):
        shares = torch.bincount(split.labels, minlength=10) / len(split.labels)
        assert shares.min() > 0.09
        assert shares.max() < 0.11


def test_the_digits_are_white_on_black_like_mnist(embedded):
    assert (embedded.mean, embedded.std) == pytest.approx((0.1307, 0.3081), abs=0.03)
    images = embedded.train.images[:2000]
    assert (images[:, [0, -1]] == 0).float().mean() > 0.99  # a black frame
    assert (images.flatten(1).amax(dim=1) == 255).all()  # full white in every one


def test_the_whole_standardized_training_set_has_mean_zero_and_variance_one(embedded):
    standardized = embedded.standardize(embedded.train.images)
    variance, mean = torch.var_mean(standardized, correction=0)
    assert mean.item() == pytest.approx(0, abs=1e-4)
    assert variance.item() == pytest.approx(1, abs=1e-4)


def test_training_and_test_images_are_drawn_from_different_originals(monkeypatch):
    labels = sklearn.datasets.load_digits().target
    numbered = np.repeat(np.arange(len(labels), dtype=np.float64)[:, None], 64, axis=1)
    drawn_from = []

    def remember(originals, its_labels, _count, _generator):
        numbers = (originals[:, 0, 0] * 16).round().long().numpy()
        assert its_labels.tolist() == labels[numbers].tolist()
        drawn_from.append(numbers)

    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda **_: (numbered, labels))
    monkeypatch.setattr(digits, "_enlarge", remember)
    digits.draw(10, 10)
    train, test = drawn_from
    assert (len(train), len(test)) == (1437, 360)
    assert np.union1d(train, test).tolist() == list(range(1797))
    for digit in range(10):  # in the same proportions
        assert (labels[test] == digit).mean() == pytest.approx((labels == digit).mean(), abs=0.002)


def test_no_test_image_stems_from_a_training_original(monkeypatch):
    separated = []
    enlarge = digits._enlarge

    def blacken_the_training_originals(originals, *rest):
        separated.append(originals)
        return enlarge(originals * (len(separated) > 1), *rest)

    _, expected = digits.draw(300, 200)
    monkeypatch.setattr(digits, "_enlarge", blacken_the_training_originals)
    train, test = digits.draw(300, 200)
    assert not train[0].any()
    assert torch.equal(test[0], expected[0])
    # Nor is there an original twice in what scikit-learn ships.
    assert len(torch.cat(separated).unique(dim=0)) == 1797


def test_every_original_is_drawn_equally_often():
    originals = (torch.arange(7) / 8)[:, None, None].expand(7, 8, 8)
    _, labels = digits._enlarge(originals, torch.arange(7), 700, torch.Generator().manual_seed(0))
    assert torch.bincount(labels).tolist() == [100] * 7


def test_an_image_is_distorted_within_its_bounds():
    maps = digits._random_maps(10_000, torch.Generator().manual_seed(0))
    linear = maps[:, :, :2] / (28 / 20)  # rotation times shear over scale
    # A shear has the determinant one and leaves the first column to the rotation.
    scale = 1 / torch.linalg.det(linear).sqrt()
    assert scale.min() == pytest.approx(0.9, abs=0.001)
    assert scale.max() == pytest.approx(1.1, abs=0.001)
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0])).abs()
    assert angle.max() == pytest.approx(15, abs=0.01)
    shift = torch.linalg.solve(maps[:, :, :2], -maps[:, :, 2]).abs() * 14
    assert shift.max() == pytest.approx(2, abs=0.01)


def test_an_undistorted_original_keeps_its_place_and_orientation(monkeypatch):
    identity = torch.tensor([[1.4, 0.0, 0.0], [0.0, 1.4, 0.0]])
    monkeypatch.setattr(digits, "_random_maps", lambda count, _: identity.expand(count, 2, 3))
    original = torch.zeros(1, 8, 8)
    original[0, 1, 5:7] = 1  # upper right
    (image,), _ = digits._enlarge(original, torch.tensor([1]), 1, torch.Generator())
    rows, columns = (image > 127).nonzero(as_tuple=True)
    assert rows.double().mean() == pytest.approx(4 + 1.5 * 2.5 - 0.5, abs=0.3)
    assert columns.double().mean() == pytest.approx(4 + 6 * 2.5 - 0.5, abs=0.3)


def test_drawing_again_gives_the_same_images_and_leaves_the_global_generators_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (digits.draw(300, 200) for _ in range(2))
    assert digits._digest(*first) == digits._digest(*second)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.random.get_state()[1].tolist() == numpy_state  # noqa: NPY002


# ---------------------------------------------------------------------------------------------
# Remembered
# ---------------------------------------------------------------------------------------------


def random_part(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 28, 28), generator=generator, dtype=torch.uint8)
    return images, torch.arange(count) % 10


@pytest.fixture
def draws(monkeypatch):
    """Make drawing instantaneous; the list counts how often it happened."""
    calls = []

    def draw(*counts):
        calls.append(counts)
        return random_part(30), random_part(20, seed=1)

    monkeypatch.setattr(digits, "draw", draw)
    return calls


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_digits_are_drawn_once_and_then_read(cache, draws):
    first, second = digits.load(cache), digits.load(cache)
    assert draws == [(60_000, 10_000)]
    for drawn, stored in zip(first[:2], second[:2], strict=True):
        assert torch.equal(drawn[0], stored[0])
        assert torch.equal(drawn[1], stored[1])
    assert first[2] == second[2] == digits._digest(*second[:2])
    assert [path.name for path in cache.glob("digits*") if path.suffix != ".lock"] == ["digits.npz"]


def test_every_tensor_of_the_digits_counts_in_their_digest():
    parts = [random_part(3), random_part(2, seed=1)]
    tensors = [tensor for part in parts for tensor in part]
    digests = {digits._digest(*parts)}
    for tensor in tensors:
        tensor.view(-1)[-1] += 1
        digests.add(digits._digest(*parts))
    assert len(digests) == 1 + len(tensors)


def flip_a_bit_of_an_image(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def exchange_an_array(path: Path) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["labels"] = arrays["labels"][::-1]
    np.savez(path, **arrays)


def drop_an_array(path: Path) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    del arrays["labels"]
    np.savez(path, **arrays)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def store_a_lone_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit_of_an_image,
        exchange_an_array,
        drop_an_array,
        halve,
        empty,
        store_a_lone_array,
    ],
)
def test_a_damaged_file_of_digits_is_said_to_be_so_and_drawn_anew(
    cache, draws, damage, caplog, warnings_of
):
    first = digits.load(cache)
    damage(cache / "digits.npz")
    second = digits.load(cache)
    assert len(draws) == 2
    assert second[2] == first[2]
    assert "digits.npz is damaged" in warnings_of()
    caplog.clear()
    digits.load(cache)
    assert len(draws) == 2
    assert not caplog.records


def test_digits_of_another_recipe_are_drawn_anew(cache, draws, monkeypatch):
    digits.load(cache)
    monkeypatch.setattr(digits, "_recipe", lambda *_: "another version of scikit-learn")
    digits.load(cache)
    assert len(draws) == 2


def test_the_recipe_depends_on_the_counts():
    assert digits._recipe(3, 2) != digits._recipe(2, 3)


def test_a_killed_writing_leaves_no_file_of_digits(cache, draws, monkeypatch):
    def killed(file, **_arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", killed)
        with pytest.raises(KeyboardInterrupt):
            digits.load(cache)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    digits.load(cache)
    assert len(draws) == 2


def test_two_builds_at_once_draw_the_digits_once(cache, draws, monkeypatch):
    quick = digits.draw

    def slow(*counts):
        time.sleep(0.3)
        return quick(*counts)

    monkeypatch.setattr(digits, "draw", slow)
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(digits.load(cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(draws) == 1
    assert loaded[0][2] == loaded[1][2]
