import json
import multiprocessing
import re
from dataclasses import replace
from io import StringIO
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from sb3_course.benchmark.reporting.drawing.files import two_schemes
from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from sb3_course.common.errors import UserError
from sb3_course.lectures import FIGURES, check_names, natural_path, run
from sb3_course.lectures import compounding_error as compounding
from sb3_course.lectures.run import formula, make_figures, publish

NAME = "compounding_error"
FILES = ["conclusions.json", *(f"{NAME}.{ending}" for ending in ("csv", "svg", "pdf", "png"))]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    small = replace(compounding.QUICK, n_seeds=2, horizons=(10, 20), n_walks=50, gradient_steps=10)
    monkeypatch.setattr(compounding, "QUICK", small)


def make_quietly(names, folder):
    return make_figures(names, True, folder, Console(file=StringIO()))


def test_a_figure_is_reproduced_byte_for_byte(tmp_path):
    for folder in ("one", "two"):
        make_quietly([NAME], tmp_path / folder)
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    content = json.loads((tmp_path / "one" / "conclusions.json").read_text())[NAME]
    assert content["quick"] and content["config"]["n_walks"] == 50
    assert f"{content['numbers']['exponent_bc']:.2f}" in content["sentence"]


@pytest.mark.parametrize(
    ("n_seeds", "end"),
    [(1, "A single seed has no interval."), (8, "Those here are of 8 runs."), (20, "a 95% band.")],
)
def test_a_caption_says_of_how_many_runs_its_intervals_are(n_seeds, end):
    config = replace(compounding.QUICK, n_seeds=n_seeds)
    assert run.caption("Mean, a 95% band.", config).endswith(end)
    assert ("mean of 5 runs" in run.caption("Mean, a 95% band.", config)) == (n_seeds == 8)


def test_quick_figures_do_not_replace_full_ones(tmp_path, capsys):
    store(tmp_path, NAME)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert app.invoke(["figures", NAME, "--quick", "--out", str(tmp_path)]) == terminal.MISUSED
    error = capsys.readouterr().err
    assert f"{tmp_path} has full measurements of {NAME}" in error
    assert "--out" in error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(UserError, match=NAME):
        run.make_figure(NAME, True, tmp_path)


def test_two_commands_lose_no_figure_of_each_other(tmp_path, monkeypatch):
    """The second one comes while the first has read the entries and not yet written them."""
    started, write = [], run.write_whole
    fork, path = multiprocessing.get_context("fork"), tmp_path / "manifest.json"

    def joined_by_another(path, text):
        if not started:
            second = fork.Process(target=run._write_entry, args=[path, "natural_path", {}])
            started.append(second)
            second.start()
            second.join(0.5)  # which waits for this one's lock
        write(path, text)

    monkeypatch.setattr(run, "write_whole", joined_by_another)
    run._write_entry(path, NAME, {})
    started[0].join()
    assert started[0].exitcode == 0
    assert json.loads(path.read_text()) == {NAME: {}, "natural_path": {}}


