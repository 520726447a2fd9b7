import pytest
import yaml

from sb3_course.benchmark.algorithms import constructor_arguments, find_algorithm, hyper_parameters
from sb3_course.benchmark.errors import UserError
from sb3_course.benchmark.grid import Evaluation, GridError, check_grid, load_grid, read_yaml
from tests.benchmark.helpers import HERE, PassesOn, changed, content, tiny

CARTPOLE = {"total_timesteps": 200}


def mistake(tmp_path, **changes) -> str:
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(content(**changes)))
    with pytest.raises(GridError) as caught:
        check_grid(load_grid(path), path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sedes": 3}, ["unknown key 'sedes'", "did you mean 'seeds'"]),
        ({"seeds": [0, 0]}, ["seeds", "given [0, 0]", "distinct"]),
        ({"seeds": -1}, ["seeds", "given []"]),
        ({"name": "../up"}, ["name", "given '../up'"]),
        ({"evaluation": {"episodes": 3}}, ["evaluation", "exactly one of: every, n_points"]),
        (
            {"environments": {"CartPole-v1": {"total_timesteps": 0}}},
            ["environments.CartPole-v1.total_timesteps", "given 0", "greater than 0"],
        ),
        (
            {"environments": {"CartPole-v1": {**CARTPOLE, "backend": "envpol"}}},
            ["environments.CartPole-v1.backend", "given 'envpol'", "'envpool'"],
        ),
        (
            {"environments": {"CartPole-v1": {**CARTPOLE, "normalize": "yes please"}}},
            ["environments.CartPole-v1.normalize", "given 'yes please'", "true, false"],
        ),
        (
            {"environments": {"CartPole-v1": {**CARTPOLE, "normalize": {"norm_rewards": True}}}},
            ["environments.CartPole-v1", "norm_rewards", "did you mean 'norm_reward'"],
        ),
        (
            {"environments": {"CartPol-v1": CARTPOLE}},
            ["environments.CartPol-v1", "did you mean 'CartPole-v1'"],
        ),
        ({"algorithms": {"a": {"class": "A2"}}}, ["algorithms.a", "'A2'", "did you mean 'A2C'"]),
        (
            {"algorithms": {"a": {"class": "A2C", "params": {"learning_rat": 1}}}},
            ["algorithms.a", "'learning_rat'", "did you mean 'learning_rate'", "gae_lambda"],
        ),
        (
            {"algorithms": {"a": {"class": "A2C", "environments": {"CartPole": {}}}}},
            ["algorithms.a.environments", "did you mean 'CartPole-v1'"],
        ),
        (
            {"algorithms": {"a": {"class": "A2C", "params": {"seed": 3}}}},
            ["algorithms.a", "unknown hyper-parameter of A2C 'seed'"],
        ),
        ({"algorithms": {"a": {"class": "no_module:Class"}}}, ["algorithms.a", "no_module"]),
        ({"algorithms": {"a": {"class": f"{HERE}:tiny"}}}, ["algorithms.a", "BaseAlgorithm"]),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(tmp_path, changes, expected):
    message = mistake(tmp_path, **changes)
    for part in expected:
        assert part in message


def test_every_mistake_has_its_line(tmp_path):
    assert len(mistake(tmp_path, sedes=3, name="", seeds=[]).splitlines()) >= 1
    environments = {"CartPol-v1": CARTPOLE}
    lines = mistake(tmp_path, environments=environments, algorithms={"a": {"class": "A2"}})
    assert len(lines.splitlines()) == 2


def test_numbers_are_read_as_python_reads_them():
    assert read_yaml("{a: 1e-3, b: 3E6, c: 100_000, d: -2e+1}") == {
        "a": 1e-3,
        "b": 3e6,
        "c": 100_000,
        "d": -20.0,
    }
    assert read_yaml("[1, v1e3, 2024]") == [1, "v1e3", 2024]


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("name: a\nseeds: 1\nname: b\n")
    with pytest.raises(GridError, match="'name' is given twice"):
        load_grid(path)


def test_python_objects_are_refused(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(GridError, match="not valid YAML"):
        load_grid(path)


def test_evaluation_steps_hold_both_ends():
    assert Evaluation(n_points=4).steps(1000) == [0, 250, 500, 750, 1000]
    assert Evaluation(every=400).steps(1000) == [0, 400, 800, 1000]
    assert Evaluation(every=500).steps(1000) == [0, 500, 1000]


def test_overrides_go_over_the_environments_settings():
    override = {"params": {"gamma": 0.5}, "n_envs": 3, "normalize": True}
    grid = tiny(
        algorithms={
            "A": {
                "class": "A2C",
                "params": {"gamma": 0.9, "n_steps": 8},
                "environments": {"CartPole-v1": override},
            }
        }
    )
    config = grid.config("A", "CartPole-v1")
    assert config.params == {"gamma": 0.5, "n_steps": 8}
    assert (config.n_envs, config.normalize) == (3, True)


def test_a_runs_identity_is_stable_and_changes_with_all_that_matters():
    spec = tiny().runs()[0]
    assert spec.id == tiny().runs()[0].id
    # Results on disk are found by this name: it must not drift between releases by accident.
    assert spec.id == "a2c_cartpole-v1_seed0_5b056fd440b8"
    others = [
        tiny().runs()[1],
        changed(spec, params={"gamma": 0.9}),
        changed(spec, n_envs=3),
        changed(spec, normalize=True),
        changed(spec, total_timesteps=300),
        changed(spec, evaluation_steps=[0, 200]),
        spec.model_copy(update={"algorithm": "A2C, again"}),
    ]
    assert len({spec.id, *(other.id for other in others)}) == 8


def test_activation_functions_come_by_name():
    from torch import nn

    given = {"policy_kwargs": {"activation_fn": "ReLU", "net_arch": [8]}}
    arguments = constructor_arguments("A2C", given)
    assert arguments["policy_kwargs"] == {"activation_fn": nn.ReLU, "net_arch": [8]}
    assert arguments["policy"] == "MlpPolicy"
    given["policy_kwargs"]["activation_fn"] = "relu"
    with pytest.raises(UserError, match="did you mean 'ReLU'"):
        constructor_arguments("A2C", given)


def test_constructors_that_pass_arguments_on_take_their_parents_hyper_parameters():
    assert find_algorithm(f"{HERE}:PassesOn") is PassesOn
    assert {"extra", "gamma", "policy"} <= hyper_parameters(PassesOn)
