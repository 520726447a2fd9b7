"""What every algorithm of the family must do, as SB3's own do."""

import copy
import inspect
import io
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

import sb3_course
from tests.worlds import AnySpace, Scripted

CLASSES = [getattr(sb3_course, name) for name in sb3_course.ALGORITHMS]
VARIANTS = [
    (sb3_course.REINFORCE, {"baseline": None, "reward_to_go": False}),
    (sb3_course.REINFORCE, {"baseline": "mean"}),
    (sb3_course.REINFORCE, {"baseline": "optimal"}),
    (sb3_course.REINFORCE, {"baseline": "value"}),
    (sb3_course.ISPG, {"ratio": "per_decision"}),
    (sb3_course.ISPG, {"ratio": "step", "n_batches": 2, "baseline": "optimal"}),
    (sb3_course.ISPG, {"ratio": "prefix", "n_batches": 3, "balance_heuristic": True}),
    (sb3_course.NPG, {}),
    (sb3_course.NPG, {"line_search": True, "sub_sampling_factor": 2}),
    (sb3_course.NPG, {"step_size": 0.1}),
    (sb3_course.BatchActorCritic, {"critic_target": "mc"}),
    (sb3_course.BatchActorCritic, {"critic_target": "td", "gae_lambda": 0.0}),
    (sb3_course.OnlineActorCritic, {}),
]
every_class = pytest.mark.parametrize("algorithm", CLASSES)
every_variant = pytest.mark.parametrize(("algorithm", "kwargs"), VARIANTS)

BOX = spaces.Box(-1, 1, (3,))
ACTIONS = {
    "box()": spaces.Box(-1, 1, ()),
    "matrix": spaces.Box(-1, 1, (2, 3)),
    "box": spaces.Box(np.array([-1.0, 0.0], "f4"), np.array([2.0, 3.0], "f4")),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
}
OBSERVATIONS = {
    "box64": spaces.Box(-1, 1, (3,), dtype=np.float64),
    "matrix": spaces.Box(-1, 1, (2, 3)),
    "bytes": spaces.Box(0, 255, (8,), dtype=np.uint8),
    "discrete": spaces.Discrete(4),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"box": BOX, "discrete": spaces.Discrete(3)}),
}


def any_env(observation_space=BOX, action_space=ACTIONS["discrete"], n_envs=2):
    def make():
        return AnySpace(copy.deepcopy(observation_space), copy.deepcopy(action_space))

    return make_vec_env(make, n_envs, seed=0)


def short(algorithm, env, policy="MlpPolicy", **kwargs):
    """A model with a small batch."""
    if isinstance(env, str):
        env = make_vec_env(env, 2)
    small = {"n_steps": 16} if takes(algorithm, "n_steps") else {}
    return algorithm(policy, env, **small | {"seed": 0, "device": "cpu"} | kwargs)


def takes(algorithm, *names):
    return set(names) <= inspect.signature(algorithm).parameters.keys()


