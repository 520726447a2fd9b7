import pytest
import yaml

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.benchmark.definition.yaml_source import GridError
from tests.benchmark.helpers import HERE, content

CARTPOLE = {"total_timesteps": 200}


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_and_check(**changes) -> list[str]:
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content(**changes)))
        try:
            checked_grid((tmp_path / "grid.yaml").relative_to(tmp_path))
        except GridError as error:
            return str(error).splitlines()
        return []

    return write_and_check


def a2c(params=None, **settings) -> dict:
    return {"algorithms": {"a": {"class": "A2C", "params": params or {}, **settings}}}


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        (
            {"environments": {"CartPol-v1": CARTPOLE}},
            "environments.CartPol-v1",
            "did you mean 'CartPole-v1'",
        ),
        (
            {"environments": {"no_module:Task-v0": CARTPOLE}},
            "environments.no_module:Task-v0",
            "cannot import 'no_module'",
        ),
        (
            {"environments": {"CartPole-v1": {**CARTPOLE, "normalize": {"norm_rewards": True}}}},
            "environments.CartPole-v1.normalize",
            "did you mean 'norm_reward'",
        ),
        (
            {"algorithms": {"a": {"class": "A2", "params": {"gamma": 1}}}},
            "algorithms.a.class",
            "did you mean 'A2C'",
        ),
        (
            {"algorithms": {"a": {"class": "no_module:Class"}}},
            "algorithms.a.class",
            "cannot import 'no_module:Class'",
        ),
        (
            {"algorithms": {"a": {"class": f"{HERE}:tiny"}}},
            "algorithms.a.class",
            "not a subclass of BaseAlgorithm",
        ),
        (
            a2c({"learning_rat": 1}),
            "algorithms.a.params.learning_rat",
            "unknown hyper-parameter of A2C 'learning_rat'; did you mean 'learning_rate'",
        ),
        (
            a2c({"n_steps": "many"}),
            "algorithms.a.params.n_steps",
            "n_steps of A2C must be a number, got 'many'",
        ),
        (
            a2c({"seed": 3}),
            "algorithms.a.params.seed",
            "unknown hyper-parameter of A2C 'seed'",
        ),
        (
            a2c({"policy_kwargs": {"activation_fn": "relu"}}),
            "algorithms.a.params.policy_kwargs.activation_fn",
            "did you mean 'ReLU'",
        ),
        (
            a2c(environments={"CartPole": {}}),
            "algorithms.a.environments.CartPole",
            "did you mean 'CartPole-v1'",
        ),
        (
            a2c(environments={"CartPole-v1": {"params": {"gama": 1}}}),
            "algorithms.a.environments.CartPole-v1.params.gama",
            "did you mean 'gamma'",
        ),
        (
            a2c(environments={"CartPole-v1": {"normalize": {"gama": 1}}}),
            "algorithms.a.environments.CartPole-v1.normalize",
            "did you mean 'gamma'",
        ),
    ],
)
def test_a_name_that_does_not_exist_is_reported_with_its_key(check, changes, key, expected):
    (line,) = check(**changes)
    place, reported, message = line.split(": ", 2)
    assert place.startswith("grid.yaml:")
    assert reported == key
    assert expected in message


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"gamma": "x"}, "gamma: given 'x'; allowed: a number"),
        ({"clip_obs": True}, "clip_obs: given True; allowed: a number"),
        ({"clip_reward": -1}, "clip_reward: given -1; allowed: a number above 0"),
        ({"clip_obs": float("nan")}, "clip_obs: given nan; allowed: a number above 0"),
        ({"epsilon": 0}, "epsilon: given 0; allowed: a number above 0"),
        ({"gamma": 2}, "gamma: given 2; allowed: a number from 0 to 1"),
        ({"norm_obs": "no"}, "norm_obs: given 'no'; allowed: true or false"),
        ({"norm_obs_keys": "image"}, "norm_obs_keys: given 'image'; allowed: a list"),
    ],
)
def test_values_of_normalize_are_checked(check, settings, expected):
    (line,) = check(environments={"CartPole-v1": {**CARTPOLE, "normalize": settings}})
    assert expected in line
    whole = {"norm_obs_keys": None, "gamma": 1, "clip_obs": float("inf"), "norm_reward": False}
    assert not check(environments={"CartPole-v1": {**CARTPOLE, "normalize": whole}})


