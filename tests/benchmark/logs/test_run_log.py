import numpy as np
import pytest

from sb3_course.benchmark.logs import run_log
from sb3_course.benchmark.logs.layout import ZOO, Layout
from sb3_course.benchmark.logs.run_log import EVALUATION, TRAINING, read_run
from sb3_course.benchmark.logs.search import find_runs
from sb3_course.common.errors import UserError
from tests.benchmark.logs.made_up_logs import arguments, evaluations, monitor
from tests.benchmark.logs.test_scalars import board

EVALUATED = "time/total_timesteps,eval/mean_reward\n100,5\n"
TRAINED = "time/total_timesteps,rollout/ep_rew_mean\n100,6\n"
EPISODES = [(7, 100, 1.0)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "ppo" / "CartPole-v1_3"
    folder.mkdir(parents=True)
    return folder


def read(folder, layout=ZOO):
    (run,), _ = find_runs(folder.parents[1], Layout.parse(layout))
    return read_run(run)


def test_the_best_kind_is_read(folder):
    """Evaluations before training, whatever files they are in."""
    steps = [
        (lambda: board(folder, [(100, 9.0)])[0], "TensorBoard (eval/mean_reward)", EVALUATION, 9),
        (
            lambda: (folder / "progress.csv").write_text(EVALUATED),
            "progress.csv (eval/mean_reward)",
            EVALUATION,
            5,
        ),
        (lambda: evaluations(folder, [100], [[4.0]]), "evaluations.npz", EVALUATION, 4),
    ]
    (folder / "progress.csv").write_text(TRAINED)
    run = read(folder)
    assert (run.source, run.measured) == ("progress.csv (rollout/ep_rew_mean)", TRAINING)
    monitor(folder / "0.monitor.csv", EPISODES)
    run = read(folder)
    assert (run.source, run.measured) == ("monitor.csv", TRAINING)
    for write, source, measured, value in steps:
        write()
        run = read(folder)
        assert (run.source, run.measured) == (source, measured)
        assert run.points["return_mean"].tolist() == [value]


def test_an_empty_progress_is_passed_over(folder):
    """A run has such a file until its logger writes for the first time."""
    (folder / "progress.csv").write_bytes(b"")
    with pytest.raises(UserError, match="neither eval/mean_reward nor rollout/ep_rew_mean in it"):
        read(folder)
    monitor(folder / "0.monitor.csv", EPISODES)
    assert read(folder).source == "monitor.csv"


def test_damage_is_told_rather_than_passed_over(folder):
    """Training episodes in place of damaged evaluations would be other numbers, unasked."""
    monitor(folder / "0.monitor.csv", EPISODES)
    (folder / "evaluations.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"evaluations\.npz: damaged"):
        read(folder)


def test_logs_without_returns_are_told(folder):
    (folder / "progress.csv").write_text("time/total_timesteps,train/loss\n100,5\n")
    with pytest.raises(UserError, match=r"neither eval/mean_reward nor rollout/ep_rew_mean"):
        read(folder)


def test_two_files_of_a_kind_are_two_runs(folder):
    evaluations(folder).rename(folder / "old_evaluations.npz")
    evaluations(folder)
    with pytest.raises(UserError, match="2 files of one kind"):
        read(folder)


def test_without_tensorboard_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setattr(run_log, "find_spec", lambda name: None)
    board(folder, [(100, 9.0)])
    with pytest.raises(UserError, match=r"pip install 'sb3-course\[tensorboard\]'"):
        read(folder)
    monitor(folder / "0.monitor.csv", EPISODES)
    assert read(folder).source == "monitor.csv"


# -- names ----------------------------------------------------------------------------------------


def test_the_path_says_the_names_and_arguments_the_seed(folder):
    evaluations(folder)
    run = read(folder)
    assert (run.algorithm, run.environment, run.seed) == ("ppo", "CartPole-v1", 3)
    arguments(folder, seed=4_000_000_000)
    assert read(folder).seed == 4_000_000_000


@pytest.mark.parametrize(
    ("env", "in_path"),
    [
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("my_module:My/Task-v0", "My-Task-v0"),
        ("my_module:Task-v0", "my_module-Task-v0"),  # as this project writes it
    ],
)
@pytest.mark.parametrize("said_by", ["arguments", "monitor"])
def test_what_a_path_cannot_hold_is_in_the_files(tmp_path, env, in_path, said_by):
    folder = tmp_path / "ppo" / f"{in_path}_1"
    evaluations(folder)
    if said_by == "arguments":
        arguments(folder, env=env)
    else:
        monitor(folder / "0.monitor.csv", EPISODES, env_id=env)
    assert read(folder).environment == env


def test_another_name_in_the_files_is_not_believed(folder):
    """An environment with other arguments has a folder, and a name, of its own."""
    evaluations(folder)
    monitor(folder / "0.monitor.csv", EPISODES, env_id="Other-v1")
    assert read(folder).environment == "CartPole-v1"


def test_what_the_layout_leaves_out_is_taken_from_the_files(folder):
    evaluations(folder)
    with pytest.raises(UserError, match=r"its environment is not known; say with --layout where"):
        read(folder, "{algorithm}/*_{seed}")
    monitor(folder / "0.monitor.csv", EPISODES, env_id="Other-v1")
    assert read(folder, "{algorithm}/*_{seed}").environment == "Other-v1"
    arguments(folder, algo="trpo")
    run = read(folder, "*/{environment}_*")
    assert (run.algorithm, run.seed) == ("trpo", 7)


def test_a_name_that_is_no_text_is_told(tmp_path):
    folder = tmp_path / "p\tpo" / "CartPole-v1_3"
    evaluations(folder)
    with pytest.raises(UserError, match="allowed: 1 to 100 printable characters"):
        read(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"{" * 1000,
        b"\xff\xfe",
        b"a: b: c",
        b"- &a [*a]",
        b"x" * 900_000,
        b"x: '" + b"\\x00" * 10,
        b'"\\UFFFFFFFF": 1',
        b"&a [" + b"[" * 60,
    ],
)
def test_damaged_arguments_are_told(folder, content):
    evaluations(folder)
    arguments(folder).write_bytes(content)
    with pytest.raises(UserError, match=r"args\.yml is damaged"):
        read(folder)


def test_a_continuation_is_no_run_of_its_own(folder):
    evaluations(folder)
    arguments(folder, trained_agent="logs/ppo/CartPole-v1_1/CartPole-v1.zip")
    with pytest.raises(UserError, match=r"it continues logs/ppo/CartPole-v1_1/CartPole-v1\.zip"):
        read(folder)


def test_what_a_run_was_trained_with_is_kept(folder):
    evaluations(folder)
    assert (read(folder).setting, read(folder).task) == ("", "")
    arguments(folder, config="gamma: 0.9\n")
    assert (read(folder).setting, read(folder).task) == ("gamma: 0.9\n", "")
    arguments(folder, env_kwargs="\n      g: 0.0\n      k:\n      - 1\n      - b: 2")
    assert read(folder).task == "{g: 0.0, k: [1, {b: 2}]}"
    arguments(folder, env_kwargs="~", config="env_kwargs: {g: 2}\n")
    assert read(folder).task == "{g: 2}"
    arguments(folder, env_kwargs="null\n  - - eval_env_kwargs\n    - {g: 3}", config="a: [")
    assert read(folder).task == "{g: 3}"
    arguments(folder, env_kwargs="{g: !!python/name:os.system ''}")
    assert read(folder).task == "{g: !!python/name:os.system ''}"


@pytest.mark.parametrize("seed", ["null", "-1", "x", "1e3", "99999999999"])
def test_a_seed_that_is_none_is_that_of_the_path(folder, seed):
    evaluations(folder)
    arguments(folder, seed=seed)
    assert read(folder).seed == 3


def test_points_are_those_of_the_file(folder):
    evaluations(folder, [10, 20], [[1.0, 2.0], [3.0, 4.0]])
    run = read(folder)
    assert run.path == folder
    np.testing.assert_array_equal(run.points["return_mean"], [1.5, 3.5])
