import pytest
from gymnasium import spaces
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn, optim

import sb3_course
from sb3_course.common.errors import UserError
from sb3_course.registry import (
    constructor_arguments,
    default_policy,
    find_algorithm,
    hyper_parameters,
)
from tests.benchmark.helpers import HERE, PassesOn


@pytest.mark.parametrize(
    ("name", "module"),
    [("NPG", "sb3_course.npg"), ("DQN", "stable_baselines3"), ("TRPO", "sb3_contrib")],
)
def test_plain_names_are_found_in_three_libraries(name, module):
    algorithm = find_algorithm(name)
    assert algorithm.__name__ == name
    assert algorithm.__module__.startswith(module)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A2", "unknown algorithm 'A2'; did you mean 'A2C'?"),
        ("DAgger", "DAgger learns from an expert: `sb3-course imitate`"),
        ("npg", "did you mean 'NPG'?"),
        ("no_module:Class", "cannot import 'no_module:Class': ModuleNotFoundError"),
        (f"{HERE}:tiny", "is not a subclass of BaseAlgorithm"),
        (f"{HERE}:Nothing", "cannot import .*:Nothing': AttributeError: module .* no attribute"),
    ],
)
def test_what_is_no_algorithm_is_told(name, expected):
    with pytest.raises(UserError, match=expected.replace("?", r"\?")):
        find_algorithm(name)


@pytest.mark.parametrize(
    ("key", "name", "expected"),
    [
        ("activation_fn", "ReLU", nn.ReLU),
        ("activation_fn", "torch.nn:Identity", nn.Identity),
        ("optimizer_class", "AdamW", optim.AdamW),
        ("optimizer_class", "RMSpropTFLike", RMSpropTFLike),
        ("features_extractor_class", "NatureCNN", NatureCNN),
        ("net_arch", [8, {"pi": [4]}], [8, {"pi": [4]}]),
    ],
)
def test_classes_of_the_policy_come_by_name(key, name, expected):
    arguments = constructor_arguments("A2C", {"policy_kwargs": {key: name, "ortho_init": False}})
    assert arguments["policy_kwargs"] == {key: expected, "ortho_init": False}
    assert arguments["policy"] == "MlpPolicy"


@pytest.mark.parametrize(
    ("key", "name", "expected"),
    [
        ("activation_fn", "relu", "unknown activation function 'relu'; did you mean 'ReLU'"),
        ("activation_fn", "torch.optim:Adam", "is not a subclass of Module"),
        ("activation_fn", "__import__('os')", "unknown activation function"),
        ("optimizer_class", "Adm", "unknown optimizer 'Adm'; did you mean 'Adam'"),
        ("optimizer_class", "Optimizer", "unknown optimizer 'Optimizer'"),
        ("features_extractor_class", "CNN", "unknown features extractor 'CNN'"),
    ],
)
def test_unknown_classes_of_the_policy_are_told(key, name, expected):
    with pytest.raises(UserError) as caught:
        constructor_arguments("A2C", {"policy_kwargs": {key: name}})
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "space", "expected"),
    [
        ("NPG", None, "MlpPolicy"),
        ("NPG", spaces.Box(-1, 1, (2,)), "MlpPolicy"),
        ("NPG", spaces.Dict(a=spaces.Discrete(2)), "MultiInputPolicy"),
        ("RecurrentPPO", None, "MlpLstmPolicy"),
        ("RecurrentPPO", spaces.Dict(a=spaces.Discrete(2)), "MultiInputLstmPolicy"),
        ("ARS", spaces.Dict(a=spaces.Discrete(2)), "MultiInputPolicy"),  # which it tells it lacks
    ],
)
def test_the_default_policy_is_that_of_the_observations(name, space, expected):
    assert default_policy(find_algorithm(name), space) == expected


def test_a_policy_of_ones_own_comes_as_module_and_class():
    name = "stable_baselines3.common.policies:ActorCriticPolicy"
    policy = constructor_arguments("A2C", {"policy": name})["policy"]
    assert policy is A2C.policy_aliases["MlpPolicy"]
    with pytest.raises(UserError, match="is not a subclass of BasePolicy"):
        constructor_arguments("A2C", {"policy": "torch.nn:ReLU"})


