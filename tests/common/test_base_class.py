import io

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.dqn.policies import DQNPolicy

from sb3_course import REINFORCE
from tests.contract.helpers import (
    any_env,
    copy_parameters,
    equal_tensors,
    small_model,
)
from tests.worlds import Scripted


def cartpole(**kwargs):
    return small_model(REINFORCE, "CartPole-v1", **kwargs)


# -- policies and optimizers ---------------------------------------------------------------------


def test_a_policy_that_is_no_actor_critic_is_refused():
    with pytest.raises(ValueError, match="policy must be one of MlpPolicy, .* got DQNPolicy"):
        REINFORCE(DQNPolicy, "CartPole-v1")


def test_optimizer_class_and_kwargs_serve_actor_and_critic():
    policy_kwargs = {"optimizer_class": th.optim.SGD, "optimizer_kwargs": {"momentum": 0.5}}
    model = cartpole(policy_kwargs=policy_kwargs)
    for optimizer in (model.actor_optimizer, model.critic_optimizer):
        assert type(optimizer) is th.optim.SGD
        assert optimizer.param_groups[0]["momentum"] == 0.5


@pytest.mark.parametrize(
    ("optimizer_kwargs", "fused"),
    [({}, True), ({"fused": False}, False), ({"foreach": True}, None)],
)
def test_adam_is_fused_unless_its_arguments_exclude_it(optimizer_kwargs, fused):
    model = cartpole(policy_kwargs={"optimizer_kwargs": optimizer_kwargs})
    before = copy_parameters(model)
    assert model.actor_optimizer.param_groups[0]["fused"] == fused
    assert not equal_tensors(before, copy_parameters(model.learn(20)))


# -- tensors and actions -------------------------------------------------------------------------


def test_to_tensor_makes_float32_of_floats_and_keeps_other_types():
    model = cartpole()
    tensors = model.to_tensor(
        {
            "double": np.array([0.1, 2.0]),
            "bytes": np.array([3, 255], np.uint8),
            "long": np.arange(2),
        }
    )
    assert [t.dtype for t in tensors.values()] == [th.float32, th.uint8, th.int64]
    assert tensors["double"].tolist() == pytest.approx([0.1, 2.0])
    assert tensors["bytes"].tolist() == [3, 255]
    assert model.to_tensor(np.ones((2, 3))).shape == (2, 3)


def test_actions_of_a_box_are_sent_in_its_shape_and_bounds():
    space = spaces.Box(np.array([[-1.0, 0.0]], "f4"), np.array([[2.0, 3.0]], "f4"))
    model = small_model(REINFORCE, any_env(action_space=space))
    actions, sent = model.clip_actions(th.tensor([[-5.0, -5.0], [1.5, 1.5], [9.0, 9.0]]))
    assert actions.tolist() == [[-5, -5], [1.5, 1.5], [9, 9]]
    assert sent.tolist() == [[[-1, 0]], [[1.5, 1.5]], [[2, 3]]]


def test_discrete_actions_are_sent_as_they_were_sampled():
    actions, sent = cartpole().clip_actions(th.tensor([1, 0]))
    assert actions.tolist() == sent.tolist() == [1, 0]


# -- steps ---------------------------------------------------------------------------------------


def test_after_step_counts_steps_and_the_episodes_that_count():
    class Switch(BaseCallback):
        proceed = True

        def _on_step(self):
            return self.proceed

    model = cartpole()
    _, callback = model._setup_learn(10**6, Switch())
    callback.on_training_start({}, {})
    infos = [{"episode": {"r": 7.0, "l": 7}}, {"episode": {"r": 9.0, "l": 9}}]
    step_locals = {
        "dones": np.array([True, True]),
        "running": np.array([True, False]),
        "infos": infos,
    }
    assert model.after_step(callback, step_locals)
    assert model.num_timesteps == 2
    assert [episode["r"] for episode in model.ep_info_buffer] == [7.0]
    assert callback.locals["infos"] is infos
    callback.proceed = False
    assert not model.after_step(callback, step_locals)


# -- files ---------------------------------------------------------------------------------------


def test_a_failing_save_keeps_the_old_file(tmp_path, monkeypatch):
    model = cartpole()
    model.save(tmp_path / "model")
    content = (tmp_path / "model.zip").read_bytes()

    def full_disk(*args):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        model.learn(50).save(tmp_path / "model")
    assert (tmp_path / "model.zip").read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["model.zip"]


def test_file_objects_are_written_and_read():
    model, file = cartpole(), io.BytesIO()
    model.save(file)
    loaded = REINFORCE.load(file, device=model.device)
    assert equal_tensors(copy_parameters(model), copy_parameters(loaded))


def test_save_excludes_and_includes_attributes(tmp_path):
    model = small_model(REINFORCE, DummyVecEnv([Scripted]), gamma=0.5).learn(10)
    model.save(tmp_path / "default")
    model.save(tmp_path / "other", exclude=["gamma"], include=["rollout"])
    loaded = REINFORCE.load(tmp_path / "default")
    assert loaded.gamma == 0.5 and not hasattr(loaded, "rollout")
    loaded = REINFORCE.load(tmp_path / "other")
    assert loaded.gamma == 0.99  # the constructor's default
    assert loaded.rollout.rewards.tolist() == model.rollout.rewards.tolist()


def test_load_names_the_values_that_normalize_takes(tmp_path):
    with pytest.raises(ValueError, match="normalize must be 'train' or 'freeze', got 'stop'"):
        REINFORCE.load(tmp_path / "none", normalize="stop")
