import pytest
import yaml

from sb3_course.benchmark.definition.grid import Grid, RunSpec, load_grid, parse
from tests.benchmark.helpers import content

CARTPOLE = {"total_timesteps": 200}


def with_setting(name, value):
    return {"environments": {"CartPole-v1": {**CARTPOLE, name: value}}}


@pytest.mark.parametrize("given", [True, False, "3", "1e3", 2.5, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("environments.CartPole-v1.total_timesteps", lambda v: with_setting("total_timesteps", v)),
        ("environments.CartPole-v1.n_envs", lambda v: with_setting("n_envs", v)),
        ("environments.CartPole-v1.frame_stack", lambda v: with_setting("frame_stack", v)),
        ("environments.CartPole-v1.time_limit", lambda v: with_setting("time_limit", v)),
        ("evaluation.n_points", lambda v: {"evaluation": {"n_points": v}}),
        ("evaluation.every", lambda v: {"evaluation": {"every": v}}),
        ("evaluation.episodes", lambda v: {"evaluation": {"every": 100, "episodes": v}}),
        ("seeds.1", lambda v: {"seeds": [9, v]}),
        ("algorithms.A.seeds.0", lambda v: {"algorithms": {"A": {"class": "A2C", "seeds": [v]}}}),
        ("checkpoint_every", lambda v: {"checkpoint_every": v}),
    ],
)
def test_a_count_is_a_whole_number(key, changes, given):
    mistakes = parse(content(**changes(given)))
    assert isinstance(mistakes, list)
    (mistake,) = mistakes
    assert ".".join(map(str, mistake.key)) == key
    assert mistake.message == f"given {given!r}; allowed: a whole number"


@pytest.mark.parametrize("given", [True, "24"])
@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("time_limit", lambda v: {"time_limit": v}),
        ("memory_limit", lambda v: {"memory_limit": v}),
        ("references.CartPole-v1.expert", lambda v: {"references": {"CartPole-v1": {"expert": v}}}),
    ],
)
def test_a_number_is_neither_true_nor_a_text(key, changes, given):
    (mistake,) = parse(content(**changes(given)))
    assert ".".join(map(str, mistake.key)) == key
    assert mistake.message == f"given {given!r}; allowed: a number"


def test_a_count_may_be_written_with_an_exponent(tmp_path):
    text = yaml.safe_dump(content(seeds=[0, 2.0])).replace("total_timesteps: 200", "")
    path = tmp_path / "grid.yaml"
    path.write_text(text.replace("n_envs: 2", "n_envs: 2.0\n    total_timesteps: 1e6"))
    grid = load_grid(path)
    assert grid.seeds == [0, 2]
    (settings,) = grid.environments.values()
    assert (settings.total_timesteps, settings.n_envs) == (1_000_000, 2)
    assert all(isinstance(spec.config.total_timesteps, int) for spec in grid.runs())
    assert isinstance(parse(content(seeds=[0, 2], time_limit=1)), Grid)


def test_a_stored_run_loads_whatever_the_type_of_its_numbers():
    spec = load_grid(content()).runs()[0]
    data = spec.model_dump(mode="json")
    data["config"]["n_envs"] = float(spec.config.n_envs)
    data["seed"] = str(spec.seed)
    assert RunSpec.model_validate(data) == spec
