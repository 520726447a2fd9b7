"""What the pages hold: every log key, every switch, every claim, numbers that are stored."""

import ast
import csv
import inspect
import re
from pathlib import Path

import facts
import formulas
import pytest
import typer.main

import sb3_course
from sb3_course.cli.app import app
from sb3_course.exercises import __main__ as exercises
from sb3_course.exercises.themes import EXERCISES
from sb3_course.lectures import FIGURES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CLASSES = {
    "reinforce": "REINFORCE",
    "ispg": "ISPG",
    "npg": "NPG",
    "batch_actor_critic": "BatchActorCritic",
    "online_actor_critic": "OnlineActorCritic",
    "bc": "BC",
    "dagger": "DAgger",
}
PARTS = [
    "Derivation",
    "Pseudocode",
    "Our code",
    "Example",
    "Switches",
    "When it fails, and how the log shows it",
    "API",
    "Papers",
]
OF_A_CLAIM = ["What was measured", "Change this number", "Exercise", "Read on"]
OF_SB3 = {
    "self",
    "policy",
    "env",
    "stats_window_size",
    "tensorboard_log",
    "policy_kwargs",
    "verbose",
    "seed",
    "device",
    "_init_setup_model",
}
KEY = re.compile(r'"((?:rollout|train|eval|dagger|time)/[\w/{}]+)"')
RECORDED = {"train/{name}": "train/critic_learning_rate", "train/ess/{i}": "train/ess/0"}


def text(page):
    return (DOCS / page).read_text()


def recorded_keys():
    """Every key of the logger that the package's source names."""
    for path in (ROOT / "sb3_course").rglob("*.py"):
        if not {"benchmark", "lectures", "cli"} & set(path.parts):
            yield from KEY.findall(path.read_text())


def test_every_log_key_is_explained():
    explained = set(re.findall(r"`(\w+/[\w/]+)`", text("algorithms/log_keys.md")))
    keys = {RECORDED.get(key, key) for key in recorded_keys()}
    assert len(keys) > 35
    assert keys - explained == set()


def test_every_key_that_a_page_names_is_explained():
    explained = text("algorithms/log_keys.md")
    for page in CLASSES:
        keys = re.findall(
            r"`((?:rollout|train|eval|dagger|time)/[\w/]+)`", text(f"algorithms/{page}.md")
        )
        assert keys, page
        for key in keys:
            assert f"`{key}`" in explained, f"{page}: {key}"


@pytest.mark.parametrize("page", CLASSES)
def test_pages_of_algorithms_have_one_form(page):
    found = re.findall(r"^## (.+)$", text(f"algorithms/{page}.md"), re.MULTILINE)
    assert found == PARTS
    assert f":pyobject: {CLASSES[page]}.train" in text(f"algorithms/{page}.md")
    assert f"```{{slide}} {CLASSES[page]}\n" in text(f"algorithms/{page}.md")


@pytest.mark.parametrize("page", CLASSES)
def test_every_switch_is_described(page):
    cls = getattr(sb3_course, CLASSES[page])
    switches = text(f"algorithms/{page}.md").partition("## Switches")[2].partition("\n## ")[0]
    terms = "\n".join(re.findall(r"\n\n([^\n]+)\n: ", switches))  # a term is one line
    parameters = set(inspect.signature(cls.__init__).parameters) - OF_SB3
    missing = [name for name in parameters if not re.search(rf"`{name}\b", terms)]
    assert missing == []


IN_WORDS = {"the whole batch": None, "no limit": None, "the same": None}
TRANSITIONS = "as many as make {:,} transitions"


@pytest.mark.parametrize("page", CLASSES)
def test_defaults_are_those_of_the_constructor(page):
    """A term of the switches is `name` (default), or `name=value` of one of several values."""
    cls = getattr(sb3_course, CLASSES[page])
    in_words = IN_WORDS | {TRANSITIONS.format(getattr(cls, "default_transitions", 0)): None}
    parameters = inspect.signature(cls.__init__).parameters
    switches = text(f"algorithms/{page}.md").partition("## Switches")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+)` \(([^()]+)\)(?=[\w`,. ()]*\n: )", switches)
    chosen = re.findall(r"^`(\w+)=([^`]+)` \(default\)", switches, re.MULTILINE)
    assert named
    for name, written in named + chosen:
        default = in_words[written] if written in in_words else ast.literal_eval(written.strip("`"))
        assert parameters[name].default == default, name


def test_every_claim_has_a_page_and_a_drawing():
    assert {path.stem for path in (DOCS / "claims").glob("*.md")} == {*FIGURES, "index"}
    assert set(facts.drawings()) == set(FIGURES)
    for name in FIGURES:
        assert facts.drawings()[name].rstrip().endswith("</svg>")
        assert {f"{{claim}} {name}", f"{{numbers}} {name}"} <= set(
            re.findall(r"```(\{.+)", text(f"claims/{name}.md"))
        )