def parameters(model):
    return {key: value.clone() for key, value in model.policy.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(th.equal(one[k], other[k]) for k in one)


@every_variant
@pytest.mark.parametrize("actions", ACTIONS)
def test_action_spaces(algorithm, kwargs, actions):
    model = short(algorithm, any_env(action_space=ACTIONS[actions]), **kwargs)
    before = parameters(model)
    model.learn(100)
    assert not same(before, parameters(model))
    action, _ = model.predict(model.observation_space.sample())
    assert model.action_space.contains(np.asarray(action, dtype=model.action_space.dtype))


@every_variant
@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_observation_spaces(algorithm, kwargs, observations):
    space = OBSERVATIONS[observations]
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    for actions in ("box", "discrete"):
        model = short(algorithm, any_env(space, ACTIONS[actions]), policy, **kwargs).learn(60)
        model.predict(model.observation_space.sample())


@every_variant
@pytest.mark.parametrize("share", [True, False])
def test_cnn_policy(algorithm, kwargs, share):
    images = spaces.Box(0, 255, (36, 36, 1), dtype=np.uint8)
    policy_kwargs = {"share_features_extractor": share, "features_extractor_kwargs": {}}
    policy_kwargs["features_extractor_kwargs"]["features_dim"] = 8
    env = any_env(images)
    model = short(algorithm, env, "CnnPolicy", policy_kwargs=policy_kwargs, **kwargs)
    model.learn(20)
    before = parameters(model)
    model.learn(40, reset_num_timesteps=False)
    moved = {k for k, v in parameters(model).items() if not th.equal(v, before[k])}
    assert "features_extractor.cnn.0.weight" in moved


@every_variant
def test_same_seed_same_result_bit_for_bit(algorithm, kwargs):
    runs = [parameters(short(algorithm, "CartPole-v1", **kwargs).learn(300)) for _ in range(2)]
    assert same(*runs)
    other = parameters(short(algorithm, "CartPole-v1", **kwargs | {"seed": 1}).learn(300))
    assert not same(runs[0], other)


@every_class
def test_actor_and_critic_share_no_parameter_and_leave_none_out(algorithm):
    model = short(algorithm, "CartPole-v1")
    actor, critic = (
        {id(p) for p in ps} for ps in (model.actor_parameters, model.critic_parameters)
    )
    assert not actor & critic
    assert actor | critic == {id(p) for p in model.policy.parameters()}
    for optimizer, ids in ((model.actor_optimizer, actor), (model.critic_optimizer, critic)):
        assert {id(p) for group in optimizer.param_groups for p in group["params"]} == ids


@every_class
def test_optimizer_class_and_kwargs_serve_both(algorithm):
    policy_kwargs = {"optimizer_class": th.optim.SGD, "optimizer_kwargs": {"momentum": 0.5}}
    model = short(algorithm, "CartPole-v1", policy_kwargs=policy_kwargs)
    for optimizer in (model.actor_optimizer, model.critic_optimizer):
        assert isinstance(optimizer, th.optim.SGD)
        assert optimizer.param_groups[0]["momentum"] == 0.5


@every_class
def test_schedules_set_both_learning_rates(algorithm):
    schedules = {"learning_rate": lambda progress: progress}
    if takes(algorithm, "critic_learning_rate"):
        schedules["critic_learning_rate"] = lambda progress: 2 * progress
    model = short(algorithm, "CartPole-v1", **schedules).learn(200, log_interval=1)
    progress = model._current_progress_remaining
    assert model.actor_optimizer.param_groups[0]["lr"] == progress
    assert model.critic_optimizer.param_groups[0]["lr"] == len(schedules) * progress


class Noisy(FlattenExtractor):
    """Batch normalization and dropout, which act otherwise while training."""

    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.extra = nn.Sequential(nn.BatchNorm1d(4, momentum=0.0), nn.Dropout(0.1))

    def forward(self, observations):
        return self.extra(super().forward(observations))


@every_variant
def test_extractors_that_act_otherwise_while_training(algorithm, kwargs):
    env = make_vec_env("CartPole-v1", 2)
    short(algorithm, env, policy_kwargs={"features_extractor_class": Noisy}, **kwargs).learn(60)


@every_class
def test_log_probs_of_shaped_actions_are_the_policys(algorithm):
    for name in ("box()", "matrix"):
        model = short(algorithm, any_env(action_space=ACTIONS[name])).learn(20)
        if algorithm is not sb3_course.OnlineActorCritic:
            obs = model.to_tensor(model.rollout.flat_obs)
            actions = model.to_tensor(model.rollout.flat(model.rollout.actions))
            assert actions.shape == model.policy.get_distribution(obs).get_actions().shape
            assert model.evaluate_actions(obs, actions)[0].shape == (len(actions),)


@every_class
@pytest.mark.parametrize("learned", [False, True])
def test_another_policy_in_its_place_is_the_one_that_learns(algorithm, learned):
    model, other = (short(algorithm, "CartPole-v1") for _ in range(2))
    if learned:
        model.learn(50)
    model.policy = other.policy
    before = parameters(other)
    model.learn(100)
    assert not same(before, parameters(other))


@every_class
def test_deepcopy_of_a_fresh_model_learns_for_itself(algorithm):
    model = short(algorithm, "CartPole-v1")
    clone = copy.deepcopy(model)
    before = parameters(model)
    clone.learn(100)
    assert same(before, parameters(model))
    assert not same(before, parameters(clone))


@every_class
def test_an_interrupted_batch_is_not_gone_on_with(algorithm):
    class Interrupt(BaseCallback):
        def _on_step(self):
            if self.n_calls == 7:
                raise KeyboardInterrupt
            return True

    model = short(algorithm, DummyVecEnv([lambda: Scripted(rewards=(1.0,) * 10)]))
    with pytest.raises(KeyboardInterrupt):
        model.learn(100, callback=Interrupt())
    first = []

    class First(BaseCallback):
        def _on_rollout_start(self):
            if not first and model._last_obs is not None:
                first.append(model._last_obs.item())

        def _on_step(self):
            first.append(self.locals["new_obs"].item())
            return True

    model.learn(20, callback=First(), reset_num_timesteps=False)
    # An algorithm without batches goes on where the environment is.
    assert first[0] == (7.0 if algorithm is sb3_course.OnlineActorCritic else 0.0)


@every_class
def test_optimizer_kwargs_that_exclude_fused(algorithm):
    kwargs = {"optimizer_kwargs": {"foreach": True}}
    short(algorithm, "CartPole-v1", policy_kwargs=kwargs).learn(20)


# -- files ---------------------------------------------------------------------------------------


@every_class
def test_save_and_load_keep_everything(algorithm, tmp_path):
    model = short(algorithm, "CartPole-v1", gamma=0.9).learn(200)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model.zip", env=make_vec_env("CartPole-v1", 2))
    assert same(parameters(model), parameters(loaded))
    assert loaded.gamma == 0.9
    assert loaded.num_timesteps == model.num_timesteps
    for name in ("actor_optimizer", "critic_optimizer"):
        state, restored = (getattr(m, name).state_dict()["state"] for m in (model, loaded))
        assert state or (algorithm, name) == (sb3_course.NPG, "actor_optimizer")
        assert state.keys() == restored.keys()
        for key, moments in state.items():
            assert same(moments, restored[key])
    assert loaded.policy.optimizer is loaded.actor_optimizer


@every_class
def test_learning_goes_on_after_load_as_if_nothing_had_been(algorithm, tmp_path):
    def go_on(model):
        model.set_random_seed(7)
        return parameters(model.learn(200))

    model = short(algorithm, "CartPole-v1").learn(200)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=make_vec_env("CartPole-v1", 2), device="cpu")
    assert same(go_on(model), go_on(loaded))


