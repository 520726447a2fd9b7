import pytest
import yaml
from gymnasium import Env, register, registry, spaces

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.benchmark.definition.constructor_checks import check_constructors
from sb3_course.benchmark.definition.yaml_source import GridError
from tests.benchmark.helpers import content

CARTPOLE = {"total_timesteps": 200}


@pytest.fixture
def refusals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_and_check(**changes) -> list[str]:
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content(**changes)))
        path = (tmp_path / "grid.yaml").relative_to(tmp_path)
        try:
            check_constructors(checked_grid(path).runs(), path)
        except GridError as error:
            return str(error).splitlines()
        return []

    return write_and_check


def of(class_, params, **settings) -> dict:
    return {"algorithms": {"a": {"class": class_, "params": params, **settings}}}


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        (of("A2C", {"gamma": 1, "learning_rate": -1}), "params.learning_rate", "given -1; A2C ref"),
        (of("A2C", {"policy": "CnnPolicy"}), "params.policy", "You should use NatureCNN only with"),
        (
            of("A2C", {"policy_kwargs": {"net_arch": [4], "arch": [4]}}),
            "params.policy_kwargs.arch",
            "unexpected keyword argument 'arch'",
        ),
        (
            of("REINFORCE", {"n_steps": 8, "baseline": "valu"}),
            "params.baseline",
            "baseline must be one of None, 'mean', 'optimal', 'value', got 'valu'",
        ),
        (of("REINFORCE", {"n_steps": 8, "n_episodes": 2}), "params.n_episodes", "not both"),
        (of("NPG", {"target_kl": 0}), "params.target_kl", "given 0; NPG refuses it"),
        (of("SAC", {}), "", "SAC refuses it: The algorithm only supports"),
        (
            of("A2C", {}, environments={"CartPole-v1": {"params": {"learning_rate": -2}}}),
            "environments.CartPole-v1.params.learning_rate",
            "given -2",
        ),
        (
            of("A2C", {}, environments={"CartPole-v1": {"normalize": {"norm_obs_keys": ["x"]}}}),
            "environments.CartPole-v1.normalize",
            "given {'norm_obs_keys': ['x']}",
        ),
    ],
)
def test_what_a_constructor_refuses_is_reported_with_its_key(refusals, changes, key, expected):
    (line,) = refusals(**changes)
    assert line.split(": ")[1] == ("algorithms.a." + key).rstrip(".")
    assert expected in line
    assert line.endswith("(on CartPole-v1)")


def test_a_refusal_on_several_environments_takes_one_line(refusals):
    two = {"CartPole-v1": CARTPOLE, "Pendulum-v1": CARTPOLE}
    (line,) = refusals(environments=two, **of("A2C", {"learning_rate": -1}))
    assert line.endswith("(on CartPole-v1, Pendulum-v1)")


def test_normalization_of_an_environment_is_reported_there(refusals):
    settings = {**CARTPOLE, "normalize": {"norm_obs_keys": ["x"]}}
    (line,) = refusals(environments={"CartPole-v1": settings})
    assert line.split(": ")[1] == "environments.CartPole-v1.normalize"


class Broken(Env):
    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self):
        raise OSError("no license")


@pytest.fixture
def broken():
    register("Broken-v0", Broken)
    yield "Broken-v0"
    del registry["Broken-v0"]


def test_an_environment_that_cannot_be_made_is_reported(refusals, broken):
    lines = refusals(environments={broken: CARTPOLE, "CartPole-v1": CARTPOLE})
    assert [line.split(": ", 1)[1] for line in lines] == [
        "environments.Broken-v0: cannot be made here: OSError: no license"
    ]


def test_right_settings_pass_and_no_environment_takes_a_step(refusals, monkeypatch):
    from gymnasium.envs.classic_control import CartPoleEnv

    monkeypatch.setattr(CartPoleEnv, "reset", None)
    algorithms = {name: {"class": name} for name in ("A2C", "REINFORCE", "NPG", "TRPO", "DQN")}
    settings = {**CARTPOLE, "n_envs": 4, "normalize": True}
    assert refusals(environments={"CartPole-v1": settings}, algorithms=algorithms) == []


