import io
import os
from types import SimpleNamespace

import pytest
from rich.console import Console

from sb3_course.benchmark.execution import progress
from sb3_course.benchmark.execution.heartbeat import SILENT, beat, heartbeat_file
from sb3_course.benchmark.execution.progress import Steps, display, summary
from sb3_course.benchmark.storage.result import Measurement, RunResult
from tests.benchmark.helpers import tiny

FIRST, SECOND = SPECS = tiny().runs()  # of 200 steps each
LABEL = "A2C · CartPole-v1 · seed"


def finished(spec):
    measurements = [Measurement(0, 0, 0.0, [9.0], [9]), Measurement(200, 200, 1.0, [10, 21], [1])]
    return RunResult(spec=spec, measurements=measurements, seconds=3.6)


def failed(spec):
    return RunResult(spec=spec, failure="Traceback\n  in train\nOSError: made to fail\n")


@pytest.fixture
def clock(monkeypatch):
    """The display's clock, which stands still unless a test sets it."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def shown(tmp_path):
    """What a function of the display shows."""

    def show(act, terminal=False, specs=SPECS, whole=True):
        stream = io.StringIO()
        console = Console(file=stream, width=200, force_terminal=terminal, color_system=None)
        with display(console, specs, tmp_path, whole) as shows:
            act(shows)
        return stream.getvalue()

    return show


def test_a_run_that_has_ended_is_summed_up_in_a_line():
    assert summary(finished(FIRST)) == f"{LABEL} 0: return 15.5 in 4 s"
    assert summary(failed(SECOND)) == f"{LABEL} 1: FAILED, OSError: made to fail"


def test_steps_of_ended_runs_and_of_runs_in_progress_are_added(tmp_path):
    steps = Steps(SPECS, tmp_path)
    assert (steps.runs, steps.runs_ended, steps.total, steps.taken()) == (2, 0, 400, 0)
    beat(heartbeat_file(tmp_path, FIRST.id), 50, 5.0)
    assert list(steps.running()) == [(FIRST, 50.0, 5.0)]
    assert steps.taken() == 50
    steps.ended(SECOND)
    assert (steps.runs_ended, steps.taken()) == (1, 250)


def test_steps_count_once_and_up_to_the_length_of_the_run(tmp_path):
    steps = Steps(SPECS, tmp_path)
    beat(heartbeat_file(tmp_path, FIRST.id), 208, 5.0)  # a last vector step went beyond it
    assert steps.taken() == 200
    steps.ended(FIRST)
    assert steps.taken() == 200


def test_silent_runs_and_runs_of_another_grid_are_not_in_progress(tmp_path):
    steps = Steps([FIRST], tmp_path)
    beat(heartbeat_file(tmp_path, SECOND.id), 50, 5.0)
    beat(heartbeat_file(tmp_path, FIRST.id), 50, 5.0)
    os.utime(heartbeat_file(tmp_path, FIRST.id), (SILENT, SILENT))  # long ago
    assert list(steps.running()) == []


def test_lines_count_the_runs_that_have_ended(shown):
    def act(display):
        display.lost(FIRST, "printed before\nthe process died with exit code -9\n")
        display.ended(finished(FIRST))
        display.ended_elsewhere(SECOND)

    assert shown(act).splitlines() == [
        f"[0/2] {LABEL} 0: started again, the process died with exit code -9",
        f"[1/2] {LABEL} 0: return 15.5 in 4 s",
        f"[2/2] {LABEL} 1: ended by another process",
    ]


def test_a_line_on_the_whole_grid_comes_once_a_minute(shown, clock, tmp_path):
    def act(display):
        for clock.now in (0.0, 59.0, 60.0, 61.0, 119.0, 120.0):
            display.tick()
            beat(heartbeat_file(tmp_path, FIRST.id), 100, 5.0)

    assert shown(act).splitlines() == [
        "[0/2] 100 of 400 steps, 2 a second, 0:03:00 left",
        "[0/2] 100 of 400 steps, 1 a second, 0:06:00 left",
    ]


def test_lines_of_a_large_grid_are_rarer(shown, clock, tmp_path):
    """Its heartbeats are read by every machine that works on it."""

    def act(shows):
        for now in (59, 61, 119, 121):
            clock.now = now
            shows.tick()

    assert shown(act, specs=tiny(seeds=1000).runs()).count("steps") == 2
    clock.now = 0.0
    assert shown(act, specs=tiny(seeds=2000).runs()).count("steps") == 1
    clock.now = 0.0
    assert shown(act, whole=False) == ""  # one of many commands reads none


def test_no_time_is_estimated_before_the_first_step(shown, clock):
    def act(display):
        clock.now = 60.0
        display.tick()

    assert shown(act) == "[0/2] 0 of 400 steps, 0 a second\n"


def test_a_run_in_progress_has_a_bar_until_it_ends(shown, tmp_path):
    seen = []

    def act(display):
        beat(heartbeat_file(tmp_path, FIRST.id), 50, 5.0)
        display.tick()
        seen.append([(bar.description, bar.completed) for bar in display._progress.tasks])
        display.ended(finished(FIRST))
        display.tick()
        seen.append([(bar.description, bar.completed) for bar in display._progress.tasks])

    text = shown(act, terminal=True)
    assert seen == [[("all runs", 50), (f"{LABEL} 0", 50)], [("all runs", 200)]]
    assert f"{LABEL} 0: return 15.5 in 4 s" in text
    assert "1 of 2 runs" in text


def test_runs_without_a_bar_end_with_a_line_too(shown):
    def act(display):
        display.lost(FIRST, "the process died with exit code -9")
        display.ended_elsewhere(FIRST)
        display.ended(failed(SECOND))
        assert display._steps.runs_ended == 2

    text = shown(act, terminal=True)
    assert f"{LABEL} 0: started again, the process died with exit code -9" in text
    assert f"{LABEL} 0: ended by another process" in text
    assert f"{LABEL} 1: FAILED, OSError: made to fail" in text


def test_brackets_in_a_name_are_no_markup_in_bars(shown, tmp_path):
    (spec,) = tiny(algorithms={"A [/b]": {"class": "A2C"}}, seeds=1).runs()
    beat(heartbeat_file(tmp_path, spec.id), 100, 10.0)
    assert "A [/b]" in shown(lambda display: display.tick(), terminal=True, specs=[spec])
