import pytest

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.common.errors import UserError
from sb3_course.homework.experiments import EXPERIMENTS, Reaches, check_names


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_expectations_are_of_what_the_grid_runs(name):
    experiment = EXPERIMENTS[name]
    grid = checked_grid(experiment.path)
    assert grid.name == f"homework_{name}"
    for check in experiment.checks:
        named = check.algorithms if isinstance(check, Reaches) else (check.first, check.second)
        assert check.environment in grid.environments and set(named) <= set(grid.algorithms)


# What the handout asks for: steps of all iterations, steps of one, γ, learning rate, layers.
HANDOUT = {
    "cartpole": [(100 * 1000, 1000, 1.0, 5e-3, [64, 64]), (100 * 4000, 4000, 1.0, 5e-3, [64, 64])],
    "cheetah": [(100 * 5000, 5000, 0.95, 1e-2, [64, 64])],
    "lunarlander": [(300 * 2000, 2000, 0.99, 1e-3, [128] * 3)],
    "pendulum": [(100 * 5000, 5000, 1.0, 5e-3, [64, 64])],
    "humanoid": [(1000 * 50_000, 50_000, 0.99, 1e-3, [256] * 3)],
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_settings_are_the_handouts(name):
    grid = checked_grid(EXPERIMENTS[name].path)
    found = set()
    for run in grid.runs():
        config = run.config
        if run.algorithm == "tuned":
            continue
        found.add(
            (
                config.total_timesteps,
                config.params["n_steps"] * config.n_envs,
                config.params["gamma"],
                config.params["learning_rate"],
                tuple(config.params["policy_kwargs"]["net_arch"]),
            )
        )
        assert config.params["policy_kwargs"]["ortho_init"] is False
        assert config.normalize is False
    assert found == {(*row[:-1], tuple(row[-1])) for row in HANDOUT[name]}


def test_flags_are_switches():
    grid = checked_grid(EXPERIMENTS["cartpole"].path)
    for name, algorithm in grid.algorithms.items():
        assert algorithm.params["reward_to_go"] == ("-rtg" in name)
        assert algorithm.params["normalize_advantage"] == ("-na" in name)
        assert algorithm.params["baseline"] is None
    cheetah = checked_grid(EXPERIMENTS["cheetah"].path).algorithms
    assert cheetah["no baseline"].params["baseline"] is None
    steps = {name: a.params.get("n_critic_updates") for name, a in cheetah.items()}
    assert steps == {"no baseline": None, "baseline": 5, "baseline, -bgs 1": 1, "baseline, -na": 5}
    lander = checked_grid(EXPERIMENTS["lunarlander"].path).algorithms
    assert {f"λ = {a.params['gae_lambda']:g}" for a in lander.values()} == set(lander)
    assert {a.params["critic_target"] for a in lander.values()} == {"mc"}


def test_a_part_of_the_steps_has_a_grid_of_its_own():
    grid = checked_grid(EXPERIMENTS["cartpole"].grid(seeds=2, fraction=0.1))
    assert grid.name == "homework_cartpole_0.1" and grid.seeds == [0, 1]
    steps = [environment.total_timesteps for environment in grid.environments.values()]
    assert steps == [10_000, 40_000]
    assert checked_grid(EXPERIMENTS["cartpole"].grid()) == checked_grid(
        EXPERIMENTS["cartpole"].path
    )


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.1, float("nan")])
def test_other_fractions_are_refused(fraction):
    with pytest.raises(UserError, match="allowed: above 0, up to 1"):
        EXPERIMENTS["cartpole"].grid(fraction=fraction)


def test_names_are_sorted_and_checked():
    assert check_names(["analysis", "cheetah"]) == ["cheetah", "analysis"]
    assert check_names([]) == ["cartpole", "cheetah", "lunarlander", "pendulum", "analysis"]
    with pytest.raises(UserError, match="did you mean 'cartpole'"):
        check_names(["cartpol"])