def test_many_runs_are_checked_as_one(refusals, monkeypatch):
    from stable_baselines3 import A2C

    built = []
    setup = A2C._setup_model
    monkeypatch.setattr(A2C, "_setup_model", lambda self: (built.append(self), setup(self)))
    assert refusals(seeds=50) == []
    assert len(built) == 1


@pytest.fixture
def refused_values(tmp_path, monkeypatch):
    """Return what is refused of a search's values, by the name of the hyper-parameter."""
    monkeypatch.chdir(tmp_path)

    def write_and_check(ranges, params=None, class_="NPG", **changes) -> dict[str, list[str]]:
        search = {"algorithms": {"a": ranges}}
        data = content(**{**of(class_, params or {}), "search": search, **changes})
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
        path = (tmp_path / "grid.yaml").relative_to(tmp_path)
        grid = checked_grid(path)
        found = {}
        try:
            check_constructors(grid.runs(), path, grid.search)
        except GridError as error:
            for line in str(error).splitlines():
                place, key, reason = line.split(": ", 2)
                assert place.startswith("grid.yaml:")
                found.setdefault(key.removeprefix("search.algorithms.a."), []).append(reason)
        return found

    return write_and_check


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ({"target_kl": {"low": -1, "high": 0.1}}, ["low -1: target_kl must be"]),
        ({"gamma": {"low": 0.9, "high": 1.5}}, ["high 1.5: gamma must be a number from 0 to 1"]),
        ({"gamma": {"low": -0.5, "high": 1.5}}, ["low -0.5: gamma", "high 1.5: gamma"]),
        ({"n_steps": {"low": 0, "high": 8}}, ["low 0: n_steps must be a whole number"]),
        ({"n_steps": [8, 0, "x"]}, ["given 0: n_steps", "given 'x': n_steps of NPG must be a num"]),
        ({"policy": ["MlpPolicy", "CnnPolicy"]}, ["given 'CnnPolicy': "]),
        (
            {"policy_kwargs.activation_fn": ["Tanh", "relu"]},
            ["given 'relu': unknown activation function 'relu'; did you mean 'ReLU'"],
        ),
        (
            {"target_kl": {"low": -0.1, "high": 0.1, "decay": True}},
            ["low -0.1: target_kl must be"],
        ),
        (
            {"learning_rate": {"low": -1.0, "high": 1.0, "decay": [True, False]}},
            ["low -1.0: learning_rate must be"],
        ),
    ],
)
def test_a_value_of_a_search_that_the_class_refuses_is_told(refused_values, ranges, expected):
    ((key, reasons),) = refused_values(ranges).items()
    assert key == next(iter(ranges))
    assert len(reasons) == len(expected)
    for reason, start in zip(reasons, expected, strict=True):
        assert reason.startswith(start)
        assert reason.endswith("(on CartPole-v1)")


def test_values_that_are_refused_only_in_combination_are_a_matter_of_the_trial(refused_values):
    """n_steps and n_episodes exclude each other."""
    both = {"n_steps": [None, 8], "n_episodes": [None, 2]}
    assert refused_values(both, class_="REINFORCE") == {}
    assert refused_values(both, {"n_steps": 8}, "REINFORCE") == {}
    fixed = refused_values({"n_episodes": [2, 4]}, {"n_steps": 8}, "REINFORCE")
    assert len(fixed["n_episodes"]) == 2  # no trial changes n_steps


