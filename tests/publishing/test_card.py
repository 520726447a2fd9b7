import json

import gymnasium
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from stable_baselines3 import A2C

from sb3_course import BC, NPG, building, loading
from sb3_course.common.errors import UserError
from sb3_course.common.numbers import readable
from sb3_course.envs.config import EnvConfig
from sb3_course.publishing import card, readme
from sb3_course.publishing.card import Options, make_card
from sb3_course.publishing.readme import Facts, install

OWN = "tests.own_envs"


def build(name="NPG", env_id="CartPole-v1", normalize=True, **params):
    small = {"n_steps": 16, "learning_rate": "lin_0.01", **params}
    return building.build(name, small, env_id, 2, 3, "dummy", normalize).learn(64)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, the folder of its card, and what was printed."""
    place = tmp_path_factory.mktemp("card")
    model, lines = build(), []
    loading.save(model, place / "model.zip")
    make_card(Options(place / "model.zip", place / "card", episodes=5, repo="me/npg"), lines.append)
    return model, place, lines


def test_a_card_is_a_folder_of_five_files(made):
    _, place, _ = made
    names = {"npg-CartPole-v1.zip", "README.md", "results.json", "config.json", "replay.mp4"}
    assert {path.name for path in (place / "card").iterdir()} == names
    weights = (place / "card" / "npg-CartPole-v1.zip").read_bytes()
    assert weights == (place / "model.zip").read_bytes()
    assert (place / "card" / "replay.mp4").stat().st_size > 1_000


def test_the_hub_reads_the_result_from_the_card(made):
    _, place, _ = made
    read = ModelCard.load(place / "card" / "README.md")
    results = json.loads((place / "card" / "results.json").read_text())
    (entry,) = read.data.eval_results
    assert (entry.task_type, entry.dataset_name, entry.dataset_type) == (
        *("reinforcement-learning", "CartPole-v1", "CartPole-v1"),
    )
    expected = f"{results['mean_reward']:.2f} +/- {results['std_reward']:.2f}"
    assert (entry.metric_type, entry.metric_value) == ("mean_reward", expected)
    assert read.data.library_name == "stable-baselines3"
    assert read.data.pipeline_tag == "reinforcement-learning"
    assert {"CartPole-v1", "NPG", "reinforcement-learning"} <= set(read.data.tags)


def test_a_return_that_is_no_number_is_told(made, tmp_path, monkeypatch):
    _, place, _ = made
    infinite = np.array([1.0, np.inf, np.nan]), np.array([1, 2, 3])
    monkeypatch.setattr(card, "evaluate", lambda *_: infinite)
    with pytest.raises(UserError, match="the return of episode 2 is inf: a card needs finite"):
        make_card(Options(place / "model.zip", tmp_path / "card", episodes=3), print)
    assert not (tmp_path / "card").exists()


def test_the_results_are_those_of_the_episodes(made):
    model, place, lines = made
    results = json.loads((place / "card" / "results.json").read_text())
    by_hand = []
    for i in range(5):
        env = gymnasium.make("CartPole-v1")
        obs, _ = env.reset(seed=results["first_seed"] + i)
        total, over = 0.0, False
        while not over:
            normal = model.get_vec_normalize_env().normalize_obs(obs)
            obs, reward, ended, cut, _ = env.step(model.predict(normal, deterministic=True)[0])
            total, over = total + float(reward), ended or cut
        by_hand.append(total)
    assert results["returns"] == by_hand
    assert results["mean_reward"] == np.mean(by_hand)
    assert results["std_reward"] == np.std(by_hand)
    low, high = results["interval"]
    assert min(by_hand) <= low < np.mean(by_hand) < high <= max(by_hand)
    mean, std, low, high = readable(np.mean(by_hand), np.std(by_hand), low, high)
    assert lines == [
        f"mean return {mean} ± {std} in 5 episodes; 95% interval of the mean {low} to {high}"
    ]


def test_the_configuration_says_what_was_chosen(made):
    _, place, _ = made
    config = json.loads((place / "card" / "config.json").read_text())
    assert (config["algorithm"], config["policy"], config["env"]) == (
        *("NPG", "MlpPolicy", "CartPole-v1"),
    )
    assert (config["n_envs"], config["seed"], config["num_timesteps"]) == (2, 3, 64)
    assert config["hyper_parameters"]["n_steps"] == 16
    assert config["hyper_parameters"]["learning_rate"] == "lin_0.01"
    assert config["vec_normalize"]["norm_obs"] is True
    text = (place / "card" / "README.md").read_text()
    for name, value in config["hyper_parameters"].items():
        assert f"| `{name}` | `{value}` |" in text or value == {}


def test_the_interval_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        low, high = card.interval(generator.exponential(1.0, 50))
        covered += low <= 1.0 <= high
    assert 85 <= covered <= 99


CASES = {
    "of SB3": (lambda: build("A2C"), {}),
    "settings": (
        lambda: build(
            "NPG",
            EnvConfig(
                f"{OWN}:Walk-v0",
                {"goal": 2.0},
                ({f"{OWN}:Scaled": {"times": 3.0}},),
                frame_stack=2,
                time_limit=9,
            ),
        ),
        {},
    ),
    "no normalization": (lambda: build(normalize=False), {}),
    "a lambda": (lambda: build(learning_rate=lambda left: 0.01 * left), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_code_of_a_card_loads_the_model(case, tmp_path, monkeypatch):
    model = CASES[case][0]()
    loading.save(model, tmp_path / "model.zip")
    make_card(Options(tmp_path / "model.zip", tmp_path / "card", episodes=2), lambda line: None)
    monkeypatch.chdir(tmp_path / "card")
    text = (tmp_path / "card" / "README.md").read_text()
    block = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in block.splitlines() if " = " in line]) == 3
    namespace = {}
    exec(block, namespace)
    loaded = namespace["model"]
    assert type(loaded) is type(model)
    obs = loaded.get_env().reset()
    assert obs.shape[1:] == model.observation_space.shape
    given = loaded.predict(obs, deterministic=True)[0]
    assert np.allclose(given, model.predict(obs, deterministic=True)[0], atol=1e-6)
    trusting = "which its author chose and loading executes" in text
    assert (
        trusting
        == (case == "a lambda")
        == ("weights_only=True" not in block and "A2C" not in block)
    )
    assert ("enjoy npg-CartPole-v1.zip --trust" in text) == (case == "a lambda")


def test_a_file_of_sb3_itself_gets_a_card(tmp_path, monkeypatch):
    A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(tmp_path / "sb3.zip")
    options = Options(tmp_path / "sb3.zip", tmp_path / "card", "CartPole-v1", 2, "A2C", True)
    make_card(options, lambda line: None)
    text = (tmp_path / "card" / "README.md").read_text()
    assert "sb3-course enjoy a2c-CartPole-v1.zip CartPole-v1 --algo A2C --trust" in text
    monkeypatch.chdir(tmp_path / "card")
    namespace = {}
    exec(text.split("```python\n")[1].split("```")[0], namespace)
    assert type(namespace["model"]) is A2C


def test_a_card_of_an_imitator_does_not_speak_of_environment_steps(tmp_path):
    demonstrations = {"obs": np.zeros((8, 4)), "acts": np.zeros(8, dtype=int)}
    model = BC("MlpPolicy", "CartPole-v1", demonstrations, batch_size=4, device="cpu").learn(8)
    loading.save(model, tmp_path / "bc.zip")
    make_card(Options(tmp_path / "bc", tmp_path / "card", "CartPole-v1", 2), lambda line: None)
    text = (tmp_path / "card" / "README.md").read_text()
    assert "that has learned from an expert in `CartPole-v1`" in text
    assert "pip install 'sb3-course[video]'\npip install --no-deps imitation==" in text


@pytest.mark.parametrize(
    ("env", "repo", "wanted"),
    [
        ("HalfCheetah-v4", None, "[mujoco]"),
        ("LunarLander-v3", "me/lander", "[box2d,video,hub]"),
        ("CartPole-v1", None, "[video]"),
        ("sb3_course.envs.dilemmas:Dilemmas-v0", None, ""),
    ],
)
def test_a_card_names_the_extras_of_its_task(env, repo, wanted):
    nothing = {"header": {}, "config": {}, "env_settings": {}, "video": False}
    facts = Facts("m.zip", "sb3_course.npg", results={"env": env}, repo=repo, **nothing)
    assert install(facts) == f"pip install 'sb3-course{wanted}'"


def test_what_cannot_be_rendered_has_no_video(tmp_path):
    model = building.build(
        "NPG", {"n_steps": 16}, "sb3_course.envs.dilemmas:Dilemmas-v0", 2, 0, "dummy", False
    )
    loading.save(model, tmp_path / "model.zip")
    lines = []
    make_card(Options(tmp_path / "model.zip", tmp_path / "card", episodes=2), lines.append)
    assert lines[-1].startswith("no video: ")
    assert not (tmp_path / "card" / "replay.mp4").exists()
    assert "replay.mp4" not in (tmp_path / "card" / "README.md").read_text()


def test_a_folder_with_files_is_not_touched(tmp_path):
    NPG("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "model.zip")
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "README.md").write_text("mine")
    for folder in (tmp_path / "card", tmp_path / "model.zip"):
        with pytest.raises(UserError, match="a new or an empty folder"):
            make_card(Options(tmp_path / "model.zip", folder), lambda line: None)
    assert (tmp_path / "card" / "README.md").read_text() == "mine"


def test_the_front_matter_is_yaml_before_the_text(made):
    _, place, _ = made
    text = (place / "card" / "README.md").read_text()
    _, front, rest = text.split("---\n", 2)
    assert set(yaml.safe_load(front)) == {"library_name", "pipeline_tag", "tags", "model-index"}
    assert rest.startswith("\n# NPG on CartPole-v1\n")


def test_a_refused_card_leaves_no_folder(tmp_path):
    NPG("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "model.zip")
    with pytest.raises(UserError, match="CartPol-v1"):
        make_card(Options(tmp_path / "model.zip", tmp_path / "card", "CartPol-v1"), print)
    assert not (tmp_path / "card").exists()


def test_a_video_that_fails_in_any_way_costs_the_card_nothing(made, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("ffmpeg is broken")

    monkeypatch.setattr(card, "play", broken)
    lines = []
    make_card(Options(made[1] / "model.zip", tmp_path / "card", episodes=2), lines.append)
    assert lines[-1] == "no video: OSError: ffmpeg is broken"
    assert (tmp_path / "card" / "results.json").exists()


@pytest.mark.parametrize(
    ("env", "settings", "command"),
    [
        ("CartPole-v1", {}, "m.zip"),
        ("my_envs:Own-v0", {}, "m.zip my_envs:Own-v0"),
        ("CartPole-v1", {"wrappers": ["a:B"]}, "m.zip --trust"),
    ],
)
def test_the_command_of_a_card_works_for_whoever_has_not_written_it(env, settings, command):
    """Modules are imported if they are named, or the file is trusted."""
    header = {"class": "NPG", "env": env}
    config = {"env": env, "env_settings": settings, "algorithm": "NPG"}
    facts = readme.Facts("m.zip", "sb3_course.npg", header, config, config, settings, False, None)
    assert readme.watch(facts) == f"sb3-course enjoy {command}"


def test_a_card_tells_where_a_policy_learned_from_where_it_was_evaluated(tmp_path):
    build(env_id="CartPole-v0").save(tmp_path / "m.zip")
    make_card(Options(tmp_path / "m.zip", tmp_path / "card", "CartPole-v1", 2), print)
    config, results = (
        json.loads((tmp_path / "card" / f"{name}.json").read_text())
        for name in ("config", "results")
    )
    assert (config["env"], results["env"]) == ("CartPole-v0", "CartPole-v1")
    text = (tmp_path / "card" / "README.md").read_text()
    assert "learned from 64 steps of `CartPole-v0`" in text
    assert "2 episodes of the deterministic policy in `CartPole-v1`" in text
    assert "sb3-course enjoy npg-CartPole-v1.zip CartPole-v1" in text


@pytest.mark.parametrize(("name", "says"), [("RecurrentPPO", "state"), ("MaskablePPO", "masks")])
def test_a_card_says_how_the_policy_is_asked(name, says):
    config = {"algorithm": name}
    facts = readme.Facts("m.zip", "sb3_contrib", {}, config, {}, {}, False, None)
    assert says in readme._acts(facts)


def test_a_bar_in_a_value_does_not_divide_its_cell():
    assert readme._table(("a", "b"), [("`x`", "`1|2`")]).endswith("| `x` | `1\\|2` |")


def test_settings_that_are_infinite_are_python_in_a_card():
    given = {"contact_cost_range": [float("-inf"), 10.0], "a": {"b": (1, None)}}
    assert eval(readme._python(given)) == given
