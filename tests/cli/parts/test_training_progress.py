import io

import pytest
from rich.console import Console

from sb3_course import NPG
from sb3_course.cli.parts import training_progress
from sb3_course.cli.parts.training_progress import TrainingProgress


def shown(terminal, steps=300):
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120)
    model = NPG("MlpPolicy", "CartPole-v1", n_steps=50, seed=0, device="cpu")
    progress = TrainingProgress(steps, console)
    with progress.live():
        model.learn(steps, progress)
    return output.getvalue()


def test_a_terminal_has_a_bar_with_steps_and_return():
    text = shown(terminal=True)
    assert "300 of 300 steps" in text and "100%" in text and ", return " in text


def test_elsewhere_a_line_is_printed_once_a_minute(monkeypatch):
    clock = iter(range(0, 10_000, 1))  # a second for each step
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: next(clock))
    lines = shown(terminal=False).splitlines()
    assert [line.split(" of ")[0] for line in lines] == ["60", "120", "180", "240", "300"]
    assert lines[0].startswith("60 of 300 steps, 1 a second, return ")


def test_elsewhere_a_short_training_prints_nothing(monkeypatch):
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: 0.0)
    assert shown(terminal=False) == ""


@pytest.mark.parametrize("before", [0, 100])
def test_the_rate_is_that_of_this_process(before, monkeypatch):
    output = io.StringIO()
    monkeypatch.setattr(training_progress, "SECONDS_BETWEEN_LINES", 0.0)
    ticks = iter(range(0, 10_000, 2))
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: next(ticks))
    model = NPG("MlpPolicy", "CartPole-v1", n_steps=50, device="cpu")
    model.num_timesteps = before
    progress = TrainingProgress(before + 50, Console(file=output, width=120))
    with progress.live():
        model.learn(50, progress, reset_num_timesteps=False)
    assert f"{before + 50} of {before + 50} steps, 0 a second" in output.getvalue()
