from dataclasses import replace

from sb3_course.benchmark.reporting.answers import MAX_ALGORITHMS, questions, summary
from sb3_course.benchmark.reporting.content import Record
from sb3_course.benchmark.statistics.analysis import analyze
from tests.benchmark import made_up
from tests.benchmark.statistics.test_analysis import incomplete


def test_the_summary_states_the_main_results():
    grid = made_up.grid(seeds=3)
    section = summary(
        analyze(grid, made_up.results(grid)), made_up.record(grid, made_up.results(grid))
    )
    assert section.paragraphs == [
        "Algorithms: 3. Environments: 2. Seeds: 3. 18 of 18 runs finished."
    ]
    text = "\n".join(section.points)
    assert "Highest interquartile mean of scores: " in text
    assert "of 3 pairs, by a permutation test at 5% with Holm's correction." in text
    assert "Highest mean return on CartPole-v1: " in text
    assert "An algorithm has only 3 seeds on some environment" in text


def test_a_tie_names_every_winner():
    """Of three algorithms that solve CartPole in every run, none is told as the best."""
    grid = made_up.grid(n_environments=2, seeds=3)
    solved = [
        result.model_copy(
            update={"measurements": [replace(m, returns=[500.0] * 3) for m in result.measurements]}
        )
        if result.spec.environment == "CartPole-v1"
        else result
        for result in made_up.results(grid)
    ]
    points = summary(analyze(grid, solved), made_up.record(grid, solved)).points
    first, second, third = grid.algorithms
    tie = f"{first}, {second} and {third} (a tie), 500.0 each."
    assert f"Highest mean return on CartPole-v1: {tie}" in points
    (cheetah,) = (p for p in points if "HalfCheetah" in p)
    assert "tie" not in cheetah


def test_a_tie_of_all_scores_names_every_winner():
    grid = made_up.grid(n_algorithms=2, n_environments=1, seeds=3)
    same = [
        result.model_copy(
            update={"measurements": [replace(m, returns=[500.0] * 3) for m in result.measurements]}
        )
        for result in made_up.results(grid)
    ]
    points = summary(analyze(grid, same), made_up.record(grid, same)).points
    assert any(
        point.startswith("Highest interquartile mean of scores: NPG and BatchActorCritic (a tie)")
        for point in points
    )
    assert not any("is likely to score higher" in point for point in points)


def test_enough_seeds_need_no_warning():
    grid = made_up.grid(seeds=5)
    points = summary(
        analyze(grid, made_up.results(grid)), made_up.record(grid, made_up.results(grid))
    ).points
    assert not any("seeds" in point for point in points)


def test_the_summary_counts_failed_and_missing_runs():
    (counts,) = summary(analyze(*incomplete()), made_up.record(*incomplete())).paragraphs
    assert counts.endswith("16 of 18 runs finished, 1 failed, 1 not run.")


def test_with_many_algorithms_only_the_best_ones_pairs_are_listed():
    def improvements(n_algorithms):
        grid = made_up.grid(n_algorithms, seeds=2)
        analysis = analyze(grid, made_up.results(grid))
        clear = analysis.probability_of_improvement.assign(point=0.9, apart=True)
        object.__setattr__(analysis, "probability_of_improvement", clear)  # the first is better
        return [
            p for p in summary(analysis, Record()).points if "is likely to score higher than" in p
        ]

    # Every algorithm but the last is better than those after it.
    assert len(improvements(MAX_ALGORITHMS)) == MAX_ALGORITHMS - 1
    assert len(improvements(MAX_ALGORITHMS + 1)) <= 1


def test_questions_are_answered_in_sentences_and_in_tables():
    grid = made_up.grid(questions={"Is it better?": ["NPG", "BatchActorCritic"]})
    section = questions(analyze(grid, made_up.results(grid)))
    overall, by_environment = section.tables
    ((question, x, y, *estimates, seeds),) = overall.rows
    assert (question, x, y, seeds) == ("Is it better?", "NPG", "BatchActorCritic", "3")
    (answer,) = section.points
    assert answer.startswith(
        "Is it better? A run of NPG scores higher than a run of BatchActorCritic with probability "
    )
    for number in estimates:
        assert number in answer
    assert answer.endswith("(3 seeds).")
    assert by_environment.header == ["X against Y", "CartPole-v1", "HalfCheetah-v4"]
    assert len(by_environment.rows) == 1


def test_a_question_without_an_answer_is_listed():
    grid = made_up.grid(questions={"Is it better?": ["NPG", "BatchActorCritic"]})
    results = [r for r in made_up.results(grid) if r.spec.algorithm != "NPG"]
    section = questions(analyze(grid, results))
    assert section.points == ["Is it better? Not answered: no run of NPG has finished."]
    assert section.tables == []
