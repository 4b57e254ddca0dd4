import numpy as np
import pytest

from bn_tutorial.networks.angles import relu_cosine, stable_rank


@pytest.mark.parametrize("cosine", [-0.9, -0.2, 0.0, 0.4, 0.95])
def test_cosine_behind_relu_is_that_of_very_many_units(cosine):
    rng = np.random.default_rng(0)
    first, other = rng.normal(size=(2, 400_000))
    second = cosine * first + np.sqrt(1 - cosine**2) * other
    a, b = np.maximum(first, 0), np.maximum(second, 0)
    measured = a @ b / np.sqrt(a @ a * (b @ b))
    assert relu_cosine(cosine) == pytest.approx(measured, abs=0.005)


def test_samples_become_more_alike_unless_they_are_the_same():
    cosines = np.linspace(-1, 0.99, 50)
    assert all(relu_cosine(cosine) > cosine for cosine in cosines)
    assert relu_cosine(1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("cosine", [0.0, 0.3, 0.9])
def test_stable_rank_is_that_of_a_matrix_of_such_samples(cosine):
    m = 7
    squares = np.linalg.eigvalsh((1 - cosine) * np.eye(m) + cosine)
    assert stable_rank(cosine, m) == pytest.approx(squares.sum() / squares[-1])
