import gymnasium
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C

from sb3_course import building
from sb3_course.common.errors import UserError
from tests.worlds import RandomSpaces

gymnasium.register(
    "Dict-v0",
    entry_point=RandomSpaces,
    kwargs={
        "observation_space": spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3)),
        "action_space": spaces.Discrete(2),
    },
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PointMass-v0", "of your own names its module: my_module:PointMass-v0"),
        ("CartPol-v1", "did you mean 'CartPole-v1'?"),
        ("CartPole-v99", "unknown environment 'CartPole-v99'"),
        ("no_module:PointMass-v0", "cannot import 'no_module'"),
    ],
)
def test_an_unknown_environment_is_told_with_how_an_own_one_is_named(name, expected):
    """Also by a worker, in whose process an environment of a notebook is not registered."""
    with pytest.raises(UserError, match=expected.replace("?", r"\?")):
        building.check_environment(name)
    with pytest.raises(UserError, match=expected.replace("?", r"\?")):
        building.build("NPG", {}, name, 1, 0, "auto", False)


def test_a_module_that_does_not_register_the_name_gets_no_advice_to_name_it():
    with pytest.raises(UserError) as caught:
        building.check_environment("sb3_course.envs.dilemmas:Dilemma-v0")
    assert "names its module" not in str(caught.value)
    assert "did you mean 'sb3_course.envs.dilemmas:Dilemmas-v0'?" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("A2", {}, "unknown algorithm 'A2'"),
        ("A2C", {"gama": 1}, "did you mean 'gamma'"),
        ("A2C", {"learning_rate": -1}, "learning_rate: given -1; A2C refuses it: Invalid"),
        ("A2C", {"policy_kwargs": {"arch": 1}}, "policy_kwargs.arch: given 1; A2C refuses it"),
        ("SAC", {}, "SAC refuses it: The algorithm only supports"),
    ],
)
def test_what_cannot_be_built_is_told(name, params, expected):
    with pytest.raises(UserError) as caught:
        building.build(name, params, "CartPole-v1", 2, 3, "dummy", True)
    assert expected in str(caught.value)


def test_an_environment_that_cannot_be_made_is_told(monkeypatch):
    def fail(*arguments, **settings):
        raise ImportError("no MuJoCo")

    monkeypatch.setattr(building, "make_vec_env", fail)
    with pytest.raises(UserError, match="cannot be made here: ImportError: no MuJoCo"):
        building.build("A2C", {}, "CartPole-v1", 2, 3, "dummy", True)


@pytest.mark.parametrize(
    ("name", "expected"), [("NPG", "MultiInputPolicy"), ("RecurrentPPO", "MultiInputLstmPolicy")]
)
def test_observations_in_a_dict_get_a_policy_for_them(name, expected):
    model = building.build(name, {}, "Dict-v0", 1, 0, "dummy", False)
    assert model.policy_class is model.policy_aliases[expected]
    assert building.refusal(name, {}, model.get_env()) is None
    with pytest.raises(UserError, match="policy: given 'MlpPolicy'|unknown policy"):
        building.build(name, {"policy": "MlpPolicy"}, "Dict-v0", 1, 0, "dummy", False)


class Exits(A2C):
    def __init__(self, **kwargs):
        raise SystemExit(0)


def test_a_constructor_that_ends_the_program_is_told():
    with pytest.raises(UserError, match="Exits refuses it: SystemExit: 0"):
        building.build(f"{__name__}:Exits", {}, "CartPole-v1", 1, 0, "dummy", False)


def test_logs_go_to_a_folder_of_the_environment(tmp_path, monkeypatch):
    assert building.place_to_log(tmp_path, "ALE/Pong-v5") == tmp_path / "ALE-Pong-v5"
    monkeypatch.setattr(building, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'sb3-course\[tensorboard\]'"):
        building.place_to_log(tmp_path, "CartPole-v1")


def test_a_place_that_takes_no_logs_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--tensorboard: .*CartPole-v1 cannot be written"):
        building.place_to_log(tmp_path / "file", "CartPole-v1")