@pytest.mark.parametrize("name", FIGURES)
def test_pages_of_claims_have_one_form(name):
    page = text(f"claims/{name}.md")
    found = [part for part in re.findall(r"^## (.+)$", page, re.MULTILINE) if part in OF_A_CLAIM]
    assert found == OF_A_CLAIM
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert f"from sb3_course.lectures.{name} import" in code
    lines = [line for line in code.splitlines() if line and not line.startswith("from")]
    assert len(lines) == 3  # measure, conclude, draw
    assert facts.conclusions()[name]["equation"].count("$") >= 2


NUMBERS = [
    (path.stem, " ".join(role.split()))
    for path in sorted(DOCS.rglob("*.md"))
    if not {"_build", "_generated"} & set(path.parts)
    for role in re.findall(r"\{stored\}`([^`]+)`", path.read_text())
]


@pytest.mark.parametrize(("page", "role"), NUMBERS, ids=lambda value: value)
def test_a_stored_number_is_there(page, role):
    assert re.fullmatch(r"-?[\d,.]+%?", facts.number(role))


def test_a_number_is_formatted_as_asked():
    stored = facts.conclusions()["on_policy"]["numbers"]["ess at the longest horizon, step"]
    assert facts.number("on_policy / ess at the longest horizon, step / .1%") == f"{stored:.1%}"


@pytest.mark.parametrize("role", ["on_policy / gone / .1f", "gone / a / .1f"])
def test_a_number_that_is_not_stored_is_refused(role):
    with pytest.raises(KeyError, match="gone"):
        facts.number(role)


def test_an_answer_is_that_of_the_tables():
    question = "Is the natural gradient better than A2C?"
    lines = facts.answer(question).splitlines()
    rows = [row for grid in facts.GRIDS for row in facts.answers(grid) if row[0] == question]
    assert len(lines) == len(rows) == 2
    for line, row in zip(lines, rows, strict=True):
        assert row[3] in line and f"{row[-1]} seeds" in line
    with pytest.raises(KeyError, match="no grid asks"):
        facts.answer("Is it?")


def test_rounds_are_means_over_seeds():
    lines = facts.rounds("homework").splitlines()
    with (ROOT / "results/imitation/returns.csv").open() as file:
        rows = list(csv.DictReader(file))
    mine = [
        float(row["eval_mean_reward"])
        for row in rows
        if (row["part"], row["environment"], row["method"], row["round"])
        == ("homework", "Walker2d-v4", "DAgger", "1")
    ]
    (line,) = [line for line in lines if line.startswith("| Walker2d-v4 | DAgger |")]
    assert line.split(" | ")[5] == f"{sum(mine) / len(mine):,.0f}"
    with pytest.raises(KeyError, match="homework"):
        facts.rounds("gone")


def test_a_claim_names_its_machine_where_the_caption_says_so():
    assert "named below the numbers" in facts.claim("parallel_actors")
    assert re.search(r"Measured in \d+ s on \d+ cores \(.+\)\.$", facts.numbers("parallel_actors"))


def test_a_slide_is_that_of_the_class():
    assert "conjugate_gradient" in facts.slide("NPG")
    assert facts.slide("BC") != facts.slide("BatchActorCritic")
    with pytest.raises(KeyError, match="Gone"):
        facts.slide("Gone")


