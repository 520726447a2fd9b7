from sb3_course.benchmark.reporting.sections.selection import named_groups
from sb3_course.benchmark.statistics.analysis import analyze
from tests.benchmark import made_up

ORDER = ["NPG", "NPG (line search)", "A", "B", "C", "D"]


def test_the_first_figure_has_of_a_family_what_the_summary_calls_the_best():
    """Mean ranks, of few environments, have many ties, and may favor another one."""
    grid = made_up.grid(algorithms={name: {"class": "A2C"} for name in ORDER})
    analysis = analyze(grid, made_up.results(grid))
    for best, other in (ORDER[:2], ORDER[1::-1]):
        score = {best: 3.0, other: 2.0}
        rank = {other: 1.0, best: 2.0}
        scores, ranks = (
            table.assign(point=[of.get(name, end) for name in table["algorithm"]])
            for table, of, end in ((analysis.aggregates, score, 0.5), (analysis.ranks, rank, 4.0))
        )
        (_, first), *_ = named_groups(
            made_up.changed(analysis, aggregates=scores, ranks=ranks), "curves"
        )
        assert best in first.names and other not in first.names
