import json

import pytest
import yaml

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.logs.reading import RESULTS, TABLE, grid_of, read_logs
from sb3_course.benchmark.storage.manifest import configuration
from sb3_course.benchmark.storage.returns_table import COLUMNS, csv_of, tidy
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from sb3_course.common.files import write_whole
from tests.benchmark import made_up
from tests.benchmark.logs.made_up_logs import arguments, evaluations, monitor
from tests.benchmark.logs.test_scalars import board
from tests.benchmark.made_up import ALGORITHMS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(folder, leave_out=0, **changes):
    """Store the results of a grid with its manifest, as far as a report needs it; returns them."""
    grid = made_up.grid(**{"n_algorithms": 1, "n_environments": 1, "seeds": 2, **changes})
    results = made_up.written(folder, made_up.results(grid)[leave_out:])
    write_whole(folder / "manifest.json", json.dumps({"grid": configuration(grid)}))
    return grid, results


def runs(logs):
    return [(r.algorithm, r.environment, r.seed) for r in logs.runs]


def test_everything_at_once_is_one_table(folder):
    _, results = stored(folder / "results" / "made-up")
    (folder / "mine.csv").write_text(csv_of(tidy(results)).replace("NPG", "Mine"))
    evaluations(folder / "zoo" / "ppo" / "CartPole-v1_1")
    monitor(folder / "plain" / "A2C" / "CartPole-v1_0" / "monitor.csv", [(1, 9, 1), (2, 9, 2)])
    logs = read_logs(["results/made-up", "mine.csv", "zoo", "plain"])
    assert runs(logs) == [
        ("NPG", "CartPole-v1", 0),
        ("NPG", "CartPole-v1", 1),
        ("Mine", "CartPole-v1", 0),
        ("Mine", "CartPole-v1", 1),
        ("ppo", "CartPole-v1", 1),
        ("A2C", "CartPole-v1", 0),
    ]
    assert [run.source for run in logs.runs] == [
        *[RESULTS] * 2,
        *[TABLE] * 2,
        "evaluations.npz",
        "monitor.csv",
    ]
    assert list(logs.table) == COLUMNS
    assert logs.table.dtypes[["seed", "step", "num_timesteps"]].eq("int64").all()
    assert (logs.unread, logs.absent, logs.problems) == ([], [], [])
    ours = logs.table[logs.table["algorithm"] == "NPG"].reset_index(drop=True)
    assert ours.equals(tidy(results))
    theirs = logs.table[logs.table["algorithm"] == "ppo"]
    assert theirs["return_mean"].tolist() == [2.0, 5.0]


def test_one_name_for_two_environments_is_refused(folder):
    for name, settings in (("one", {}), ("two", {}), ("three", {"time_limit": 50})):
        grid = made_up.grid(n_algorithms=1, n_environments=1, seeds=2)
        data = configuration(grid)
        data["algorithms"] = {name: data["algorithms"]["NPG"]}
        data["environments"]["CartPole-v1"] |= settings
        grid = load_grid(data | {"name": name})
        made_up.written(folder / name, made_up.results(grid))
        write_whole(folder / name / "manifest.json", json.dumps({"grid": configuration(grid)}))
    assert len(read_logs(["one", "two"]).runs) == 4
    words = r"CartPole-v1 in one \(as it is registered\) and in three \(.*limit.*\) are different"
    with pytest.raises(UserError, match=words):
        read_logs(["one", "three"])


def test_a_grid_as_a_mapping_a_file_or_a_folder_is_the_same(folder):
    grid, _ = stored(folder / "results" / "made-up", leave_out=1)
    (folder / "grid.yaml").write_text(yaml.safe_dump(configuration(grid)))
    for source in (configuration(grid), "grid.yaml", "results/made-up"):
        logs = read_logs(source)
        assert runs(logs) == [("NPG", "CartPole-v1", 1)]
        assert logs.absent == [("NPG", "CartPole-v1", 0, "not run")]
        of, store = grid_of(source, folder / "results")
        assert (of, store.folder.resolve()) == (grid, folder / "results" / "made-up")
    assert grid_of(["grid.yaml", "grid.yaml"], folder / "results") is None


