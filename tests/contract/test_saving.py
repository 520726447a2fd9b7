"""One file holds a model, and learning continues from it."""

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

import sb3_course
from sb3_course.common import checkpoint
from tests.contract.helpers import copy_parameters, equal_tensors, every_class, small_model


@every_class
def test_save_and_load_keep_parameters_optimizers_and_counters(algorithm, tmp_path):
    model = small_model(algorithm, "CartPole-v1", gamma=0.9).learn(200)
    model.save(tmp_path / "model")
    env = make_vec_env("CartPole-v1", 2)
    loaded = algorithm.load(tmp_path / "model.zip", env=env, device="cpu")
    assert equal_tensors(copy_parameters(model), copy_parameters(loaded))
    assert loaded.gamma == 0.9
    assert loaded.num_timesteps == model.num_timesteps
    for name in ("actor_optimizer", "critic_optimizer"):
        state, restored = (getattr(m, name).state_dict()["state"] for m in (model, loaded))
        assert state or (algorithm, name) == (sb3_course.NPG, "actor_optimizer")
        assert state.keys() == restored.keys()
        for key, moments in state.items():
            assert equal_tensors(moments, restored[key])
    assert loaded.policy.optimizer is loaded.actor_optimizer


@every_class
def test_learning_continues_after_loading_bit_for_bit(algorithm, tmp_path):
    def learn_more(model):
        model.set_random_seed(7)
        return copy_parameters(model.learn(200))

    model = small_model(algorithm, "CartPole-v1").learn(200)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=make_vec_env("CartPole-v1", 2), device="cpu")
    assert equal_tensors(learn_more(model), learn_more(loaded))


@every_class
def test_the_file_names_the_class_that_load_needs(algorithm, tmp_path):
    model = small_model(algorithm, "CartPole-v1")
    model.save(tmp_path / "model")
    loaded = sb3_course.load(tmp_path / "model")
    assert type(loaded) is algorithm
    obs = np.ones(4, dtype=np.float32)
    expected, _ = model.predict(obs, deterministic=True)
    assert loaded.predict(obs, deterministic=True)[0] == expected


@every_class
def test_load_changes_the_attributes_it_is_given_and_checks_them(algorithm, tmp_path):
    small_model(algorithm, "CartPole-v1").save(tmp_path / "model")
    assert algorithm.load(tmp_path / "model", gamma=0.5).gamma == 0.5
    with pytest.raises(ValueError, match="gamma must be a number from 0 to 1, got 3"):
        algorithm.load(tmp_path / "model", gamma=3)


def test_load_can_change_parameters_that_exclude_each_other(tmp_path):
    sb3_course.REINFORCE("MlpPolicy", "CartPole-v1").save(tmp_path / "reinforce")
    sb3_course.NPG("MlpPolicy", "CartPole-v1").save(tmp_path / "npg")
    assert sb3_course.REINFORCE.load(tmp_path / "reinforce", n_episodes=5).n_episodes == 5
    assert sb3_course.NPG.load(tmp_path / "npg", step_size=0.1).step_size == 0.1


@every_class
def test_set_parameters_restores_what_get_parameters_returned(algorithm):
    model = small_model(algorithm, "CartPole-v1").learn(50)
    parameters = model.get_parameters()
    assert set(parameters) == {"policy", "actor_optimizer", "critic_optimizer"}
    other = small_model(algorithm, "CartPole-v1", seed=1)
    other.set_parameters(parameters)
    assert equal_tensors(copy_parameters(model), copy_parameters(other))


@pytest.mark.parametrize("way", ["kwargs", "custom_objects"])
@pytest.mark.parametrize("n_steps", [1024, 1000])
def test_a_given_number_of_steps_is_kept_also_if_it_is_the_default_of_other_envs(
    way, n_steps, tmp_path
):
    sb3_course.NPG("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "model")
    env = make_vec_env("CartPole-v1", 4)
    assert sb3_course.NPG.load(tmp_path / "model", env).n_steps == 256
    given = {"n_steps": n_steps}
    kwargs = given if way == "kwargs" else {"custom_objects": given}
    assert sb3_course.NPG.load(tmp_path / "model", env, **kwargs).n_steps == n_steps


@every_class
def test_what_is_excluded_may_be_an_iterator(algorithm, tmp_path):
    model = small_model(algorithm, "CartPole-v1").learn(64)
    model.save(tmp_path / "model", exclude=iter(["training_state", "gamma"]))
    members = checkpoint.read_members(tmp_path / "model")
    assert not [name for name in members if "training_state" in name]


class TestNamedLikeThePackage:
    """A package of somebody else's may begin with our name."""

    def test_its_classes_load_the_files_of_their_bases(self, tmp_path):
        own = type("Own", (sb3_course.NPG,), {"__module__": "sb3_course_extensions.own"})
        small_model(sb3_course.NPG, "CartPole-v1").save(tmp_path / "model")
        assert type(own.load(tmp_path / "model")) is own
        small_model(own, "CartPole-v1").save(tmp_path / "own")
        with pytest.raises(checkpoint.CheckpointError, match=r"by Own, not by NPG: use Own.load$"):
            sb3_course.NPG.load(tmp_path / "own")

    def test_its_arguments_are_its_own(self):
        class Own(sb3_course.NPG):
            def __init__(self, *args, fancy=True, **kwargs):
                self.fancy = {"deep": fancy}
                super().__init__(*args, **kwargs)

        assert small_model(Own, "CartPole-v1").fancy == {"deep": True}
