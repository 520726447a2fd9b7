import pandas as pd
import pytest

from sb3_course.benchmark.reporting.content import Record, Section
from sb3_course.benchmark.reporting.sections.contents import sections
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
        "Learning curves",
        "Scores",
        "Questions",
        "Questions in detail",
        "Returns",
        "Probability of improvement",
        "Performance profiles",
        "Sample efficiency",
        "Stability",
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
    lacking = scores.paragraphs[-1]
    assert lacking.startswith("Without reference returns, and so in no score: Taxi-v3. To give")
    assert "references: {Taxi-v3: {random: 0, expert: 100}}" in lacking
    assert "sb3-course references GRID" in lacking


@pytest.mark.parametrize(
    ("environments", "axis"), [(1, "environment steps"), (2, "the fraction of each environment's")]
)
def test_sample_efficiency_is_against_steps_if_all_budgets_are_equal(environments, axis):
    grid = made_up.grid(n_environments=environments)  # of 1,000 and 2,000 steps
    (picture,) = by_title(grid, made_up.results(grid))["Sample efficiency"].pictures
    assert picture.caption.startswith(f"Interquartile mean of scores against {axis}")
    label = "Environment steps" if environments == 1 else "Fraction of the budget"
    assert picture.panels[0].x == label


def test_captions_state_the_range_of_runs():
    found = by_title(*incomplete())
    assert (
        "Mean return over runs (2 to 3 runs each)" in found["Learning curves"].pictures[0].caption
    )
    profiles = found["Performance profiles"].pictures[0].caption
    assert "2 to 3 seeds of each algorithm on each environment" in profiles
    grid = made_up.grid(seeds=1)
    caption = by_title(grid, made_up.results(grid))["Learning curves"].pictures[0].caption
    assert "(1 run each)" in caption


def test_a_caption_counts_the_runs_that_its_figure_shows():
    """Six algorithms are drawn in groups; of one of them a run is missing."""
    grid = made_up.grid(n_algorithms=6)
    runs = [r for r in made_up.results(grid) if (r.spec.algorithm, r.spec.seed) != ("ISPG", 0)]
    found = by_title(grid, runs)
    for title, few, all_of in (
        ("Learning curves", "2 to 3 runs each", "(3 runs each)"),
        ("Wall-clock efficiency", "2 to 3 runs each", "(3 runs each)"),
        ("Performance profiles", "2 to 3 seeds", "; 3 seeds"),
        ("Sample efficiency", "2 to 3 seeds", "; 3 seeds"),
    ):
        pictures = found[title].pictures
        assert len(pictures) > 1
        for picture in pictures:
            assert (few if "ISPG" in picture.alt else all_of) in picture.caption


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


def test_without_any_scores_everything_else_is_shown_and_no_run_is_blamed():
    environments = {name: {"total_timesteps": 1000} for name in ("Mine-v0", "Other-v0")}
    asked = {"Is it better?": ["NPG", "BatchActorCritic"]}
    grid = made_up.grid(environments=environments, questions=asked)
    found = by_title(grid, made_up.results(grid))
    assert list(found) == [
        "Summary",
        "Learning curves",
        "Returns",
        "Questions",
        "Questions in detail",
        "Probability of improvement",
        "Stability",
        "Wall-clock efficiency",
        "Failed and missing runs",
        "How to reproduce",
    ]
    captions = [table.caption for table in found["Returns"].tables]
    assert captions[0].startswith("Interquartile mean of final returns")
    assert captions[1].startswith("Mean rank over environments")
    assert any("no score: Mine-v0, Other-v0" in text for text in found["Returns"].paragraphs)
    assert found["Failed and missing runs"].paragraphs == ["None: every run is in every statistic."]


def test_half_a_page_is_never_alone():
    for names in (["CartPole-v1"], ["Mine-v0"], ["Mine-v0", "Other-v0"], ["Mine-v0", "Ant-v4"]):
        for asked in ({}, {"Is it better?": ["NPG", "BatchActorCritic"]}):
            environments = {name: {"total_timesteps": 1000} for name in names}
            grid = made_up.grid(seeds=2, environments=environments, questions=asked)
            halves = [s.half for s in by_title(grid, made_up.results(grid)).values()]
            i = halves.index(True) if True in halves else 0
            assert sum(halves) == 2 * halves[i] == halves[i] + halves[i + 1], (names, asked)


def test_metrics_have_a_figure_and_a_table():
    grid = made_up.grid()
    analysis = analyze(grid, made_up.results(grid))
    rows = [
        (name, environment, "is_success", step, step / 1000, step / 1100, step / 900, 3)
        for name in grid.algorithms
        for environment in grid.environments
        for step in (0, 1000)
    ]
    columns = ["algorithm", "environment", "metric", "step", "point", "low", "high", "n_runs"]
    object.__setattr__(analysis, "metrics", pd.DataFrame(rows, columns=columns))
    (section,) = (s for s in sections(analysis, Record()) if s.title == "Other measures")
    (picture,) = section.pictures
    assert (picture.name, picture.title) == ("metric_is_success", "is_success")
    assert [panel.y for panel in picture.panels] == ["is_success"] * 2
    more = [(a, e, name, *rest) for a, e, _, *rest in rows for name in ("x-pos", "x_pos", "X_POS")]
    object.__setattr__(analysis, "metrics", pd.DataFrame(more, columns=columns))
    (alike,) = (s for s in sections(analysis, Record()) if s.title == "Other measures")
    assert len({picture.name.lower() for picture in alike.pictures}) == 3
    (table,) = section.tables
    assert table.caption.startswith("Mean of is_success at the end")
    assert {row[1].text for row in table.cells} == {"1.00"}


def test_families_have_learning_curves_of_their_own():
    names = [f"REINFORCE ({baseline})" for baseline in ("mean", "value", "optimal")]
    algorithms = {name: {"class": "A2C"} for name in (*names, "A2C", "TRPO", "PPO")}
    grid = made_up.grid(algorithms=algorithms, seeds=2)
    pictures = by_title(grid, made_up.results(grid))["Learning curves"].pictures
    assert [picture.name for picture in pictures] == [
        "learning_curves",
        "learning_curves_reinforce",
    ]
    first, family = pictures
    assert {"A2C", "TRPO", "PPO"} < set(first.legend) and len(first.legend) == 4
    assert list(family.legend) == names
    assert first.references and first.more[0] == "Single runs"


def test_a_report_of_logs_ends_with_the_logs_and_claims_nothing_about_a_grid():
    grid = made_up.grid()
    logs = Section("Logs", ["From elsewhere."])
    first, *middle, last = sections(analyze(grid, made_up.results(grid)), Record(logs=logs))
    assert first.paragraphs[0].endswith("18 runs read.")
    assert last is logs
    (returns,) = (section for section in middle if section.title == "Returns")
    assert "the last section says which" in returns.paragraphs[0]
    assert "deterministic actions" not in returns.paragraphs[0]


def test_runs_without_times_have_no_wall_clock():
    grid = made_up.grid()
    analysis = analyze(grid, made_up.results(grid))
    none = analysis.curves.assign(seconds=float("nan"))
    untimed = made_up.changed(analysis, curves=none)
    assert "Wall-clock efficiency" not in [s.title for s in sections(untimed, Record())]
    some = analysis.curves["seconds"].where(analysis.curves["algorithm"] == "NPG")
    mixed = made_up.changed(analysis, curves=analysis.curves.assign(seconds=some))
    (time,) = (s for s in sections(mixed, Record()) if s.title == "Wall-clock efficiency")
    assert list(time.pictures[0].legend) == ["NPG"]