@every_class
def test_load_finds_the_class(algorithm, tmp_path):
    short(algorithm, "CartPole-v1").save(tmp_path / "model")
    loaded = sb3_course.load(tmp_path / "model")
    assert type(loaded) is algorithm
    loaded.predict(np.zeros(4, dtype=np.float32))


@every_class
def test_load_changes_what_it_is_told_and_checks_it(algorithm, tmp_path):
    short(algorithm, "CartPole-v1").save(tmp_path / "model")
    assert algorithm.load(tmp_path / "model", gamma=0.5).gamma == 0.5
    with pytest.raises(ValueError, match="gamma must be a number from 0 to 1, got 3"):
        algorithm.load(tmp_path / "model", gamma=3)


def test_loading_changes_how_a_batch_or_a_step_is_chosen(tmp_path):
    sb3_course.REINFORCE("MlpPolicy", "CartPole-v1").save(tmp_path / "reinforce")
    sb3_course.NPG("MlpPolicy", "CartPole-v1").save(tmp_path / "npg")
    assert sb3_course.REINFORCE.load(tmp_path / "reinforce", n_episodes=5).n_episodes == 5
    assert sb3_course.NPG.load(tmp_path / "npg", step_size=0.1).step_size == 0.1


@every_class
def test_a_file_without_suffix(algorithm, tmp_path):
    with open(tmp_path / "bare", "wb") as file:
        short(algorithm, "CartPole-v1").save(file)
    sb3_course.load(tmp_path / "bare")


@every_class
def test_odd_normalization(algorithm, tmp_path):
    env = normalized(clip_obs=np.float32(5))
    short(algorithm, env).save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", 2))
    assert loaded.get_vec_normalize_env().clip_obs == 5
    with pytest.raises(ValueError, match="norm_obs=True.*has norm_obs=False"):
        algorithm.load(tmp_path / "model", env=normalized(norm_obs=False))


@every_class
def test_file_objects(algorithm):
    file = io.BytesIO()
    model = short(algorithm, "CartPole-v1")
    model.save(file)
    assert same(parameters(model), parameters(algorithm.load(file)))


def normalized(n_envs=2, **kwargs):
    return VecNormalize(make_vec_env("Pendulum-v1", n_envs, seed=0), **kwargs)