def test_schedules_come_by_name():
    schedule = constructor_arguments("A2C", {"learning_rate": "lin_0.5"})["learning_rate"]
    assert [schedule(1.0), schedule(0.5), schedule(0.0)] == [0.5, 0.25, 0.0]
    for name, key in (
        ("PPO", "ent_coef"),
        ("SAC", "ent_coef"),
        ("NPG", "gamma"),
        ("TRPO", "target_kl"),
    ):
        said = f"{key} of {name} must be a constant, not a schedule, got 'lin_0.5'"
        with pytest.raises(UserError, match=said):
            constructor_arguments(name, {key: "lin_0.5"})
    assert constructor_arguments("PPO", {"clip_range": "lin_0.2"})["clip_range"](0.5) == 0.1
    with pytest.raises(UserError, match="'lin_x' is not a schedule; allowed: lin_NUMBER"):
        constructor_arguments("A2C", {"learning_rate": "lin_x"})


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("A2C", {"gamma": "abc"}, "gamma of A2C must be a number, got 'abc'"),
        ("A2C", {"gae_lambda": [1]}, "gae_lambda of A2C must be a number, got [1]"),
        ("PPO", {"target_kl": "small"}, "target_kl of PPO must be a number, got 'small'"),
        ("TRPO", {"learning_rate": {"a": 1}}, "learning_rate of TRPO must be a number, got {'a'"),
        ("NPG", {"policy_kwargs": 3}, "policy_kwargs of NPG must be a dict, got 3"),
        (
            "RecurrentPPO",
            {"policy": "MlpPolicy"},
            "unknown policy of RecurrentPPO 'MlpPolicy'; did you mean 'MlpLstmPolicy'",
        ),
        ("PPO", {"n_steps": 1.5}, "n_steps of PPO must be a whole number, got 1.5"),
        ("DQN", {"train_freq": 2.5}, "train_freq of DQN must be a whole number, got 2.5"),
        (
            "DDPG",
            {"action_noise": "normal"},
            "action_noise of DDPG must be an ActionNoise, which only Python can give",
        ),
        (
            "A2C",
            {"rollout_buffer_class": "Mine"},
            "must be a class, which only Python can give, got",
        ),
        ("NPG", {"policy": "Mlp"}, "unknown policy of NPG 'Mlp'; allowed: CnnPolicy, MlpPolicy, "),
    ],
)
def test_what_is_no_number_is_told_before_anything_is_trained(name, params, expected):
    with pytest.raises(UserError) as caught:
        constructor_arguments(name, params)
    assert expected in str(caught.value)


class Annotated(A2C):
    def __init__(self, *args, plain=None, either: "int | str" = 1, both: int | str = 1, **kwargs):
        super().__init__(*args, **kwargs)


def test_what_is_not_known_to_need_a_number_passes():
    given = {"plain": "a", "either": "b", "both": "c", "policy_kwargs": None, "gamma": 1}
    assert given.items() <= constructor_arguments(f"{__name__}:Annotated", given).items()


def test_whole_numbers_may_be_written_with_an_exponent():
    given = {"batch_size": 1e1, "gamma": 1.0, "train_freq": 1e1, "learning_rate": 1.0}
    arguments = constructor_arguments("DQN", given)
    assert {type(arguments[key]) for key in ("batch_size", "train_freq")} == {int}
    assert {type(arguments[key]) for key in ("gamma", "learning_rate")} == {float}
    assert arguments["batch_size"] == arguments["train_freq"] == 10


def test_training_frequencies_are_pairs_as_sb3_wants_them():
    arguments = constructor_arguments("DQN", {"train_freq": [1, "episode"]})
    model = DQN(env="CartPole-v1", buffer_size=10, device="cpu", **arguments)
    assert model.train_freq.unit.value == "episode"


def test_constructors_that_pass_arguments_on_take_their_parents_hyper_parameters():
    assert find_algorithm(f"{HERE}:PassesOn") is PassesOn
    assert {"extra", "gamma", "policy"} <= hyper_parameters(PassesOn).keys()


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_what_a_run_sets_itself_is_no_hyper_parameter(name):
    assert not hyper_parameters(find_algorithm(name)).keys() & {"env", "seed", "device", "verbose"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("class Stop(BaseException): ...\nraise Stop('a\\nb')", "Stop: a b"),
        ("def __getattr__(name): raise SystemExit('no')", "SystemExit: no"),
    ],
)
def test_a_module_that_ends_the_program_is_told(tmp_path, monkeypatch, request, text, expected):
    monkeypatch.syspath_prepend(tmp_path)
    module = f"ends_{abs(hash(request.node.name))}"
    (tmp_path / f"{module}.py").write_text(text)
    with pytest.raises(UserError, match=f"cannot import '{module}:Own': {expected}"):
        find_algorithm(f"{module}:Own")
