import gymnasium
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from sb3_course.benchmark.statistics import scores
from sb3_course.benchmark.storage.references import MeasuredReference, described
from sb3_course.envs.config import EnvConfig
from tests.benchmark import made_up


def table(steps=(0, 50, 100), seeds=range(5)) -> pd.DataFrame:
    """Return scores that encode their algorithm, environment, seed and step."""
    rows = [
        (algorithm, environment, seed, step, 100 * a + 10 * e + seed + step / 1000)
        for a, algorithm in enumerate("AB")
        for e, environment in enumerate(("CartPole-v1", "HalfCheetah-v4"))
        for seed in seeds
        for step in steps
    ]
    return pd.DataFrame(rows, columns=["algorithm", "environment", "seed", "step", "score"])


def test_reference_returns_have_the_scores_zero_and_one():
    references = scores.load_references()
    assert references.version == 2
    for name, scale in references.environments.items():
        final = pd.DataFrame({"environment": name, "return_mean": [scale.random, scale.expert]})
        assert scores.normalize(final, references)["score"].tolist() == [0.0, 1.0]


def test_expert_returns_that_are_thresholds_equal_gymnasiums():
    named = {
        name: scale.expert
        for name, scale in scores.load_references().environments.items()
        if scale.expert_name == "Gymnasium's reward threshold"
    }
    assert len(named) >= 10
    assert named == {name: gymnasium.spec(name).reward_threshold for name in named}


@pytest.mark.parametrize(
    "change", [{"expert": 0.0}, {"random": float("nan")}, {"expert_name": None}, {"more": 1}]
)
def test_an_invalid_reference_is_rejected(change):
    good = {"random": 0.0, "expert": 1.0, "expert_name": "somebody"}
    assert scores.Reference.model_validate(good).expert == 1
    with pytest.raises(ValidationError):
        scores.Reference.model_validate(good | change)


def test_environments_without_reference_are_left_out():
    final = pd.DataFrame({"environment": ["Nowhere-v0"], "return_mean": [1.0]})
    assert scores.normalize(final, scores.load_references()).empty


def test_scores_are_arranged_by_seed_environment_and_step():
    cubes = scores.cubes(table())
    assert cubes.points.tolist() == [0, 0.5, 1]
    assert cubes.left_out.empty
    assert cubes.scores["B"].shape == (5, 2, 3)
    assert cubes.scores["B"][3, 1].tolist() == [113, 113.05, 113.1]


def test_arrays_hold_the_seeds_that_finished_everywhere_and_the_others_are_listed():
    some = table()
    lost = (some["environment"] == "CartPole-v1") & (some["seed"] == 4) & (some["algorithm"] == "A")
    cubes = scores.cubes(some[~lost])
    assert cubes.scores["A"][:, 1, -1].tolist() == [10.1, 11.1, 12.1, 13.1]
    assert len(cubes.scores["B"]) == 5
    assert cubes.left_out.values.tolist() == [["A", "HalfCheetah-v4", 4, "CartPole-v1"]]


def test_an_algorithm_that_lacks_an_environment_has_no_array():
    some = table(seeds=range(2))
    nowhere = (some["environment"] == "CartPole-v1") & (some["algorithm"] == "A")
    cubes = scores.cubes(some[~nowhere])
    assert list(cubes.scores) == ["B"]
    assert cubes.left_out["seed"].tolist() == [0, 1]


def test_curves_with_unequal_budgets_are_interpolated_at_the_coarsest_fractions():
    some = pd.concat(
        [
            table(steps=(0, 50, 100)).query("environment == 'CartPole-v1'"),
            table(steps=(0, 250, 500, 750, 1000)).query("environment == 'HalfCheetah-v4'"),
        ]
    )
    cubes = scores.cubes(some)
    assert cubes.points.tolist() == [0, 0.5, 1]
    assert cubes.scores["A"][0].tolist() == [[0, 0.05, 0.1], [10, 10.5, 11]]


def curves(**steps):
    """Return scores that equal their steps, of one run on each environment."""
    rows = [("A", name, 0, step, float(step)) for name, taken in steps.items() for step in taken]
    return pd.DataFrame(rows, columns=["algorithm", "environment", "seed", "step", "score"])


@pytest.mark.parametrize(
    ("late", "points"),
    [
        ((0, 20, 50, 80, 100), [0.1, 0.4, 0.7, 1]),
        ((30, 65, 80, 90, 100), [0.4, 0.7, 1]),
        ((65, 80, 90, 95, 100), [0.7, 1]),
        ((100,), [1]),
    ],
)
def test_curves_that_begin_late_are_compared_where_all_have_begun(late, points):
    """As of logs, which have no evaluation before training."""
    cubes = scores.cubes(curves(E=(10, 40, 70, 100), F=late))
    assert cubes.points.tolist() == points
    np.testing.assert_allclose(cubes.scores["A"][0], np.tile(100 * cubes.points, (2, 1)))