def test_failed_and_damaged_runs_of_a_grid_are_told(folder):
    place = folder / "results" / "made-up"
    grid, results = stored(place, seeds=3)
    first, second, _ = grid.runs()
    Store(place).path(first).write_text("x")
    Store(place).path(second).unlink()
    Store(place).write(results[1].model_copy(update={"measurements": [], "failure": "E: no"}))
    logs = read_logs("mine=results/made-up")
    assert runs(logs) == [("NPG (mine)", "CartPole-v1", 2)]
    assert [(a, seed) for a, _, seed, _ in logs.absent] == [("NPG (mine)", 0), ("NPG (mine)", 1)]
    assert logs.absent[1][3] == "failed: E: no"
    (line,) = logs.problems
    assert "is damaged (" in line
    assert line.count("results/made-up") == 1


def test_a_label_tells_algorithms_apart(folder):
    for name in ("a", "b"):
        evaluations(folder / name / "ppo" / "CartPole-v1_1")
    logs = read_logs(["x y=a", "b"])
    assert [run[0] for run in runs(logs)] == ["ppo (x y)", "ppo"]
    (folder / "a=b" / "ppo").mkdir(parents=True)
    (folder / "a" / "ppo" / "CartPole-v1_1").rename(folder / "a=b" / "ppo" / "CartPole-v1_1")
    assert runs(read_logs("a=b")) == [("ppo", "CartPole-v1", 1)]  # a path that exists is no label


def test_the_questions_of_grids_come_along_with_the_names_that_a_label_gives(folder):
    pair, turned = ALGORITHMS[:2], ALGORITHMS[1::-1]
    stored(folder / "a", n_algorithms=2, seeds=[0], questions={"Better?": pair})
    stored(folder / "b", n_algorithms=2, seeds=[1], questions={"Better?": turned})
    stored(folder / "c", n_algorithms=3, seeds=[2], questions={"Better?": ALGORITHMS[1:3]})
    labeled = {"Better? (mine)": ("NPG (mine)", "BatchActorCritic (mine)")}
    assert read_logs("mine=a").questions == labeled
    assert read_logs(["mine=a", "b"]).questions == labeled | {"Better?": turned}
    numbered = {"Better?": pair, "Better? [2]": turned, "Better? [3]": ALGORITHMS[1:3]}
    assert read_logs(["a", "b", "c"]).questions == numbered


@pytest.mark.parametrize("label", [" ", "", "x\ty", "x" * 41])
def test_a_label_is_a_name(folder, label):
    with pytest.raises(UserError, match="allowed: 1 to 40 printable characters"):
        read_logs(f"{label}=a")


def test_the_longest_of_equal_runs_is_read(folder):
    """RL Zoo's run 2 with the seed of run 1, which was stopped."""
    zoo = folder / "zoo" / "ppo"
    for k, last in ((1, 200), (2, 300), (3, 250)):
        evaluations(zoo / f"CartPole-v1_{k}", [100, last])
        arguments(zoo / f"CartPole-v1_{k}", seed=7)
    logs = read_logs("zoo")
    assert [run.path.name for run in logs.runs] == ["CartPole-v1_2"]
    assert len(logs.table) == 2
    assert [path.name for path, _ in logs.unread] == ["CartPole-v1_1", "CartPole-v1_3"]
    for _, reason in logs.unread:
        assert reason.startswith("the same run (ppo · CartPole-v1 · 7) as zoo/ppo/CartPole-v1_2")


def test_runs_with_other_settings_are_told(folder):
    zoo = folder / "zoo" / "ppo"
    for k, config in enumerate(["gamma: 0.9", "gamma: 0.9", "gamma: 0.99", None], 1):
        evaluations(zoo / f"CartPole-v1_{k}")
        arguments(zoo / f"CartPole-v1_{k}", seed=k, config=config)
    (line,) = read_logs("zoo").problems
    assert line.startswith(
        "ppo on CartPole-v1 was trained with 2 settings, says RL Zoo (CartPole-v1_1, "
        "CartPole-v1_2; CartPole-v1_3), and is compared as one"
    )
    assert line.endswith("with labels as in other=PATH")
    apart = read_logs([*(f"{zoo}/CartPole-v1_{k}" for k in (1, 2, 4)), f"new={zoo}/CartPole-v1_3"])
    assert apart.problems == []
    evaluations(zoo / "CartPole-v1_5", [100, 300])
    arguments(zoo / "CartPole-v1_5", seed=3, config="gamma: 1")
    (_, reason), *_ = read_logs("zoo").unread
    assert reason.endswith("CartPole-v1_5, which is read, with other settings")