def test_values_are_built_under_their_condition(refused_values):
    two = {"n_steps": [8, None], "n_episodes": {"low": 2, "high": 8, "when": {"n_steps": None}}}
    assert refused_values(two, {"n_steps": 8}, "REINFORCE") == {}
    two["n_episodes"]["low"] = -2
    assert list(refused_values(two, {"n_steps": 8}, "REINFORCE")) == ["n_episodes"]
    two["n_steps"] = ["x", None]
    two["n_episodes"] |= {"low": 2, "when": {"n_steps": "x"}}
    assert list(refused_values(two, {"n_steps": 8}, "REINFORCE")) == ["n_steps"]


def test_values_of_a_search_are_built_on_each_environment_that_is_made_once(refused_values):
    two = dict.fromkeys(("CartPole-v1", "Pendulum-v1"), CARTPOLE)
    found = refused_values({"gamma": {"low": 0.9, "high": 1.5}}, environments=two)
    (reason,) = found["gamma"]
    assert reason.endswith("(on CartPole-v1, Pendulum-v1)")


OWN = "tests.own_envs"


@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ({"kwargs": {"gaol": 1}}, "kwargs.gaol", "given 1; TypeError"),
        ({"kwargs": {"goal": 7}}, "kwargs.goal", "given 7; goal must lie between -5 and 5, got 7"),
        ({"wrappers": ["Autoreset", f"{OWN}:leaves"]}, "wrappers.1", "SystemExit: made to leave"),
        ({"wrappers": [{f"{OWN}:Scaled": {"time": 2}}]}, "wrappers.0", "argument 'time'"),
        (
            {"wrappers": [f"{OWN}:AsDict"], "frame_stack": 4},
            "frame_stack",
            "given 4; SB3's VecFrameStack refuses the observation space Dict",
        ),
        (
            {"backend": "envpool", "wrappers": [f"{OWN}:Scaled"]},
            "backend",
            "given envpool; EnvPool",
        ),
        ({"backend": "envpool"}, "backend", "does not have 'tests.own_envs:Walk-v0'"),
    ],
)
def test_what_an_environment_refuses_is_reported_with_its_key(refusals, settings, key, expected):
    if "envpool" in settings.values():
        pytest.importorskip("envpool")
    settings = {**CARTPOLE, "id": f"{OWN}:Walk-v0", "backend": "dummy", **settings}
    (line,) = refusals(environments={"A walk": settings})
    assert line.split(": ")[1] == f"environments.A walk.{key}"
    assert line.startswith("grid.yaml:")
    assert expected in line


def test_arguments_that_envpool_does_not_know_are_told_before_anything_runs(refusals):
    pytest.importorskip("envpool")
    settings = {**CARTPOLE, "kwargs": {"sutton_barto_reward": True}, "backend": "auto"}
    grid = content(environments={"CartPole-v1": settings, "Acrobot-v1": CARTPOLE})
    (note,) = check_constructors(checked_grid(grid).runs(), grid)
    assert note.startswith("CartPole-v1 on backend 'dummy' (EnvPool's CartPole-v1 does not take")
    assert refusals(environments={"CartPole-v1": {**settings, "backend": "auto"}}) == []
    (line,) = refusals(environments={"CartPole-v1": {**settings, "backend": "envpool"}})
    assert "environments.CartPole-v1.backend: given envpool; EnvPool's CartPole-v1" in line
    assert "it has no sutton_barto_reward" in line


def test_algorithms_are_checked_on_the_spaces_that_wrappers_make(refusals):
    settings = {**CARTPOLE, "id": f"{OWN}:Walk-v0", "wrappers": [f"{OWN}:AsDict"]}
    assert refusals(environments={"A walk": settings}) == []  # with MultiInputPolicy
    flat = of("A2C", {"policy": "MlpPolicy"})
    (line,) = refusals(environments={"A walk": settings}, **flat)
    assert "algorithms.a.params.policy: given 'MlpPolicy'" in line
    assert "MultiInputPolicy" in line
    settings = {**CARTPOLE, "id": f"{OWN}:Walk-v0", "frame_stack": 3, "normalize": True}
    assert refusals(environments={"A walk": settings}) == []
