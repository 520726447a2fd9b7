import pytest
import torch as th

from sb3_course import estimators
from sb3_course.exercises.checking import State
from sb3_course.exercises.themes.baselines import BIASED, OPTIMAL_BASELINE
from tests.exercises.answers import edited, verdict

OPTIMAL = [
    """
def optimal_baseline(probabilities, scores, returns):
    weights = probabilities[:, None] * scores**2
    above = (weights * returns[:, None]).sum(axis=0)
    below = weights.sum(axis=0)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
""",
    """
def optimal_baseline(probabilities, scores, returns):
    baselines = []
    for p in range(scores.shape[1]):
        squares = probabilities @ scores[:, p] ** 2
        mean = probabilities @ (scores[:, p] ** 2 * returns)
        baselines.append(mean / squares if squares else 0.0)
    return np.array(baselines)
""",
    """
def optimal_baseline(probabilities, scores, returns):
    # Regress S R on S, weighted by p.
    root = np.sqrt(probabilities)[:, None]
    s, y = root * scores, root * scores * returns[:, None]
    return np.array([np.linalg.lstsq(a[:, None], b)[0][0] for a, b in zip(s.T, y.T)])
""",
]
OPTIMAL_WRONG = [
    ([("return np.divide", "return 0 * below + probabilities @ returns + 0 * np.divide")],
     "mean_return"),
    ([("weights.sum(axis=0)", "0 * above + weights.sum()\n    above = 0 * above + above.sum()")],
     "one_for_all"),
    ([("scores**2", "scores"), ("below > 0", "below != 0")], "unsquared"),
    ([("weights.sum(axis=0)", "(probabilities @ scores) ** 2")], "squared_mean"),
    ([("returns[:, None]", "returns[:, None] ** 2")], "squared_returns"),
    ([("probabilities[:, None] * ", "")], "unweighted"),
    ([("below = weights.sum(axis=0)", "below = 1.0 + 0 * above")], "undivided"),
    ([("    below = weights.sum(axis=0)",
       "    mean = probabilities @ scores\n"
       "    above = above - mean * (probabilities @ (scores * returns[:, None]))\n"
       "    below = weights.sum(axis=0) - mean**2")], "covariance"),
]  # fmt: skip
BIAS = [
    """
def bias_of_action_baseline(probs, visits, baseline):
    mean = (probs * baseline).sum(axis=1, keepdims=True)
    return -visits.sum(axis=0)[:, None] * probs * (baseline - mean)
""",
    """
def bias_of_action_baseline(probs, visits, baseline):
    bias = np.zeros(baseline.shape)
    for d in visits:
        for s in range(len(probs)):
            for a in range(probs.shape[1]):
                score = -probs[s].copy()
                score[a] += 1
                bias[s] -= d[s] * probs[s, a] * score * baseline[s, a]
    return bias
""",
    """
def bias_of_action_baseline(probs, visits, baseline):
    theta = torch.tensor(np.log(probs), requires_grad=True)
    expected = (torch.softmax(theta, 1) * torch.tensor(baseline)).sum(1)
    (gradient,) = torch.autograd.grad(torch.tensor(visits.sum(0)) @ expected, theta)
    return -gradient
""",
]
BIAS_WRONG = [
    ([("    return -", "    return 0 * ")], "zero"),
    ([("    return -", "    return ")], "sign"),
    ([("(baseline - mean)", "baseline")], "indicator"),
    ([(" * probs * (", " / probs.shape[1] * (")], "unweighted_actions"),
    ([("visits.sum(axis=0)", "visits[0]")], "first_step"),
    ([("visits.sum(axis=0)", "visits.mean(axis=0)")], "mean_visits"),
    ([("visits.sum(axis=0)[:, None] * ", "")], "unvisited"),
]


@pytest.mark.parametrize("source", OPTIMAL)
def test_right_baselines(source):
    assert verdict("optimal_baseline", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), OPTIMAL_WRONG)
def test_wrong_baselines(edits, flag):
    found = verdict("optimal_baseline", edited(OPTIMAL[0], *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, OPTIMAL_BASELINE.mistakes[flag])


def test_a_division_by_0_is_told():
    source = edited(OPTIMAL[0], (", out=np.zeros_like(above), where=below > 0", ""))
    with pytest.warns(RuntimeWarning, match="invalid value"):
        (line,) = verdict("optimal_baseline", source).lines
    assert line.startswith("with a parameter whose score is 0") and "[2] is nan" in line


def test_the_mean_return_is_told_how_much_variance_it_leaves():
    found = verdict("optimal_baseline", edited(OPTIMAL[0], *OPTIMAL_WRONG[0][0]))
    assert "times the variance" in found.lines[-1] and "no baseline" not in found.lines[-1]
    found = verdict("optimal_baseline", edited(OPTIMAL[0], *OPTIMAL_WRONG[6][0]))
    assert OPTIMAL_BASELINE.mistakes["undivided"] == found.lines[0]


@pytest.mark.parametrize("source", BIAS)
def test_right_biases(source):
    assert verdict("bias_of_action_baseline", source).state is State.DONE


@pytest.mark.parametrize(("edits", "flag"), BIAS_WRONG)
def test_wrong_biases(edits, flag):
    found = verdict("bias_of_action_baseline", edited(BIAS[0], *edits))
    assert (found.state, found.lines[0]) == (State.WRONG, BIASED.mistakes[flag])
    assert "biases by" in found.lines[-1]


def test_the_answer_is_the_estimators_with_each_trajectory_twice():
    """A leave-one-out estimate from many copies of a batch approaches the batch's own."""
    case = OPTIMAL_BASELINE.cases[1].arguments
    p, scores, returns = (th.tensor(value) for value in case.values())
    rows = p.sqrt()[:, None] * scores
    copies = rows.repeat(200_000, 1)
    wanted = estimators.optimal_baseline(copies, (rows * returns[:, None]).repeat(200_000, 1))
    assert OPTIMAL_BASELINE.answer(**case) == pytest.approx(wanted[0].numpy(), rel=1e-4)
