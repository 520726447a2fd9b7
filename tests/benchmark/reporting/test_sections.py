import pytest

from sb3_course.benchmark.reporting.content import Record
from sb3_course.benchmark.reporting.sections import sections
from sb3_course.benchmark.statistics.analysis import analyze
from tests.benchmark import made_up
from tests.benchmark.statistics.test_analysis import incomplete


def titles(grid, results):
    return [
        section.title for section in sections(analyze(grid, results), made_up.record(grid, results))
    ]


def by_title(grid, results):
    return {
        section.title: section
        for section in sections(analyze(grid, results), made_up.record(grid, results))
    }


def test_a_report_has_every_section_in_order():
    grid = made_up.grid(questions={"Is it better?": ["NPG", "BatchActorCritic"]})
    assert titles(grid, made_up.results(grid)) == [
        "Summary",
        "Questions",
        "Returns",
        "Scores",
        "Probability of improvement",
        "Performance profiles",
        "Sample efficiency",
        "Wall-clock efficiency",
        "Failed and missing runs",
        "How to reproduce",
    ]


def test_sections_without_content_are_left_out():
    assert titles(made_up.grid(), []) == ["Summary", "Failed and missing runs", "How to reproduce"]
    alone = made_up.grid(n_algorithms=1)
    assert "Probability of improvement" not in titles(alone, made_up.results(alone))
    unscored = made_up.grid(environments={"Taxi-v3": {"total_timesteps": 1000}})
    found = titles(unscored, made_up.results(unscored))
    assert {"Returns", "Probability of improvement"} <= set(found)
    assert "Performance profiles" not in found


def test_environments_without_reference_returns_are_named():
    environments = {name: {"total_timesteps": 1000} for name in ("CartPole-v1", "Taxi-v3")}
    grid = made_up.grid(environments=environments)
    scores = by_title(grid, made_up.results(grid))["Scores"]
    assert scores.paragraphs[-1] == "No score for lack of reference returns: Taxi-v3."


@pytest.mark.parametrize(
    ("environments", "axis"), [(1, "environment steps"), (2, "the fraction of each environment's")]
)
def test_sample_efficiency_is_against_steps_if_all_budgets_are_equal(environments, axis):
    grid = made_up.grid(n_environments=environments)  # of 1,000 and 2,000 steps
    (picture,) = by_title(grid, made_up.results(grid))["Sample efficiency"].pictures
    assert picture.caption.startswith(f"Interquartile mean of scores against {axis}")
    label = "Environment steps" if environments == 1 else "Fraction of the budget"
    assert picture.figure.axes[0].get_xlabel() == label


def test_captions_state_the_range_of_runs():
    found = by_title(*incomplete())
    assert "mean over runs (2 to 3 runs each)" in found["Returns"].pictures[0].caption
    profiles = found["Performance profiles"].pictures[0].caption
    assert "2 to 3 seeds of each algorithm on each environment" in profiles
    grid = made_up.grid(seeds=1)
    caption = by_title(grid, made_up.results(grid))["Returns"].pictures[0].caption
    assert "(1 run each)" in caption


def test_failed_and_missing_runs_are_listed_with_their_tracebacks():
    section = by_title(*incomplete())["Failed and missing runs"]
    assert len(section.tables[0].rows) == 4
    assert section.details == [
        ("NPG · CartPole-v1 · seed 1", "Traceback\n\nValueError: not finite")
    ]
    assert any(text.startswith("Failed runs are in no statistic") for text in section.paragraphs)


def test_a_missing_run_is_no_failure():
    grid = made_up.grid()
    section = by_title(grid, made_up.results(grid)[:-1])["Failed and missing runs"]
    assert len(section.paragraphs) == 1
    assert section.details == []


def test_a_complete_grid_has_no_missing_runs():
    grid = made_up.grid()
    section = by_title(grid, made_up.results(grid))["Failed and missing runs"]
    assert section.paragraphs == ["None: every run is in every statistic."]
    assert section.tables == []


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        ({}, ["sb3-course run made-up.yaml"]),
        ({"commands": ["sb3-course run x.yaml"]}, ["sb3-course run x.yaml"]),
        (
            {"git_commit": "abc", "commands": ["sb3-course run x.yaml"]},
            ["git checkout abc", "sb3-course run x.yaml"],
        ),
        (
            {"git_commit": "abc-dirty", "commands": ["sb3-course run x.yaml"]},
            ["sb3-course run x.yaml"],
        ),
    ],
)
def test_commands_to_reproduce_start_with_the_code_if_it_is_committed(manifest, code):
    reproduction = sections(
        analyze(made_up.grid(), []), Record(manifest=manifest, configuration="name: x")
    )[-1]
    assert reproduction.code.splitlines() == code
    assert reproduction.details[0][1] == "name: x"