def test_a_task_that_is_not_the_same_in_all_runs_is_told(folder):
    for k, (name, env_kwargs) in enumerate([("ppo", "null"), ("npg", "{g: 0.0}")]):
        evaluations(folder / "zoo" / name / f"CartPole-v1_{k}")
        arguments(folder / "zoo" / name / f"CartPole-v1_{k}", env_kwargs=env_kwargs)
    (line,) = read_logs("zoo").problems
    assert line == (
        "CartPole-v1 is not the same task in all runs: RL Zoo's env_kwargs are {g: 0.0} (npg); "
        "none (ppo)"
    )
    (folder / "zoo" / "ppo" / "CartPole-v1_0" / "CartPole-v1" / "args.yml").unlink()
    assert len(read_logs("zoo").problems) == 1


def test_runs_of_one_name_below_two_paths_need_a_label(folder):
    for name in ("a", "b"):
        evaluations(folder / name / "ppo" / "CartPole-v1_1")
    with pytest.raises(UserError) as caught:
        read_logs(["a", "b"])
    message = str(caught.value)
    assert message.startswith("ppo · CartPole-v1 · 1 is in a/ppo/CartPole-v1_1 and in b/ppo/")
    assert message.endswith("mine=PATH")
    assert len(runs(read_logs(["a", "other=b"]))) == 2
    assert len(runs(read_logs(["a", "a/ppo", str(folder / "a")]))) == 1  # the same run


def test_seeds_of_two_paths_are_of_one_algorithm(folder):
    """As of runs that two machines have made."""
    for name, seed in (("a", 1), ("b", 2)):
        evaluations(folder / name / "ppo" / f"CartPole-v1_{seed}")
    assert runs(read_logs(["a", "b"])) == [("ppo", "CartPole-v1", 1), ("ppo", "CartPole-v1", 2)]


def test_what_cannot_be_read_is_listed_and_the_rest_is_read(folder):
    evaluations(folder / "zoo" / "ppo" / "CartPole-v1_1")
    (evaluations(folder / "zoo" / "ppo" / "CartPole-v1_2")).write_bytes(b"")
    logs = read_logs("zoo")
    assert runs(logs) == [("ppo", "CartPole-v1", 1)]
    (line,) = logs.problems
    assert line.startswith("zoo/ppo/CartPole-v1_2: evaluations.npz: damaged")


def test_odd_names_of_folders_leave_messages_in_one_line(folder):
    for k, name in enumerate(("a\nb", "a\x1b[2Jb")):
        for run in ("1", "2"):
            place = folder / f"zoo {k}" / name / f"CartPole-v1_{run}"
            evaluations(place).write_bytes(b"")
            (place / "a\nb.monitor.csv").write_text("")
        with pytest.raises(UserError) as caught:
            read_logs(f"zoo {k}")
        assert str(caught.value).isprintable()
        with pytest.raises(UserError) as caught:
            read_logs(f"zoo {k}", "x{algorithm}")
        assert str(caught.value).isprintable()
    monitor(folder / "one" / "ppo" / "A-v1_1" / "a\nb.monitor.csv", [(1, 0, 1)])
    with pytest.raises(UserError) as caught:
        read_logs("one")
    assert str(caught.value).isprintable()
    with pytest.raises(UserError) as caught:
        read_logs("no\nthing")
    assert str(caught.value).isprintable()


def test_a_run_with_a_return_that_is_no_number_is_not_read(folder):
    for k, bad in enumerate((2, "nan")):
        path = folder / "zoo" / "ppo" / f"CartPole-v1_{k}" / "monitor.csv"
        monitor(path, [(1, 9, 1), (bad, 9, 2), (3, 9, 3)])
    logs = read_logs("zoo")
    assert runs(logs) == [("ppo", "CartPole-v1", 0)]
    (line,) = logs.problems
    assert "monitor.csv: line 4: the return is nan, no finite number" in line


def test_the_folder_of_rl_zoos_tensorboard_files_is_known(folder):
    board(folder / "tb" / "CartPole-v1" / "PPO_1", [(1, 2.0)])
    assert runs(read_logs("tb")) == [("PPO", "CartPole-v1", 1)]
    swapped = read_logs("tb", "{algorithm}/{environment}_{seed}")
    assert runs(swapped) == [("CartPole-v1", "PPO", 1)]  # as it was told


def test_an_id_without_a_version_beside_others_is_an_environment(folder):
    for environment in ("MyTask", "CartPole-v1"):
        board(folder / "tb" / environment / "NPG_1", [(1, 2.0)])
    found = sorted(runs(read_logs("tb")))
    assert found == [("NPG", "CartPole-v1", 1), ("NPG", "MyTask", 1)]


def test_a_layout_is_used(folder):
    evaluations(folder / "runs" / "CartPole-v1" / "mine" / "4")
    logs = read_logs("runs", "{environment}/{algorithm}/{seed}")
    assert runs(logs) == [("mine", "CartPole-v1", 4)]


