import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sb3_course.benchmark.reporting.page import templates


def test_markdown_is_escaped():
    assert templates.markdown("a|b *c* <d> _e_") == "a\\|b \\*c\\* &lt;d> \\_e\\_"
    assert templates.markdown("0.5 [0.4, 0.6] (3)") == "0.5 [0.4, 0.6] (3)"
    assert templates.markdown("[x](y)") == "[x]\\(y)"


def shown(source: str) -> str:
    """Text that a reader sees, where Markdown has no more than one paragraph of plain text."""
    first, inline, last = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    assert (first.type, inline.type, last.type) == ("paragraph_open", "inline", "paragraph_close")
    assert {token.type for token in inline.children} <= {"text", "text_special", "entity"}, source
    return "".join(token.content for token in inline.children)


MARKUP = [
    "\\",
    "|",
    "`",
    "[",
    "](x)",
    "[x]: y",
    "<b>",
    "&lt;",
    "\n",
    "*",
    "_",
    "~~",
    "!",
    "#",
    "- ",
]
MARKUP += ["1. ", "> ", "---", "===", "+ ", "a", " ", "$", "-1.5", "0.5 [0.4, 0.6]", "\u2028"]


@given(st.lists(st.sampled_from(MARKUP), min_size=1).map("".join).filter(str.strip))
@example("--- ---")
@example("-- -")
def test_whatever_a_name_holds_is_shown_as_it_is(name):
    plain = " ".join(name.split())
    assert shown(templates.markdown(name)) == plain
    row = f"| X |\n| --- |\n| {templates.markdown(name)} |"
    tokens = MarkdownIt("commonmark").enable("table").parse(row)
    assert [t.type for t in tokens].count("td_open") == 1
    (cell,) = [t for t in tokens if t.type == "inline" and t.map == [2, 3]]
    assert "".join(token.content for token in cell.children) == plain


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("https://a.example", "https\\://a.example"),
        ("www.a.example", "www\\.a.example"),
        ("a@b.example", "a\\@b.example"),
        ("-75.2 ± 1.0", "-75.2 ± 1.0"),
    ],
)
def test_what_github_links_by_itself_is_escaped(text, escaped):
    assert templates.markdown(text) == escaped
    assert shown(escaped) == text


def test_no_command_ends_its_block():
    commands = "sb3-course run a.yaml\n````\n# not a heading"
    (block,) = MarkdownIt("commonmark").parse(templates.fenced(commands))
    assert (block.type, block.info, block.content) == ("fence", "sh", commands + "\n")


def test_a_page_of_another_folder_has_the_same_dress(tmp_path):
    (tmp_path / "mine.html.j2").write_text(
        "{% extends 'base.html.j2' %}{% block title %}{{ name }}{% endblock %}"
    )
    page = templates.render("mine.html.j2", tmp_path, name="<A & B>")
    assert "<title>&lt;A &amp; B&gt;</title>" in page
    assert "Content-Security-Policy" in page
    assert "prefers-color-scheme: dark" in page


def test_long_names_may_break_and_stay_escaped():
    assert templates.breakable("Ant-v4") == "Ant-v4"
    broken = "Mountain<wbr>Car<wbr>Continuous<wbr>-v0"
    assert templates.breakable("MountainCarContinuous-v0") == broken
    assert "<script" not in templates.breakable("aVery<script>LongName</script>")
