from __future__ import annotations

import functools
import hashlib
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch

from bn_tutorial import fingerprint
from bn_tutorial.data import digits
from bn_tutorial.data.loading import load

# ---------------------------------------------------------------------------------------------
# Drawn
# ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded():
    """All 70,000 images, as the experiments get them."""
    return load("digits")


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


@pytest.fixture
def originals(monkeypatch):
    """The originals from which images are enlarged, in a list: first the training part's."""
    enlarged, enlarge = [], digits.enlarge

    def remember(originals, maps):
        enlarged.append(originals)
        return enlarge(originals, maps)

    monkeypatch.setattr(digits, "enlarge", remember)
    return enlarged


def test_training_and_test_images_are_drawn_from_different_originals(monkeypatch, originals):
    labels = sklearn.datasets.load_digits().target
    numbered = np.repeat(np.arange(len(labels), dtype=np.float64)[:, None], 64, axis=1)
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda **_: (numbered, labels))
    parts = digits.draw(1437, 360)  # so that each original is drawn once
    train, test = ((part[:, 0, 0] * 16).round().long().numpy() for part in originals)
    assert np.union1d(train, test).tolist() == list(range(1797))
    for numbers, (_, its_labels) in zip((train, test), parts, strict=True):
        assert its_labels.tolist() == labels[numbers].tolist()
    for digit in range(10):  # in the same proportions
        assert (labels[test] == digit).mean() == pytest.approx((labels == digit).mean(), abs=0.002)


def test_no_original_is_twice_in_what_scikit_learn_ships(originals):
    digits.draw(1437, 360)
    assert len(torch.cat(originals).unique(dim=0)) == 1797


def test_no_test_image_changes_with_the_training_originals(monkeypatch):
    _, expected = digits.draw(300, 200)
    enlarge, calls = digits.enlarge, []

    def blacken_the_training_originals(originals, maps):
        calls.append(len(originals))
        return enlarge(originals * (len(calls) > 1), maps)

    monkeypatch.setattr(digits, "enlarge", blacken_the_training_originals)
    train, test = digits.draw(300, 200)
    assert not train[0].any()
    assert torch.equal(test[0], expected[0])


def test_every_original_is_drawn_equally_often(originals):
    digits.draw(1437 * 3, 360 * 2)
    for part, times in zip(originals, (3, 2), strict=True):
        assert set(part.unique(dim=0, return_counts=True)[1].tolist()) == {times}


def test_an_image_is_distorted_within_its_bounds():
    maps = digits.random_maps(10_000, torch.Generator().manual_seed(0))
    linear = maps[:, :, :2] / (28 / 20)  # rotation times shear over scale
    # A shear has the determinant one and leaves the first column to the rotation.
    scale = 1 / torch.linalg.det(linear).sqrt()
    assert scale.min() == pytest.approx(0.9, abs=0.001)
    assert scale.max() == pytest.approx(1.1, abs=0.001)
    first, second = linear.unbind(dim=2)
    angle = torch.rad2deg(torch.atan2(first[:, 1], first[:, 0]))
    shear = (first * second).sum(dim=1) * scale**2
    shift = torch.linalg.solve(maps[:, :, :2], -maps[:, :, 2]) * 14
    for values, bound in ((angle, 15), (shear, 0.2), (shift[:, 0], 2), (shift[:, 1], 2)):
        assert values.min() == pytest.approx(-bound, rel=0.001)
        assert values.max() == pytest.approx(bound, rel=0.001)


def ink_of(images):
    """Return how many full pixels of ink each image has, and in which row and column they lie."""
    ink = images.double() / 255
    total, at = ink.sum(dim=(1, 2)), torch.arange(28, dtype=torch.float64)
    return total, ink.sum(dim=2) @ at / total, ink.sum(dim=1) @ at / total


def test_an_undistorted_original_keeps_its_place_and_orientation():
    original = torch.zeros(1, 8, 8)
    original[0, 1, 5:7] = 1  # upper right
    undistorted = torch.tensor([[[1.4, 0.0, 0.0], [0.0, 1.4, 0.0]]])
    _, row, column = ink_of(digits.enlarge(original, undistorted))
    assert row.item() == pytest.approx(4 + 1.5 * 2.5 - 0.5, abs=0.1)
    assert column.item() == pytest.approx(4 + 6 * 2.5 - 0.5, abs=0.1)


def test_the_middle_of_an_original_comes_to_lie_where_its_map_shifts_it():
    original = torch.zeros(8, 8)
    original[3:5, 3:5] = 1
    maps = digits.random_maps(100, torch.Generator().manual_seed(0))
    shift = torch.linalg.solve(maps[:, :, :2], -maps[:, :, 2]).double() * 14
    _, row, column = ink_of(digits.enlarge(original.expand(100, 8, 8), maps))
    torch.testing.assert_close(column, shift[:, 0] + 13.5, atol=0.1, rtol=0)
    torch.testing.assert_close(row, shift[:, 1] + 13.5, atol=0.1, rtol=0)