def test_the_page_is_self_contained_and_names_missing_figures(tmp_path):
    make_quietly([NAME], tmp_path)
    page = (tmp_path / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(s.startswith(("data:", "#")) or (tmp_path / s).exists() for s in sources)
    assert compounding.CLAIM.split(",")[0] in page
    assert f"sb3-course figures {NAME} --quick" in page
    assert "Not yet made: estimator_variance" in page
    assert not re.search("https?:", re.sub(r'"data:[^"]*"', "", page))


def test_a_drawing_that_a_checkout_lacks_is_drawn_again(tmp_path):
    make_quietly([NAME], tmp_path)
    drawing, page = tmp_path / f"{NAME}.svg", (tmp_path / "report.html").read_text()
    before = drawing.read_bytes()
    drawing.unlink()
    publish(tmp_path)
    assert drawing.read_bytes() == before
    assert (tmp_path / "report.html").read_text() == page


def test_ctrl_c_keeps_finished_figures(tmp_path, monkeypatch, capsys):
    def interrupted(config, note):
        raise KeyboardInterrupt

    monkeypatch.setattr(natural_path, "measure", interrupted)
    monkeypatch.setattr("sb3_course.lectures.FIGURES", (NAME, "natural_path"))
    monkeypatch.chdir(tmp_path)
    words = ["figures", NAME, "natural_path", "--quick", "--out", "mine"]
    assert app.invoke(words) == terminal.INTERRUPTED
    assert "finished figures are kept in mine" in capsys.readouterr().err
    assert (tmp_path / "mine" / "report.html").exists()
    assert not (tmp_path / "mine" / "natural_path.csv").exists()


def test_a_number_that_is_not_finite_is_reported_and_nothing_is_written(
    tmp_path, monkeypatch, capsys
):
    measure = compounding.measure

    def broken(config, note):
        return measure(config, note).assign(cost=np.nan)

    monkeypatch.setattr(compounding, "measure", broken)
    assert app.invoke(["figures", NAME, "--quick", "--out", str(tmp_path)]) == terminal.FAILED
    assert f"{NAME}: cost is nan in row 0" in capsys.readouterr().err
    assert not (tmp_path / f"{NAME}.csv").exists()


def test_a_claim_that_does_not_hold_is_marked(tmp_path, monkeypatch, capsys):
    conclude = compounding.conclude
    monkeypatch.setattr(compounding, "conclude", lambda t: replace(conclude(t), holds=False))
    assert app.invoke(["figures", NAME, "--quick", "--out", str(tmp_path)]) == terminal.OK
    assert "does not hold" in capsys.readouterr().err
    assert "does not hold in these numbers" in (tmp_path / "report.html").read_text().replace(
        "\n", " "
    )


def test_unknown_names_and_help(capsys):
    assert app.invoke(["figures", "kl_expantion"]) == terminal.MISUSED
    error = capsys.readouterr().err
    assert "did you mean 'kl_expansion'" in error
    assert all(name in error for name in FIGURES)
    assert app.invoke(["figures", "--help"]) == terminal.OK
    assert re.search(
        r"sb3-course figures natural_path kl_expansion --quick", capsys.readouterr().out
    )
    assert check_names([]) == list(FIGURES)
    assert check_names(["on_policy", "estimator_variance"]) == ["estimator_variance", "on_policy"]


# -- the page -------------------------------------------------------------------------------------


def store(folder, name, **changes):
    """Store a figure as :func:`make_figures` does, with texts that need escaping."""
    content = {
        "name": name,
        "title": f"Title of {name}",
        "claim": "a < b & c",
        "equation": r"$\frac{1}{2}\, \theta$",
        "caption": "Left: <b>not bold</b>.",
        "sentence": 'The "first" is larger.',
        "holds": True,
        "quick": False,
        "config": {"seed": 0, "levels": [0.5, 1.0]},
    }
    path = folder / "conclusions.json"
    conclusions = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(conclusions | {name: content | changes}))
    (folder / f"{name}.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}"/>')
    path = folder / "manifest.json"
    made = json.loads(path.read_text()) if path.exists() else {}
    machine = {"cpu": "A <fast> one", "cpu_count": 2}
    made[name] = {"quick": False, "seconds": 12.6, "git_commit": "a" * 40, "machine": machine}
    path.write_text(json.dumps(made))


def section(page, name):
    return page.partition(f'<section id="{name}">')[2].partition("</section>")[0]


def test_the_page_shows_the_stored_figures_in_the_order_of_the_lectures(tmp_path):
    for name in ("likelihood", "on_policy"):
        store(tmp_path, name)
    page = publish(tmp_path).read_text()
    assert re.findall(r'<section id="(.*?)">', page) == ["on_policy", "likelihood"]
    assert re.findall(r'<li><a href="#(.*?)">', page) == ["on_policy", "likelihood"]
    (missing,) = re.findall(r"Not yet made: (.*?)\.<", page)
    assert missing.split(", ") == [n for n in FIGURES if n not in ("on_policy", "likelihood")]
    row = page.partition('<th scope="row"><span class="value">likelihood')[2].partition("</tr>")[0]
    assert re.findall(r'"value">(.*?)</span>', row) == [
        "full",
        "13",
        "aaaaaaaaaa",
        "A &lt;fast&gt; one, 2 CPUs",
    ]


def test_a_complete_page_names_no_missing_figure(tmp_path):
    for name in FIGURES:
        store(tmp_path, name)
    page = publish(tmp_path).read_text()
    assert page.count("<section") == len(FIGURES)
    assert "Not yet made" not in page


def test_texts_on_the_page_are_escaped(tmp_path):
    store(tmp_path, "on_policy")
    page = publish(tmp_path).read_text()
    assert "a &lt; b &amp; c" in page
    assert "&lt;b&gt;not bold&lt;/b&gt;" in page
    assert "The &#34;first&#34; is larger." in page
    assert "A &lt;fast&gt; one, 2 CPUs" in page
    assert "<b>" not in page


def test_each_figure_embeds_its_own_drawing_and_formula(tmp_path):
    for name in ("on_policy", "likelihood"):
        store(tmp_path, name)
    page = publish(tmp_path).read_text()
    for name in ("on_policy", "likelihood"):
        formula_, drawing = re.findall(r'src="data:image/svg\+xml,(.*?)"', section(page, name))
        assert f'id="{name}"' in unquote(drawing)
        assert unquote(formula_) == " ".join(
            two_schemes(formula(r"$\frac{1}{2}\, \theta$")).split()
        )


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("quick", [True, False])
def test_a_section_states_its_setting_and_whether_the_claim_holds(tmp_path, holds, quick):
    store(tmp_path, "on_policy", holds=holds, quick=quick)
    text = " ".join(section(publish(tmp_path).read_text(), "on_policy").split())
    assert ("The claim does not hold in these numbers." in text) != holds
    assert ('class="shows doubt"' in text) != holds
    assert ("Quick setting, with fewer seeds" in text) == quick
    assert f"<pre>sb3-course figures on_policy{' --quick' * quick}</pre>" in text
    assert "&#34;levels&#34;: [ 0.5, 1.0 ]" in text


def test_a_formula_is_a_reproducible_svg_as_large_as_its_content():
    short, long = formula("$x$"), formula("$x + x + x + x + x$")
    assert formula("$x$") == short
    widths = [float(ElementTree.fromstring(svg).get("width")[:-2]) for svg in (short, long)]
    assert widths[0] < widths[1] < 200
    with pytest.raises(ValueError, match="frak"):
        formula(r"$\fraktion{1}$")


def test_a_place_that_takes_no_figures_is_told_before_anything_is_measured(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(compounding, "measure", lambda *_: pytest.fail("it is measured"))
    with pytest.raises(UserError, match=r"--out: .*file is a file; allowed: a folder"):
        make_quietly([NAME], tmp_path / "file")


@pytest.mark.parametrize("file", ["conclusions.json", "manifest.json"])
@pytest.mark.parametrize("content", ["", '{"kl', "[]"])
def test_a_damaged_file_is_told_before_anything_is_measured(file, content, tmp_path, monkeypatch):
    (tmp_path / file).write_text(content)
    monkeypatch.setattr(compounding, "measure", lambda *_: pytest.fail("it is measured"))
    with pytest.raises(UserError, match=rf"{file} is damaged .*; delete it, and measure"):
        make_quietly([NAME], tmp_path)
