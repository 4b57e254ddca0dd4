import numpy as np
import pytest

from bn_tutorial.scratch import blockwise, functional


@pytest.mark.parametrize("options", [{}, {"eps": 0.1}])
@pytest.mark.parametrize("rows", [2, 63, 64, 65, 200])
def test_blocks_give_what_the_whole_batch_gives(rows, options):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(3, 5, (rows, 4)), rng.normal(size=(rows, 4))
    gamma, beta = rng.normal(0.5, 1, 4), rng.normal(size=4)
    found, expected = [], []
    for code, results in ((blockwise, found), (functional, expected)):
        y, cache = code.batch_norm_forward(x, gamma, beta, **options)
        results += map(np.ravel, (y, *code.batch_norm_backward(dy, cache), *cache))
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