@every_class
@pytest.mark.parametrize("wrap", ["raw", "vectorized", "normalized"])
def test_one_file_holds_the_normalization(algorithm, wrap, tmp_path):
    model = short(algorithm, normalized(1, gamma=0.9, clip_obs=5.0)).learn(800)
    before = model.get_vec_normalize_env()
    model.save(tmp_path / "model")
    env = gym.make("Pendulum-v1") if wrap == "raw" else make_vec_env("Pendulum-v1", 1)
    env = VecNormalize(env) if wrap == "normalized" else env
    loaded = sb3_course.load(tmp_path / "model", env=env, normalize="freeze")
    after = loaded.get_vec_normalize_env()
    assert (after.obs_rms.mean == before.obs_rms.mean).all()
    assert (after.obs_rms.var == before.obs_rms.var).all()
    assert after.obs_rms.count == before.obs_rms.count
    assert after.ret_rms.var == before.ret_rms.var
    assert (after.gamma, after.clip_obs) == (0.9, 5.0)
    assert not after.training and not after.norm_reward

    before.training = before.norm_reward = False
    returns = []
    for trained in (model, loaded):
        trained.get_env().seed(5)
        returns.append(evaluate_policy(trained, trained.get_env(), 1, return_episode_rewards=True))
    assert returns[0][0][0] == returns[1][0][0]


@every_class
def test_train_goes_on_updating_the_statistics(algorithm, tmp_path):
    model = short(algorithm, normalized()).learn(400)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", 2))
    count = loaded.get_vec_normalize_env().obs_rms.count
    loaded.learn(400)
    assert loaded.get_vec_normalize_env().obs_rms.count > count
    assert loaded.get_vec_normalize_env().norm_reward


@every_class
def test_dict_statistics(algorithm, tmp_path):
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
    env = VecNormalize(any_env(space), norm_obs_keys=["a"])
    model = short(algorithm, env, "MultiInputPolicy").learn(50)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=any_env(space))
    assert (loaded.get_vec_normalize_env().obs_rms["a"].mean == env.obs_rms["a"].mean).all()


@every_class
def test_loading_without_the_environment_warns_that_observations_were_normalized(
    algorithm, tmp_path
):
    short(algorithm, normalized()).save(tmp_path / "model")
    with pytest.warns(UserWarning, match="normalized observations"):
        sb3_course.load(tmp_path / "model")


@every_class
def test_a_failing_save_keeps_the_old_file(algorithm, tmp_path, monkeypatch):
    model = short(algorithm, "CartPole-v1")
    model.save(tmp_path / "model")
    content = (tmp_path / "model.zip").read_bytes()

    def full_disk(*args):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        model.learn(50).save(tmp_path / "model")
    assert (tmp_path / "model.zip").read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["model.zip"]