def test_a_curve_that_ends_at_step_0_has_one_point():
    assert scores.cubes(curves(E=(0,))).scores["A"].tolist() == [[[0.0]]]


def test_no_scores_result_in_no_arrays():
    cubes = scores.cubes(table().iloc[:0])
    assert cubes.scores == {}
    assert cubes.left_out.empty


def test_random_returns_are_reproducible(capsys, monkeypatch):
    import runpy
    from pathlib import Path

    script = Path(__file__).parents[3] / "scripts" / "random_returns.py"
    arguments = ["random_returns.py", "CartPole-v1", "Nowhere-v0", "--episodes", "20"]
    monkeypatch.setattr("sys.argv", arguments)
    lines = []
    for _ in range(2):
        runpy.run_path(str(script), run_name="__main__")
        lines.append(capsys.readouterr().out)
    assert lines[0] == lines[1]
    measured = float(lines[0].split()[1])
    assert np.isfinite(measured)
    assert "Nowhere-v0: not measured" in lines[0]


def measured(name, random, threshold=None, **settings):
    env = described(EnvConfig(name, **settings))
    given = {"random": random, "low": random, "high": random, "threshold": threshold}
    return MeasuredReference(episodes=9, seed=0, env=env, **given)


def test_a_grids_own_references_come_first_and_missing_parts_are_filled_in():
    names = (
        "CartPole-v1",
        "Acrobot-v1",
        "Taxi-v3",
        "FrozenLake-v1",
        "Blackjack-v1",
        "CliffWalking-v1",
    )
    environments = {name: {"total_timesteps": 100} for name in names}
    declared = {
        "CartPole-v1": {"random": 0, "expert": 100},
        "Taxi-v3": {"expert": 8, "expert_name": "somebody"},
        "Blackjack-v1": {"expert": 1},
    }
    grid = made_up.grid(environments=environments, references=declared)
    given = {
        "Taxi-v3": measured("Taxi-v3", -700.0),
        "FrozenLake-v1": measured("FrozenLake-v1", 0.01, threshold=0.7),
    }
    found = scores.references_of(grid, given).environments
    assert (found["CartPole-v1"].expert, found["CartPole-v1"].expert_name) == (
        100,
        "declared in the grid",
    )
    assert found["Acrobot-v1"] == scores.load_references().environments["Acrobot-v1"]
    assert (found["Taxi-v3"].random, found["Taxi-v3"].expert_name) == (-700, "somebody")
    assert found["FrozenLake-v1"].expert == 0.7
    assert found.keys() == {"CartPole-v1", "Acrobot-v1", "Taxi-v3", "FrozenLake-v1"}


def test_an_expert_below_random_actions_is_no_scale():
    environments = {"Taxi-v3": {"total_timesteps": 100}}
    grid = made_up.grid(environments=environments, references={"Taxi-v3": {"expert": -800}})
    assert not scores.references_of(grid, {"Taxi-v3": measured("Taxi-v3", -700.0)}).environments
    with pytest.raises(ValidationError, match="above that of random actions"):
        made_up.grid(environments=environments, references={"Taxi-v3": {"random": 1, "expert": 0}})
    with pytest.raises(ValidationError, match="unknown environment 'Taxi'; did you mean 'Taxi-v3'"):
        made_up.grid(environments=environments, references={"Taxi": {"random": 0, "expert": 1}})


@pytest.mark.parametrize("threshold", [0.0, -1.0, 475.0])
def test_any_threshold_above_random_actions_is_an_expert(threshold):
    grid = made_up.grid(environments={"Mine-v0": {"total_timesteps": 100}})
    given = {"Mine-v0": measured("Mine-v0", -5.0, threshold)}
    assert scores.references_of(grid, given).environments["Mine-v0"].expert == threshold
    below = {"Mine-v0": measured("Mine-v0", 500.0, threshold)}
    assert not scores.references_of(grid, below).environments


def test_a_declared_expert_below_random_actions_is_not_replaced_by_a_threshold():
    environments = {"Taxi-v3": {"total_timesteps": 100}}
    grid = made_up.grid(environments=environments, references={"Taxi-v3": {"expert": -800}})
    given = {"Taxi-v3": measured("Taxi-v3", -700.0, threshold=8.0)}
    assert not scores.references_of(grid, given).environments


@pytest.mark.parametrize(
    "changed", [{"id": "Other-v0"}, {"kwargs": {"size": 4}}, {"time_limit": 7}, {"wrappers": "A"}]
)
def test_what_was_measured_with_other_settings_is_not_taken(changed):
    settings = {"id": "Mine-v0", "kwargs": {"size": 3}, "total_timesteps": 100}
    declared = {"Mine": {"expert": 9}}
    given = {"Mine": measured("Mine-v0", 1.0, kwargs={"size": 3})}
    grid = made_up.grid(environments={"Mine": settings}, references=declared)
    assert scores.references_of(grid, given).environments["Mine"].random == 1
    other = made_up.grid(environments={"Mine": {**settings, **changed}}, references=declared)
    assert not scores.references_of(other, given).environments
