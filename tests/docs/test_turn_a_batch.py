"""The figure of a batch in space computes what the package does, and draws it in proportion."""

import numpy as np
import pytest
import widget

from bn_tutorial.scratch.functional import batch_norm_backward, batch_norm_forward


def js(expression, **values):
    return widget.interpreter().evaljs(f"bnWidgets.{expression}", **values)


def numbers(**changes):
    state = {"x": [0.3, 0.7, 1.7], "gamma": 1.3, "exponent": -5, "upstream": "mixed"}
    return js("numbersOf('turn-a-batch', dukpy.s)", s=state | changes)


@pytest.mark.parametrize("seed", range(10))
def test_forward_and_backward_are_those_of_the_package(seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, 3, 1))
    gamma, eps = rng.normal(), 10.0 ** rng.integers(-5, 1)
    y, cache = batch_norm_forward(x, np.array([gamma]), np.zeros(1), eps=eps)
    dx, dgamma, _ = batch_norm_backward(dy, cache)
    given = {"x": x.ravel().tolist(), "dy": dy.ravel().tolist(), "gamma": gamma, "eps": eps}
    ours = js("normalize(dukpy.x, dukpy.dy, dukpy.gamma, dukpy.eps)", **given)
    for name, right in {"xhat": cache.xhat, "y": y, "dx": dx}.items():
        np.testing.assert_allclose(ours[name], right.ravel(), rtol=1e-9, atol=1e-12)
    assert ours["kappa"] == pytest.approx(eps / (cache.var.item() + eps), rel=1e-12)
    # The two projections, one after the other.
    np.testing.assert_allclose(ours["level"], (dy - dy.mean()).ravel(), atol=1e-12)
    removed = cache.xhat * dgamma / 3
    np.testing.assert_allclose(ours["tangent"], (dy - dy.mean() - removed).ravel(), atol=1e-12)


@pytest.mark.parametrize("upstream", ["ones", "along"])
def test_gradient_along_the_ones_or_xhat_leaves_nothing(upstream):
    assert np.linalg.norm(numbers(upstream=upstream)["dx"]) < 1e-3  # what eps leaves
    assert np.linalg.norm(numbers(upstream="first")["dx"]) > 0.1
    passed = numbers(upstream="along", exponent=0)  # a large eps lets some of it through
    share = passed["kappa"] * 1.3 * passed["r"]
    np.testing.assert_allclose(passed["dx"], np.multiply(share, passed["xhat"]), atol=1e-12)


@pytest.mark.parametrize("turn", [-180, -35, 0, 95])
@pytest.mark.parametrize("point", [[0.3, 0.7, 1.7], [-1.0, 2.0, 0.5]])
def test_from_above_lengths_in_the_plane_are_seen_and_from_the_side_the_mean(turn, point):
    def seen(p, tilt):
        place = js(
            "camera({turn: dukpy.turn, tilt: dukpy.tilt})(dukpy.p)", turn=turn, tilt=tilt, p=p
        )
        return np.subtract(place, js("camera({turn: 0, tilt: 0})([0, 0, 0])"))

    (unit,) = {round(-seen([3**-0.5] * 3, 0)[1], 9)}
    flat = np.subtract(point, np.mean(point))
    assert np.linalg.norm(seen(point, 90)) == pytest.approx(unit * np.linalg.norm(flat))
    assert -seen(point, 0)[1] == pytest.approx(unit * np.mean(point) * 3**0.5)


@pytest.mark.parametrize("move", ["raise", "lower", "stretch", "squeeze"])
def test_button_moves_all_samples_and_leaves_xhat_where_it_is(move):
    state = {"x": [0.3, 0.7, 1.5], "gamma": 1, "exponent": -8, "upstream": "mixed"}
    after = js("changed('turn-a-batch', dukpy.s, 'move', dukpy.m, {})", s=state, m=move)
    assert not np.isclose(after["x"], state["x"]).all()
    before, now = numbers(x=state["x"], exponent=-8), numbers(x=after["x"], exponent=-8)
    np.testing.assert_allclose(now["xhat"], before["xhat"], atol=1e-6)
    assert (move == "squeeze") == (np.linalg.norm(now["dx"]) > 1.01 * np.linalg.norm(before["dx"]))


def test_no_button_takes_a_sample_beyond_its_slider():
    state = {"x": [-2.0, 0.0, 2.0], "gamma": 1, "exponent": -5, "upstream": "mixed"}
    moved = {
        move: js("changed('turn-a-batch', dukpy.s, 'move', dukpy.m, {})", s=state, m=move)["x"]
        for move in ("raise", "lower", "stretch", "squeeze")
    }
    assert [move for move, x in moved.items() if x != state["x"]] == ["squeeze"]