def commands_in(group, before=""):
    """The names of a group's commands, those of groups in it included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_in(command, f"{before}{name} ")
        else:
            yield before + name


def test_every_command_is_in_the_reference():
    listed = re.findall(r"```\{command\} ([\w ]+)", text("reference/commands.md"))
    assert sorted(listed) == sorted(commands_in(typer.main.get_command(app)))
    assert "`--save-every`" in facts.command("train")
    given = "see `run GRID --rerun`, --resume's way and --track, not a--b"
    expected = "see `run GRID --rerun`, `--resume`'s way and `--track`, not a--b"
    assert facts.with_options(given) == expected
    for name in listed:
        plain = re.sub(r"```.*?```|`[^`]*`", "", facts.command(name), flags=re.S)
        assert not re.search(r"(?<![\w-])--[a-z]", plain)
    with pytest.raises(KeyError, match="gone"):
        facts.command("gone")


def test_coverage_is_the_stored_one():
    with (ROOT / "results/statistics/coverage.csv").open() as file:
        rows = {(r["law"], r["statistic"], r["runs"]): r["coverage"] for r in csv.DictReader(file)}
    (line,) = [line for line in facts.coverage("mean").splitlines() if line.startswith("| 5 |")]
    assert f"{float(rows['normal', 'mean', '5']):.0%}" in line
    with pytest.raises(KeyError, match="IQM"):
        facts.coverage("gone")


def test_what_is_said_to_score_highest_does():
    assert "the highest interquartile mean of scores" in text("algorithms/index.md")
    report = (ROOT / "results/mujoco/README.md").read_text()
    assert "Highest interquartile mean of scores: NPG" in report


def test_what_homework_2_reached_is_that_of_the_stored_runs():
    """The returns of the stored table, computed without the package."""
    shown = facts.expected("cartpole")
    with (ROOT / "results/homework_cartpole/returns.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["environment"].endswith("-b 1000")]
    seeds = {row["seed"] for row in rows}
    assert f"Lines: mean over {len(seeds)} seeds" in shown
    by_step = {}
    for row in rows:
        key = row["algorithm"], int(row["step"])
        by_step.setdefault(key, []).append(float(row["return_mean"]))
    best = max(sum(values) / len(values) for values in by_step.values())
    (line,) = [line for line in shown.splitlines() if "small batches" in line]
    assert f"| {best:,.0f} at " in line and line.endswith(" yes |" if best >= 200 else " no |")
    with pytest.raises(KeyError, match="gone"):
        facts.expected("gone")


def test_an_experiment_that_was_not_run_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(facts, "ROOT", tmp_path)
    assert facts.expected("humanoid") == "**Not run here.**"


def test_the_analysis_is_the_stored_one():
    assert "| total return | 0.5 | 4 |" in facts.analysis("infinite")
    with pytest.raises(KeyError, match="infinite"):
        facts.analysis("gone")


def test_every_exercise_is_on_its_page():
    page = text("exercises/index.md")
    themes = re.findall(r"```\{exercises\} (.+)", page)
    assert {exercise.theme for exercise in EXERCISES.values()} == set(themes)
    listed = "".join(map(facts.exercises, themes))
    assert [name for name in EXERCISES if f"`{name}`" not in listed] == []
    with pytest.raises(KeyError, match="gone"):
        facts.exercises("gone")


def test_the_example_of_the_exercises_is_what_is_printed(tmp_path, capsys):
    page = text("exercises/index.md")
    mine, printed = (
        re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("python", "text")
    )
    path = tmp_path / "mine.py"
    path.write_text(mine)
    assert exercises.invoke(["check", str(path), "reward_to_go"]) == 1
    assert capsys.readouterr().out == printed


def test_command_lines_of_the_exercises_are_some():
    lines = re.findall(
        r"^python -m sb3_course\.exercises (.+?)(?:\s+#|$)", text("exercises/index.md"), re.M
    )
    assert len(lines) == 4
    for line in lines:
        exercises.parser().parse_args(line.split())
    table = text("reference/commands.md").partition("sb3_course.exercises")[2].partition("\n## ")[0]
    (commands,) = [a for a in exercises.parser()._actions if a.dest == "command"]
    assert re.findall(r"^\| `(\w+) ", table, re.M) == ["start", "check", "list"]
    assert {"start", "check", "list"} == set(commands.choices)


PLAIN = re.compile(r"[∇ΣΠ√\u222a‖ᵀ⁻²\u0302Â]|\b[A-Za-zθφπ]_[a-zθφ{]")
TYPESET = [
    *(f"design/{page}.md" for page in ("slides", "baselines", "fisher-metric", "whole-episodes")),
    "design/time-limits.md",
    "algorithms/time_limits.md",
    "algorithms/details.md",
    "algorithms/log_keys.md",
    *(str(path.relative_to(DOCS)) for path in sorted((DOCS / "claims").glob("*.md"))),
    *(f"algorithms/{page}.md" for page in CLASSES),
]


def left_plain(page):
    """Symbols of formulas that are neither TeX nor code, but for the switches."""
    for part in (
        r"^## Switches$.*?^## ",
        r"^ *```.*?^ *```$",
        r"\$\$.*?\$\$",
        r"`.*?`",
        r"\$.*?\$",
    ):
        page = re.sub(part, "", page, flags=re.DOTALL | re.MULTILINE)
    return PLAIN.findall(page)


@pytest.mark.parametrize("page", TYPESET)
def test_formulas_are_typeset(page):
    assert left_plain(text(page)) == []


def test_a_formula_in_plain_text_is_seen():
    for plain in ("by Σ r", "the Q̂ of it", "π_θ(a|s)", "F⁻¹g", "xᵀFx", "s_t"):
        assert left_plain(f"A $\\sum_t r_t$ and `n_steps`: {plain}"), plain


def test_formulas_of_the_exercises_are_typeset():
    first = [facts.statements()[name].split("\n\n")[0] for name in EXERCISES]
    assert [plain for plain in formulas.TEX if plain not in "\n".join(first)] == []
    assert [name for name in EXERCISES if left_plain(facts.asked(name))] == []
    assert r"$\beta$ such that the KL is $\varepsilon$" in facts.asked("natural_update")
