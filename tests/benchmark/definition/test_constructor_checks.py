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
        (of("A2C", {"policy": "Mlp"}), "params.policy", "Policy Mlp unknown"),
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
    (line,) = refusals(environments={"A walk": settings})
    assert "algorithms.A2C" in line
    assert "MultiInputPolicy" in line
    settings = {**CARTPOLE, "id": f"{OWN}:Walk-v0", "frame_stack": 3, "normalize": True}
    assert refusals(environments={"A walk": settings}) == []
