from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch as th

from sb3_course.lectures.parameter_scales import (
    GAUSSIAN,
    NATURAL,
    QUICK,
    SOFTMAX,
    VANILLA,
    Gaussian,
    Softmax,
    conclude,
    measure,
    path,
)

SMALL = replace(QUICK, n_mdps=1, n_updates=60, scales=(1.0, 30.0))
PROBLEMS = {
    GAUSSIAN: lambda scale: Gaussian(SMALL, scale),
    SOFTMAX: lambda scale: Softmax(SMALL, scale, 0),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_the_gradient_equals_differences(name, scale):
    problem, h = PROBLEMS[name](scale), 1e-6
    psi = problem.start() + 0.1
    _, gradient, _ = problem.at(psi)
    for i, step in enumerate(h * th.eye(len(psi), dtype=th.float64)):
        slope = (problem.at(psi + step)[0] - problem.at(psi - step)[0]) / (2 * h)
        assert gradient[i].item() == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_the_fisher_matrix_is_the_curvature_of_the_kl():
    problem = PROBLEMS[SOFTMAX](7.0)
    psi, step = problem.start() + 0.1, 1e-3 * th.linspace(-1, 1, 15, dtype=th.float64)
    world, features = problem._world, th.from_numpy(problem._features)
    old, new = ((features @ x.view(5, 3)).log_softmax(1) for x in (psi, psi + step))
    states = th.from_numpy(world.visits(old.exp().numpy()).mean(axis=0))
    kl = (states[:, None] * old.exp() * (old - new)).sum()
    _, _, fisher = problem.at(psi)
    assert kl.item() == pytest.approx(0.5 * (step @ fisher @ step).item(), rel=1e-2)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_natural_path_is_the_same_at_every_scale_and_the_vanilla_one_is_not(name):
    natural, vanilla = (
        [path(PROBLEMS[name](scale), kind, SMALL) for scale in (1.0, 30.0)]
        for kind in (NATURAL, VANILLA)
    )
    np.testing.assert_allclose(natural[0][:15], natural[1][:15], rtol=1e-4)
    assert natural[0][0] == pytest.approx(vanilla[1][0])
    assert vanilla[0][10] > vanilla[1][10] + 0.05


def test_the_claim_holds_and_would_not_without_ill_scaled_parameters():
    config = replace(SMALL, n_updates=150, scales=(0.01, 1.0, 100.0))
    assert conclude(measure(config)).holds
    assert not conclude(measure(replace(SMALL, scales=(0.9, 1.0, 1.1)))).holds


def test_paths_that_do_not_arrive_are_told_and_do_not_move_the_others():
    """Five MDPs of which two have not arrived within the updates that were made."""
    table = measure(SMALL)
    cap = table["update"].max()
    at_high = (table["problem"] == SOFTMAX) & (table["scale"] == 30.0)
    rows = table[at_high & (table["part"] == "count") & (table["kind"] == VANILLA)]
    others = table.drop(index=rows.index)
    made_up = [rows.assign(value=float(n), mdp=i) for i, n in enumerate((9, 10, 11, cap, cap))]
    found = conclude(pd.concat([others, *made_up]))
    assert f"11 (2 of them more than {cap:.0f})" in found.sentence
    assert found.numbers[f"updates, {SOFTMAX}, scale 30, {VANILLA}"] == 11


def test_scales_are_compared_with_one():
    with pytest.raises(ValueError, match="scales: given .*0.1, 10.0.*those with 1.0"):
        measure(replace(SMALL, scales=(0.1, 10.0)))


def test_the_order_of_the_scales_does_not_matter():
    table = measure(replace(SMALL, n_updates=5, scales=(30.0, 1.0, 0.1)))
    assert set(table.loc[table["part"] == "path", "scale"]) == {1.0, 30.0}


def test_a_path_that_arrives_with_the_last_update_has_arrived():
    table = measure(replace(QUICK, n_mdps=1, n_updates=11, scales=(1.0, 2.0)))
    assert table.loc[table["part"] == "count", "value"].max() == 10  # 11 if one did not arrive
    assert "more than" not in conclude(table).sentence
