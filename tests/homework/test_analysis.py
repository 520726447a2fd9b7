import numpy as np
import pandas as pd
import pytest

from sb3_course.common.errors import UserError
from sb3_course.homework import analysis
from sb3_course.homework.one_parameter_mdp import IMPORTANCE, KINDS, TO_GO, TOTAL, OneParameterMDP

SMALL = analysis.Config(thetas=(0.3, 0.5), horizon=2, trajectories=4000)


@pytest.fixture(scope="module")
def table():
    return analysis.measure(SMALL)


def episode(theta, actions):
    """A batch of one episode with these actions."""
    rng = iter([0.0 if action == 0 else 1.0 for action in actions])

    class Scripted:
        def random(self, n):
            return np.full(n, next(rng))

    (rollout,) = analysis._batches(theta, None, 1, Scripted())
    return rollout


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TOTAL, 2 * (2 / 0.5 - 1 / 0.5)),  # the return of 2, times the whole score
        (TO_GO, (2 + 1) / 0.5),
        (IMPORTANCE, (0.5**3 / (0.75**2 * 0.25)) * 2 * (2 / 0.5 - 1 / 0.5)),
    ],
)
def test_the_gradient_of_one_episode_is_that_computed_by_hand(kind, expected):
    """Two rewards, then the end, at θ = 1/2; experience of θ' = 3/4."""
    (found,) = analysis.sampled_gradients(kind, episode(0.5, [0, 0, 1]), 0.5, 0.75)
    assert found == pytest.approx(expected)


def test_sampled_moments_agree_with_the_exact_ones(table):
    assert len(table) == 2 * len(KINDS) * 2
    assert analysis.disagreements(table, SMALL.trajectories).empty
    ratio = table["sampled_variance"] / table["variance"]
    assert ratio.between(0.7, 1.4).all()


def test_a_biased_estimator_is_noticed(table):
    wrong = table.assign(sampled_mean=table["sampled_mean"] * 1.3)
    assert len(analysis.disagreements(wrong, SMALL.trajectories)) > len(table) / 2


def test_infinite_variance_is_no_disagreement(table):
    wrong = table.assign(variance=np.inf, sampled_mean=0.0)
    assert analysis.disagreements(wrong, SMALL.trajectories).empty
    assert all(row[-2:] == ("inf", "—") for row in analysis.rows_of(wrong, every=1))


def test_analysis_writes_table_figure_and_setting(tmp_path):
    config = analysis.Config(thetas=(0.4,), trajectories=50)
    told = []
    table, _ = analysis.analyze(tmp_path, config, told.append)
    stored = pd.read_csv(tmp_path / "analysis.csv")
    assert list(stored["kind"]) == list(table["kind"])
    assert (tmp_path / "figures" / "analysis.png").exists()
    assert '"trajectories": 50' in (tmp_path / "manifest.json").read_text()
    assert told == ["50 trajectories at each of 1 θ"]


def test_a_place_that_takes_no_results_is_told_before_anything_is_sampled(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(analysis, "measure", lambda *_: pytest.fail("it is measured"))
    with pytest.raises(UserError, match=r"--results: .*file is a file; allowed: a folder"):
        analysis.analyze(tmp_path / "file")


def test_every_trajectory_is_sampled_once():
    batches = list(analysis._batches(0.5, 3, 5, np.random.default_rng(0), size=2))
    assert [batch.n_trajectories for batch in batches] == [2, 2, 1]
    assert OneParameterMDP(1, 3).action_space.n == 2
