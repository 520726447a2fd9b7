import json
import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from sb3_course.cli import app, terminal
from sb3_course.lectures import FIGURES, check_names, natural_path
from sb3_course.lectures import compounding_error as compounding
from sb3_course.lectures.page import publish
from sb3_course.lectures.run import make_figures

NAME = "compounding_error"
FILES = [f"{NAME}.{ending}" for ending in ("csv", "json", "svg", "pdf", "png")]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    small = replace(compounding.QUICK, n_seeds=2, horizons=(10, 20), n_walks=50, gradient_steps=10)
    monkeypatch.setattr(compounding, "QUICK", small)


def quietly(names, folder):
    return make_figures(names, True, folder, Console(file=StringIO()))


def test_a_figure_is_remade_byte_for_byte(tmp_path):
    for folder in ("one", "two"):
        quietly([NAME], tmp_path / folder)
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    content = json.loads((tmp_path / "one" / f"{NAME}.json").read_text())
    assert content["quick"] and content["config"]["n_walks"] == 50
    assert f"{content['numbers']['exponent_bc']:.2f}" in content["sentence"]


def test_the_page_stands_alone_and_says_what_is_missing(tmp_path):
    quietly([NAME], tmp_path)
    page = (tmp_path / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(s.startswith(("data:", "#")) or (tmp_path / s).exists() for s in sources)
    assert compounding.CLAIM.split(",")[0] in page
    assert f"sb3-course figures {NAME} --quick" in page
    assert "Not made yet: estimator_variance" in page
    assert "http" not in re.sub(r'"data:[^"]*"', "", page)


def test_a_drawing_that_a_checkout_lacks_is_drawn_again(tmp_path):
    quietly([NAME], tmp_path)
    drawing, page = tmp_path / f"{NAME}.svg", (tmp_path / "report.html").read_text()
    before = drawing.read_bytes()
    drawing.unlink()
    publish(tmp_path)
    assert drawing.read_bytes() == before
    assert (tmp_path / "report.html").read_text() == page


def test_ctrl_c_keeps_what_is_finished(tmp_path, monkeypatch, capsys):
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


def test_a_number_that_is_none_stops_with_its_place(tmp_path, monkeypatch, capsys):
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
