import pytest

from sb3_course.benchmark.reporting.drawing.families import MAX_LINES, families, groups


@pytest.mark.parametrize(
    ("names", "family", "members", "sweep"),
    [
        (["NPG 0.05", "NPG 0.01"], "NPG", ["NPG 0.01", "NPG 0.05"], True),
        (
            ["A2C n_steps=16", "A2C n_steps=5"],
            "A2C n_steps",
            ["A2C n_steps=5", "A2C n_steps=16"],
            True,
        ),
        (["PPO (lr 3e-4)", "PPO (lr 1e-4)"], "PPO (lr", ["PPO (lr 1e-4)", "PPO (lr 3e-4)"], True),
        (["1000", "30", "100"], "Sweep", ["30", "100", "1000"], True),
        (["PPO 2.10.0", "PPO 2.5.1"], "PPO", ["PPO 2.5.1", "PPO 2.10.0"], True),
        (
            ["2024.05.01", "1.000.000.", "1...", "7"],
            "Sweep",
            ["1...", "1.000.000.", "7", "2024.05.01"],
            True,
        ),
        (["R (mean)", "R (a value)", "R"], "R", ["R (mean)", "R (a value)", "R"], False),
        (["DAgger", "DAgger, constant rate"], "DAgger", ["DAgger", "DAgger, constant rate"], False),
        (["PPO with GAE", "PPO without GAE"], "PPO", ["PPO with GAE", "PPO without GAE"], False),
    ],
)
def test_what_belongs_together(names, family, members, sweep):
    assert families(["SAC", *names]) == [(family, members, sweep)]


def test_numbers_that_are_part_of_a_word_make_no_sweep():
    assert families(["A2C", "TD3", "PPO2", "PPO1", "TQC", "C51"]) == []


def test_few_algorithms_share_one_figure():
    names = list("ABCDE")
    assert groups(names[::-1], names) == [("", names)]


def test_the_first_figure_has_the_peers_and_the_best_of_each_family():
    order = ["NPG", "R (a)", "R (b)", "R (c)", "ISPG", "TRPO", "A2C", "Own", "Q"]
    ranked = ["NPG", "R (b)", "R (a)", "ISPG", "Own", "Q", "TRPO", "A2C", "R (c)"]
    first, family, others = groups(ranked, order)
    assert first == ("Best of each family", ["NPG", "R (b)", "ISPG", "TRPO", "A2C"])
    assert family == ("R", ["R (a)", "R (b)", "R (c)"])
    assert others == ("Other algorithms", ["NPG", "Own", "Q"])  # beside the best of all


def test_no_panel_has_more_than_five_lines_and_none_is_left_out():
    order = [f"{letter} ({i})" for letter in "abcd" for i in "vwxyz"] + list("ABCDEFGHIJK")
    found = groups(order, order)
    assert {name for group in found for name in group.names} == set(order)
    assert max(len(group.names) for group in found) <= MAX_LINES
    assert len({group.title for group in found}) == len(found)


def test_a_sweep_stays_together():
    order = [f"NPG {i}" for i in range(1, 8)] + ["A2C"]
    first, sweep = groups(order, order)
    assert first.names == ["NPG 1", "A2C"]
    assert sweep.names == order[:7]