def test_images_after_the_first_batch_are_enlarged_as_they_are_alone():
    generator = torch.Generator().manual_seed(0)
    originals = torch.rand(5_002, 8, 8, generator=generator)
    maps = digits.random_maps(5_002, generator)
    images = digits.enlarge(originals, maps)
    for rows in (slice(4_998, 5_000), slice(5_000, None)):
        alone = digits.enlarge(originals[rows], maps[rows]).int()
        assert (images[rows] - alone).abs().max() <= 1  # a rounding


# Label, pixels of ink, and the row and column of its centre: of the first images of each part.
DRAWN = (
    [
        (1, 136.17, 13.601, 13.140),
        (0, 123.22, 15.395, 14.241),
        (2, 114.87, 12.936, 14.915),
        (6, 94.90, 16.278, 15.091),
        (5, 143.06, 10.699, 11.148),
    ],
    [
        (3, 127.84, 14.653, 14.775),
        (4, 100.70, 11.604, 13.844),
        (6, 147.09, 14.648, 15.207),
        (1, 97.82, 12.289, 12.550),
        (0, 135.20, 14.235, 13.072),
    ],
)


def test_the_images_are_the_ones_that_were_always_drawn():
    # No SHA-256, which is another on processors with other vector instructions: they round some
    # pixels to the next grey value. What is tolerated here is a few of these.
    for (images, labels), drawn in zip(digits.draw(300, 200), DRAWN, strict=True):
        numbers, expected = labels[: len(drawn)].tolist(), torch.tensor(drawn, dtype=torch.float64)
        assert numbers == expected[:, 0].tolist()
        actual = torch.stack(ink_of(images[: len(drawn)]), dim=1)
        torch.testing.assert_close(actual, expected[:, 1:], atol=0.01, rtol=0)


def test_drawing_again_gives_the_same_images_and_leaves_the_global_generators_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (digits.draw(300, 200) for _ in range(2))
    for part, again in zip(first, second, strict=True):
        assert all(map(torch.equal, part, again))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.random.get_state()[1].tolist() == numpy_state  # noqa: NPY002


def test_another_seed_separates_other_originals_and_distorts_them_otherwise(originals):
    (images, _), _ = digits.draw(1437, 360, seed=1)
    (others, _), _ = digits.draw(1437, 360, seed=2)
    assert not torch.equal(images, others)
    trained, tested = originals[0], originals[3]
    assert len(torch.cat([trained, tested]).unique(dim=0)) < 1797


# ---------------------------------------------------------------------------------------------
# Remembered
# ---------------------------------------------------------------------------------------------


def random_part(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 28, 28), generator=generator, dtype=torch.uint8)
    return images, torch.arange(count) % 10


def sha256_of(*parts):
    content = b"".join(tensor.numpy().tobytes() for part in parts for tensor in part)
    return hashlib.sha256(content).hexdigest()


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
    assert first[2] == second[2] == sha256_of(*second[:2])
    assert [path.name for path in cache.glob("digits*") if path.suffix != ".lock"] == ["digits.npz"]


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


def test_digits_in_other_numbers_are_drawn_anew(cache, draws):
    for counts in ((3, 2), (2, 3)):
        digits.load(cache, *counts)
    assert draws == [(3, 2), (2, 3)]


@pytest.mark.parametrize("library", ["torch", "scikit-learn"])
def test_digits_of_another_library_are_drawn_anew(cache, draws, monkeypatch, library):
    digits.load(cache)
    version = fingerprint.versions

    def newer(*names):
        return version(*names) | {library: "another"}

    monkeypatch.setattr(fingerprint, "versions", newer)
    digits.load(cache)
    assert len(draws) == 2


@pytest.fixture
def edit(monkeypatch, tmp_path):
    """A function that replaces text in a module of the package, as far as the fingerprint sees."""
    package = tmp_path / "bn_tutorial"
    shutil.copytree(fingerprint.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "Sources", functools.partial(fingerprint.Sources, package))

    def replace(module, old, new):
        path = package / module
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("data/digits.py", "  # of 1,797", "  # of all"),
        ("data/digits.py", '"""Draw training and test images', '"""Paint images'),
        ("data/digits.py", "-> Tensor", "-> torch.Tensor"),
        ("data/digits.py", "is damaged", "is worn"),
        ("fetch.py", "PATIENCE = 15.0", "PATIENCE = 16.0"),
    ],
)
def test_an_edit_that_changes_nothing_drawn_is_no_reason_to_draw_again(
    cache, draws, edit, module, old, new
):
    digits.load(cache)
    edit(module, old, new)
    digits.load(cache)
    assert len(draws) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_BOX = 20", "_BOX = 21"),
        ("_TEST_ORIGINALS = 360", "_TEST_ORIGINALS = 361"),
        ("uniform(15)", "uniform(16)"),
        ("ink - 0.55", "ink - 0.56"),
        ("seed: int = 0", "seed: int = 1"),
    ],
)
def test_an_edited_constant_draws_the_digits_anew(cache, draws, edit, old, new):
    digits.load(cache)
    edit("data/digits.py", old, new)
    digits.load(cache)
    assert len(draws) == 2


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