def test_what_is_no_checkpoint_of_ours_is_named(tmp_path):
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ValueError, match="not a checkpoint"):
        sb3_course.load(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(ValueError, match="saved by another library.*it loads REINFORCE"):
        sb3_course.load(tmp_path / "other.zip")
    with pytest.raises(FileNotFoundError):
        sb3_course.load(tmp_path / "none")
    with pytest.raises(ValueError, match="normalize must be 'train' or 'freeze', got 'stop'"):
        sb3_course.REINFORCE.load(tmp_path / "none", normalize="stop")


# -- SB3's face ----------------------------------------------------------------------------------


class Count(BaseCallback):
    def __init__(self):
        super().__init__()
        self.steps, self.rollouts, self.rewards = 0, [0, 0], 0.0

    def _on_step(self):
        self.steps += 1
        self.rewards += self.locals["rewards"].sum()
        assert {"infos", "dones", "new_obs", "actions", "clipped_actions"} <= self.locals.keys()
        return True

    def _on_rollout_start(self):
        self.rollouts[0] += 1

    def _on_rollout_end(self):
        self.rollouts[1] += 1


@every_class
def test_callbacks_see_every_step(algorithm):
    count = Count()
    model = short(algorithm, "CartPole-v1").learn(300, callback=count)
    assert count.steps * 2 == model.num_timesteps == count.rewards
    assert count.rollouts[0] == count.rollouts[1] > 0


@every_class
def test_a_callback_stops_learning_and_learning_can_go_on(algorithm):
    batch = {"n_steps": 500} if takes(algorithm, "n_steps") else {}
    model = short(algorithm, "CartPole-v1", **batch)
    model.learn(10_000, callback=StopTrainingOnMaxEpisodes(4))
    assert model.num_timesteps < 1000
    steps = model.num_timesteps
    model.learn(100, reset_num_timesteps=False)
    assert model.num_timesteps > steps


@every_class
def test_progress_bar_and_logger(algorithm, tmp_path, capsys):
    model = short(algorithm, "CartPole-v1", tensorboard_log=str(tmp_path), verbose=1)
    interval = {"log_interval": 20} if algorithm is sb3_course.OnlineActorCritic else {}
    model.learn(200, progress_bar=True, **interval)
    out = capsys.readouterr().out
    for key in ("ep_rew_mean", "policy_gradient_loss", "grad_norm", "entropy_loss", "fps"):
        assert key in out
    assert [p.name for p in tmp_path.iterdir()] == [f"{algorithm.__name__}_1"]


@every_class
def test_rollout_statistics_are_of_counted_episodes(algorithm):
    class Ended(BaseCallback):
        n = 0

        def _on_step(self):
            self.n += (self.locals["dones"] & self.locals["running"]).sum()
            return True

    ended = Ended()
    model = short(algorithm, "CartPole-v1").learn(200, callback=ended)
    assert len(model.ep_info_buffer) == ended.n > 0


@every_class
def test_set_env_and_get_parameters(algorithm):
    model = short(algorithm, "CartPole-v1").learn(50)
    model.set_env(make_vec_env("CartPole-v1", 2))
    model.learn(50)
    assert set(model.get_parameters()) == {"policy", "actor_optimizer", "critic_optimizer"}
    model.set_parameters(model.get_parameters())


@every_class
def test_lightweight_critic_of_a_custom_policy(algorithm):
    policy_kwargs = {"net_arch": {"pi": [8], "vf": []}, "activation_fn": nn.ReLU}
    model = short(algorithm, "CartPole-v1", policy_kwargs=policy_kwargs).learn(50)
    assert sum(p.numel() for p in model.critic_parameters) == 5


# -- errors --------------------------------------------------------------------------------------


BAD = [
    ({"gamma": 1.5}, "gamma must be a number from 0 to 1, got 1.5"),
    ({"gae_lambda": -1}, "gae_lambda must be a number from 0 to 1, got -1"),
    ({"ent_coef": float("nan")}, "ent_coef must be a finite number, got nan"),
    ({"max_grad_norm": 0}, "max_grad_norm must be a positive number or None, got 0"),
    ({"learning_rate": -1.0}, "learning_rate must be a number of at least 0 or a schedule"),
    ({"n_critic_updates": 0}, "n_critic_updates must be a whole number of at least 1, got 0"),
    ({"batch_size": 1.5}, "batch_size must be a whole number of at least 1 or None, got 1.5"),
    ({"n_steps": 0}, "n_steps must be a whole number of at least 1, got 0"),
    ({"policy_kwargs": {"use_sde": True}}, "use_sde is not supported"),
]


@pytest.mark.parametrize(
    ("algorithm", "kwargs", "message"),
    [(a, kwargs, message) for a in CLASSES for kwargs, message in BAD if takes(a, *kwargs)],
)
def test_bad_parameters(algorithm, kwargs, message):
    with pytest.raises(ValueError, match=message):
        algorithm("MlpPolicy", "CartPole-v1", **kwargs)


@every_class
def test_unbounded_actions(algorithm):
    env = Scripted(space=spaces.Box(-np.inf, np.inf, (1,)))
    with pytest.raises(ValueError, match="action space must have finite bounds, got Box"):
        algorithm("MlpPolicy", env)
    with pytest.raises(ValueError, match="action space must be Box, Discrete, .* got Tuple"):
        algorithm("MlpPolicy", Scripted(space=spaces.Tuple([BOX])))


@every_class
@pytest.mark.parametrize("what", ["reward", "observation"])
def test_non_finite_experience(algorithm, what):
    script = {"rewards": (1.0, np.nan, 1.0)} if what == "reward" else {}
    script |= {"observations": [0.0, 1.0, np.nan, 0.0]} if what == "observation" else {}
    env = DummyVecEnv([Scripted, lambda: Scripted(**script)])
    model = short(algorithm, env)
    with pytest.raises(FloatingPointError, match=rf"{what} of environment 1 is nan at .*step \d"):
        model.learn(100)
    assert all(th.isfinite(p).all() for p in parameters(model).values())


@every_class
def test_overflow_stops_the_run_before_it_ruins_the_networks(algorithm):
    env = DummyVecEnv([lambda: Scripted(rewards=(3e38, -3e38, 3e38))] * 2)
    model = short(algorithm, env, gamma=1.0)
    with pytest.raises(FloatingPointError, match="look at the rewards' scale"):
        model.learn(100)
    assert all(th.isfinite(p).all() for p in parameters(model).values())
