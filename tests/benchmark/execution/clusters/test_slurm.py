"""The script of a Slurm array, with small programs in the place of Slurm's and of ours."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from sb3_course.benchmark.execution.clusters.slurm import SlurmArray, notes, script, seconds_of
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import tiny

ARRAY = SlurmArray(16, "4:00:00", 4, ["partition=long", "mem-per-cpu=2G", "exclusive"])
PROGRAMS = {
    "sbatch": 'echo "sbatch $*" >> calls; wc -l < calls | sed "s/$/;cluster/"',
    "scontrol": 'echo "scontrol $*" >> calls',
    # Ready once it would stop on SIGTERM; it then ends as ours does, or with the code in a file.
    "sb3-course": """
echo "sb3-course $*" >> calls
[ ! -e code ] || exit "$(cat code)"
trap 'exit 130' TERM
while :; do mkfifo -m 600 ready 2> /dev/null || true; sleep 0.01; done
""",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder with the script, and programs that note how they are called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    (tmp_path / "job.sh").write_text(script(tiny(), Path("my grid.yaml"), ARRAY, Path("results")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*words):
    return subprocess.Popen(["bash", "job.sh", *words], stdout=-1, stderr=-1, text=True)


def calls(folder):
    return (folder / "calls").read_text().splitlines()


def signaled(folder, number):
    """Send a signal to the script while its command runs, and return its exit code."""
    process = start("run")
    while not (folder / "ready").exists():
        assert process.poll() is None
    os.kill(process.pid, number)
    process.communicate()
    return process.returncode


def test_bash_reads_the_script(folder):
    subprocess.run(["bash", "-n", "job.sh"], check=True)


def test_what_sbatch_reads_stands_before_the_first_command(folder):
    lines = (folder / "job.sh").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    assert [line.removeprefix("#SBATCH ") for line in lines[:first] if "SBATCH" in line] == [
        "--job-name=tiny",
        '--output="results/tiny/logs/slurm-%x-%j.out"',
        "--open-mode=append",
        "--nodes=1",
        "--ntasks=1",
        "--time=4:00:00",
        "--partition=long",
        "--mem-per-cpu=2G",
        "--exclusive",
    ]


def test_it_submits_an_array_and_a_report_that_depends_on_it(folder):
    process = start()
    assert process.communicate() == ("submitted: array 1, report 2\n", "")
    assert calls(folder) == [
        "sbatch --parsable --array=0-15 --cpus-per-task=4 --requeue --signal=B:USR1@120 job.sh run",
        "sbatch --parsable --dependency=afterany:1 --cpus-per-task=1 job.sh report",
    ]
    assert (folder / "results/tiny/logs").is_dir()  # sbatch makes no folders


def test_a_refused_array_submits_no_report(folder):
    (folder / "programs/sbatch").write_text("#!/bin/bash\necho sbatch >> calls; exit 1")
    process = start()
    process.communicate()
    assert process.returncode == 1
    assert calls(folder) == ["sbatch"]


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_task_ends_as_its_command_does(folder, code):
    (folder / "code").write_text(str(code))
    process = start("run")
    process.communicate()
    assert process.returncode == code
    assert calls(folder) == ["sb3-course run my grid.yaml --workers 4 --no-wait --results results"]


def test_the_report_is_that_of_the_grid(folder):
    (folder / "code").write_text("0")
    start("report").communicate()
    assert calls(folder) == ["sb3-course report my grid.yaml --results results"]


def test_a_task_without_time_stops_its_command_and_is_started_again(folder):
    assert signaled(folder, signal.SIGUSR1) == 130
    assert calls(folder)[1:] == ["scontrol requeue 42"]


def test_a_task_does_not_start_again_for_ever(folder, monkeypatch):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "100")
    assert signaled(folder, signal.SIGUSR1) == 130
    assert len(calls(folder)) == 1


# Bash takes this in the place of its own: one that returns when the command has ended.
SLOW_KILL = """() {
  [ "$1" != -0 ] || return 1
  builtin kill "$@"
  while grep -qs "^State:.[^Z]" "/proc/${!#}/status"; do :; done
}"""


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_task_knows_the_code_of_a_command_that_ends_at_once(folder, monkeypatch, number):
    monkeypatch.setenv("BASH_FUNC_kill%%", SLOW_KILL)
    assert signaled(folder, number) == 130


def test_a_task_that_is_canceled_or_preempted_stops_its_command_and_leaves_the_rest_to_slurm(
    folder,
):
    assert signaled(folder, signal.SIGTERM) == 130
    assert len(calls(folder)) == 1


def test_no_other_word_starts_anything(folder):
    process = start("submitt")
    assert process.communicate() == ("", "usage: bash FILE\n")
    assert (process.returncode, (folder / "calls").exists()) == (2, False)


def test_words_of_the_user_are_quoted(tmp_path):
    text = script(tiny(), Path("a $(b);'c'.yaml"), ARRAY, Path("100% mine"), "sb3-course\nrm x")
    assert "# Written by: sb3-course rm x\n" in text
    assert """sb3-course run 'a $(b);'"'"'c'"'"'.yaml'""" in text
    assert '#SBATCH --output="100%% mine/tiny/logs/slurm-%x-%j.out"\n' in text
    assert "mkdir -p '100% mine/tiny/logs'\n" in text
    with pytest.raises(UserError, match="without quotes"):
        script(tiny(), Path("grid.yaml"), ARRAY, Path('my"results'))


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("4:00:00", 14_400),
        ("1-12", 129_600),
        ("1-0:30", 88_200),
        ("0-0:10:05", 605),
    ],
)
def test_time_limits_are_read_as_sbatch_reads_them(time, seconds):
    assert seconds_of(time) == seconds


@pytest.mark.parametrize("time", ["", "4h", "1:2:3:4", "-5", "1-", "UNLIMITED", "4", "0"])
def test_other_time_limits_are_refused(time):
    with pytest.raises(UserError, match=re.escape(f"--time {time!r}")):
        SlurmArray(1, time)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--partition=long", "without dashes"),
        ("partition=a b", "without dashes, spaces"),
        ("x=$(id)\n", "allowed"),
        ("array=3", "the script sets array itself"),
        ("requeue", "the script sets requeue itself"),
    ],
)
def test_options_that_sbatch_would_misread_or_the_script_sets_are_refused(option, words):
    with pytest.raises(UserError, match=words):
        SlurmArray(1, "60", options=[option])


def test_notes_say_what_would_be_lost():
    (line,) = notes(tiny(), SlurmArray(2, "90"))
    assert "no checkpoint_every" in line and "more than --time 90 (1.5 h) never ends" in line
    (line,) = notes(tiny(checkpoint_every=100), SlurmArray(3, "90", 2))
    assert line == "3 tasks of 2 CPUs for 2 runs: 4 CPUs have nothing to do"
    assert notes(tiny(checkpoint_every=100), SlurmArray(1, "90", 2)) == []