@pytest.mark.parametrize("layout", ["{algorithm}_{seed}", "{algorithm}/{seed}", "*_{seed}"])
def test_a_layout_may_leave_out_what_the_files_say(folder, layout):
    for seed in (1, 2):
        name = layout.replace("*", "x").format(algorithm="PPO", seed=seed)
        place = monitor(folder / "runs" / name / "monitor.csv", [(1.0, 9, 0.5)]).parent
        arguments(place, algo="PPO", seed=seed)
    assert runs(read_logs("runs", layout)) == [("PPO", "CartPole-v1", seed) for seed in (1, 2)]


def test_an_environment_without_a_spec_is_not_known_from_sb3s_monitor(folder):
    monitor(folder / "runs" / "PPO_1" / "monitor.csv", [(1.0, 9, 0.5)], env_id="None")
    with pytest.raises(UserError, match="its environment is not known"):
        read_logs("runs", "{algorithm}_{seed}")


def test_a_log_is_a_path_too(folder):
    evaluations(folder / "zoo" / "ppo" / "CartPole-v1_1")
    assert runs(read_logs("zoo/ppo/CartPole-v1_1/evaluations.npz")) == [("ppo", "CartPole-v1", 1)]


def test_a_log_of_rl_zoo_has_its_arguments_as_its_folder_has(folder):
    for number, seed in ((1, 77), (2, 88)):
        arguments(evaluations(folder / "zoo" / "ppo" / f"CartPole-v1_{number}").parent, seed=seed)
    file = "zoo/ppo/CartPole-v1_1/evaluations.npz"
    assert runs(read_logs(file)) == [("ppo", "CartPole-v1", 77)]
    found = runs(read_logs(["zoo", file]))  # one run, to which two paths lead
    assert found == [("ppo", "CartPole-v1", 77), ("ppo", "CartPole-v1", 88)]


@pytest.mark.parametrize("sources", ["made-up", "table.csv", ["made-up", "mine=table.csv"]])
def test_a_layout_without_logs_is_refused(folder, sources):
    _, results = stored(folder / "made-up")
    (folder / "table.csv").write_text(csv_of(tidy(results)))
    with pytest.raises(UserError, match="a layout is of the paths of logs, and none is given"):
        read_logs(sources, "{algorithm}/{seed}")


def test_a_search_is_no_results_of_its_grid(folder):
    stored(folder / "made-up" / "tuning")
    (folder / "made-up" / "tuning" / "journal.log").touch()
    for function in (read_logs, lambda path: grid_of(path, folder)):
        with pytest.raises(UserError, match="is a search, whose page `sb3-course tune` writes"):
            function("made-up/tuning")


@pytest.mark.parametrize(
    ("sources", "layout", "part"),
    [
        ("nothing", None, "nothing: no such file or folder"),
        ([], None, "no path is given"),
        ("zoo", "{algo}", "unknown part of a layout 'algo'"),
        ("zoo", "{algorithm}/{seed}", "matches none of 1 log files, such as ppo/CartPole-v1_1/"),
        ("broken.csv", None, "no run could be read: broken.csv: without algorithm"),
        ("header.csv", None, "no run could be read: header.csv: no row in it"),
        (["header.csv", "A=header.csv"], None, "header.csv: no row in it"),
        ("empty", None, "empty: no log in it"),
        ("grid.yaml", None, "no results in results/made-up"),
        ("old", None, "its grid is of another version"),
        ("damaged", None, "damaged/manifest.json is damaged"),
        ("deleted", None, "deleted has no manifest.json, which says of what grid its runs are"),
    ],
)
def test_mistakes_get_one_line(folder, sources, layout, part):
    evaluations(folder / "zoo" / "ppo" / "CartPole-v1_1")
    (folder / "broken.csv").write_text("a,b\n1,2\n")
    (folder / "header.csv").write_text("algorithm,environment,seed,step,return\n")
    (folder / "empty").mkdir()
    (folder / "grid.yaml").write_text(yaml.safe_dump(configuration(made_up.grid())))
    write_whole(folder / "old" / "manifest.json", '{"grid": {"name": "x", "tasks": 3}}')
    write_whole(folder / "damaged" / "manifest.json", "{")
    write_whole(folder / "deleted" / "runs.jsonl", "{}")
    with pytest.raises(UserError) as caught:
        read_logs(sources, layout)
    assert part in str(caught.value).replace("\n", " ")