def test_mistakes_in_the_schema_and_in_names_are_reported_together(check):
    lines = check(
        sedes=3,
        environments={"CartPol-v1": {"n_envs": 0}, 3: CARTPOLE},
        algorithms={
            "a": {"class": "A2", "parms": {}},
            "b": {"class": "A2C", "params": {"gama": 1, "learning_rate": "lin_", "gamma": 0.9}},
            "c": {"class": 7, "params": {"x": 1}},
            "d": [],
            "e": {"class": "A2C", "params": 3},
        },
    )
    assert sorted(line.split(": ")[1] for line in lines) == [
        "algorithms.a.class",
        "algorithms.a.parms",
        "algorithms.b.params.gama",
        "algorithms.b.params.learning_rate",
        "algorithms.c.class",
        "algorithms.d",
        "algorithms.e.params",
        "environments.3",
        "environments.3",
        "environments.CartPol-v1",
        "environments.CartPol-v1.n_envs",
        "environments.CartPol-v1.total_timesteps",
        "sedes",
    ]


def test_an_included_file_may_tune_for_environments_that_the_grid_leaves_out(check, tmp_path):
    shared = {"environments": {"Pendulum-v1": {"params": {"gamma": 0.8}}}}
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump({"algorithms": {"A2C": shared}}))
    assert check(include="tuned.yaml") == []
    shared["environments"]["Pendulum-v11"] = {}
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump({"algorithms": {"A2C": shared}}))
    (line,) = check(include="tuned.yaml")
    assert line.startswith("tuned.yaml:")
    assert "did you mean 'Pendulum-v1'" in line


def test_a_grid_without_mistakes_passes(check):
    assert check() == []


def test_a_mapping_is_checked_as_a_file_is():
    assert checked_grid(content()).name == "tiny"
    mistakes = {"algorithms": {"a": {"class": "A2"}}, "environments": {"CartPol-v1": CARTPOLE}}
    with pytest.raises(GridError) as caught:
        checked_grid(content(**mistakes, sedes=3))
    lines = str(caught.value).splitlines()
    assert sorted(line.split("; ")[0] for line in lines) == [
        "grid: algorithms.a.class: unknown algorithm 'A2'",
        "grid: environments.CartPol-v1: unknown environment 'CartPol-v1'",
        "grid: sedes: unknown key 'sedes'",
    ]


@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ({"id": "CartPol-v1"}, "id", "did you mean 'CartPole-v1'"),
        ({"id": "no_module:Task-v0"}, "id", "cannot import 'no_module'"),
        ({"id": "CartPole-v1", "wrappers": ["Autorest"]}, "wrappers.0", "did you mean 'Autoreset'"),
        (
            {"id": "CartPole-v1", "wrappers": ["Autoreset", {"no_module:W": {"a": 1}}]},
            "wrappers.1",
            "given {'no_module:W': {'a': 1}}; cannot import 'no_module:W'",
        ),
        (
            {"id": "CartPole-v1", "wrappers": ["gymnasium.wrappers.Autoreset"]},
            "wrappers.0",
            "did you mean 'gymnasium.wrappers:Autoreset'",
        ),
        (
            {"id": "CartPole-v1", "env_wrapper": "a:B"},
            "env_wrapper",
            "RL Zoo's env_wrapper is wrap",
        ),
    ],
)
def test_unknown_names_in_an_environment_are_reported(check, settings, key, expected):
    (line,) = check(environments={"My task": {**CARTPOLE, **settings}})
    place, found, *_ = line.split(": ")
    assert place.startswith("grid.yaml:")
    assert found == f"environments.My task.{key}"
    assert expected in line


def test_a_wrappers_module_that_exits_is_told(check, tmp_path, monkeypatch):
    (tmp_path / "exits_at_once.py").write_text("import sys\nsys.exit('made to leave')\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = {**CARTPOLE, "wrappers": ["exits_at_once:W"]}
    (line,) = check(environments={"CartPole-v1": settings})
    assert "cannot import 'exits_at_once:W': SystemExit: made to leave" in line


def test_an_override_names_an_environment_by_its_name_in_the_grid(check):
    named = {"environments": {"My task": {**CARTPOLE, "id": "CartPole-v1"}}}
    assert check(**named, **a2c(environments={"My task": {"n_envs": 3}})) == []
    (line,) = check(**named, **a2c(environments={"CartPole-v1": {"n_envs": 3}}))
    assert "unknown environment 'CartPole-v1'" in line
    assert "allowed: My task" in line


def test_an_included_file_may_name_environments_of_other_grids(check, tmp_path):
    tuned = a2c(environments={"Another task": {"n_envs": 3}, "CartPol-v1": {"n_envs": 3}})
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(tuned))
    lines = check(include="tuned.yaml")
    assert len(lines) == 1  # what looks like an id is still checked
    assert "did you mean 'CartPole-v1'" in lines[0]
