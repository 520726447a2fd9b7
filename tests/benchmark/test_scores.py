import numpy as np
import pandas as pd
import pytest
from rliable import library, metrics

from sb3_course.benchmark import scores


def table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = [
        (algorithm, environment, seed, step, float(generator.normal(high * step / 100, 3)))
        for algorithm in ("A", "B")
        for environment, high in (("CartPole-v1", 500), ("HalfCheetah-v4", 3000))
        for seed in range(5)
        for step in (0, 50, 100)
    ]
    names = ["algorithm", "environment", "seed", "step", "return_mean"]
    return pd.DataFrame(rows, columns=names)


def normalised() -> pd.DataFrame:
    return scores.normalise(scores.final_returns(table()), scores.load_references())


def test_references_set_zero_and_one():
    references = scores.load_references()
    assert references.version == 1
    for name, scale in references.environments.items():
        final = pd.DataFrame({"environment": name, "return_mean": [scale.random, scale.reference]})
        assert scores.normalise(final, references)["score"].tolist() == [0.0, 1.0]


def test_environments_without_reference_are_left_out():
    final = pd.DataFrame({"environment": ["Nowhere-v0"], "return_mean": [1.0]})
    assert scores.normalise(final, scores.load_references()).empty


def test_the_last_evaluation_counts():
    final = scores.final_returns(table())
    assert len(final) == 20
    assert set(final["step"]) == {100}


def test_intervals_are_rliables_own():
    matrices = scores.score_matrices(normalised())
    ours = scores.iqm_intervals(matrices, reps=200).set_index("algorithm")
    for name, matrix in matrices.items():
        assert matrix.shape == (5, 2)
        np.random.seed(0)
        points, bounds = library.get_interval_estimates(
            {name: matrix}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=200
        )
        assert ours.loc[name, "iqm"] == points[name][0]
        assert ours.loc[name, ["low", "high"]].tolist() == bounds[name][:, 0].tolist()


def test_the_global_generator_is_put_back_and_does_not_matter():
    matrices = scores.score_matrices(normalised())
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    one = scores.iqm_intervals(matrices, reps=50)
    assert np.array_equal(np.random.get_state()[1], before)
    np.random.seed(6)
    pd.testing.assert_frame_equal(one, scores.iqm_intervals(matrices, reps=50))


def test_an_algorithms_interval_does_not_depend_on_the_others():
    matrices = scores.score_matrices(normalised())
    alone = scores.iqm_intervals({"B": matrices["B"]}, reps=50)
    both = scores.iqm_intervals(matrices, reps=50)
    assert alone.iloc[0].tolist() == both.iloc[1].tolist()


def test_the_aggregate_takes_the_seeds_that_finished_everywhere():
    some = normalised()
    lost = (some["environment"] == "CartPole-v1") & (some["seed"] == 4) & (some["algorithm"] == "A")
    result = scores.iqm_table(some[~lost], reps=50).set_index(["environment", "algorithm"])
    assert result.loc[(scores.ALL, "A"), "n_runs"] == 4
    assert result.loc[(scores.ALL, "B"), "n_runs"] == 5
    assert result.loc[("HalfCheetah-v4", "A"), "n_runs"] == 5
    nowhere = some[~((some["environment"] == "CartPole-v1") & (some["algorithm"] == "A"))]
    groups = scores.iqm_table(nowhere, reps=50).groupby("environment")["algorithm"].agg(list)
    assert groups[scores.ALL] == ["B"]


def test_one_environment_has_no_aggregate():
    some = normalised()
    one = scores.iqm_table(some[some["environment"] == "CartPole-v1"], reps=50)
    assert set(one["environment"]) == {"CartPole-v1"}
    assert scores.iqm_table(some.iloc[:0]).empty


@pytest.mark.parametrize("n", [1, 2])
def test_few_seeds_work(n):
    some = normalised()
    result = scores.iqm_table(some[some["seed"] < n], reps=50)
    assert (result["low"] <= result["iqm"]).all()
