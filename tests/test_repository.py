"""What lies beside the code: pages, metadata, workflows, and what must not be in git."""

import ast
import re
import subprocess
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("[!_]*/*.md"))]
PACKAGES = sorted((ROOT / "sb3_course").rglob("__init__.py"))
SCRIPTS = [p for folder in ("scripts", "benchmarks", "docs") for p in (ROOT / folder).rglob("*.py")]
YAML_FILES = [
    ROOT / "CITATION.cff",
    ROOT / ".pre-commit-config.yaml",
    *sorted((ROOT / ".github").rglob("*.yml")),
]
TOP = {"sb3_course", "tests", "benchmarks", "scripts", "results", "docs", ".github", ".ci"}
ENDINGS = (".py", ".md", ".yaml", ".yml", ".toml", ".cff")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#]+)[^)]*\)")
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PLACEHOLDER = re.compile(r"(^|[/_])[A-Z]+(?=[/_.]|$)")
DEFINED = r"(?m)^\s*(?:async )?(?:def|class) {0}\b|^\s*{0}\s*(?::[^=\n]+)?="
ABSOLUTE = re.compile(rb"(?<![\w./~>-])/(?:home|root|Users|work|tmp|opt)/\w")
LARGEST = 5_000_000


def tracked() -> list[Path]:
    """List the files that are in git."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True)
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def broken_links(text: str, folder: Path) -> list[str]:
    """List the relative links that lead nowhere."""
    return [link for link in LINK.findall(text) if not (folder / link).exists()]


def missing_paths(text: str) -> list[str]:
    """List what is written as `path` or `path:name` and does not exist.

    A word counts as a path if it begins with a folder of the repository, or ends as a file at its
    top does. ``results/GRID`` and the like are placeholders.
    """
    return [code for code in CODE.findall(text) if is_path(code) and not exists(code)]


def is_path(code: str) -> bool:
    """Whether a word in a page means a file of the repository."""
    path = code.partition(":")[0]
    if " " in code or PLACEHOLDER.search(path.replace("README.md", "")):
        return False
    return path.split("/")[0] in TOP if "/" in path else path.endswith(ENDINGS)


def exists(code: str) -> bool:
    """Whether a file, and what is named in it, exists."""
    path, _, name = code.partition(":")
    return (ROOT / path).exists() and (not name or defines(ROOT / path, name))


def defines(path: Path, name: str) -> bool:
    """Whether a file defines a function, class or constant."""
    return re.search(DEFINED.format(re.escape(name)), path.read_text()) is not None


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_yaml_parses(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_every_job_of_a_workflow_has_steps_and_a_limit():
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {path.stem for path in workflows} == {"check", "test", "release"}
    for path in workflows:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            assert {"runs-on", "steps", "timeout-minutes"} <= job.keys(), path.name
            for step in job["steps"]:
                assert ("run" in step) != ("uses" in step), path.name
                if step.get("uses", "").startswith("./"):
                    assert (ROOT / step["uses"] / "action.yml").exists()


def test_only_publishing_may_ask_for_an_identity():
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    asking = [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})]
    assert asking == ["publish"]


def test_hooks_call_tools_that_make_check_calls():
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert "make check" in entries
    for entry in set(entries) - {"make check"}:
        command = entry.removeprefix(".venv/bin/").removesuffix(" --force-exclude")
        assert f"\t$(BIN)/{command} .\n" in recipe


def test_citation_is_that_of_the_package_and_of_the_readme():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    preferred = citation["preferred-citation"]
    pyproject = (ROOT / "pyproject.toml").read_text()
    project = dict(re.findall(r'(?m)^(version|license) = "(.+)"$', pyproject))
    bibtex = re.search(r"```bibtex\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    cited = dict(re.findall(r"(\w+) = \{+(.*?)\}+,?\n", bibtex.replace("\\_", "_")))
    assert citation["version"] == preferred["version"] == project["version"] == cited["version"]
    assert citation["title"] == preferred["title"] == cited["title"]
    assert citation["license"] == project["license"]
    assert str(preferred["year"]) == cited["year"]
    assert citation["authors"] == preferred["authors"] == [{"name": cited["author"]}]
    assert f'authors = [{{ name = "{cited["author"]}" }}]' in pyproject


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_point_to_what_exists(path):
    text = path.read_text()
    assert broken_links(text, path.parent) == []
    assert missing_paths(text) == []


def test_every_design_page_is_in_the_index():
    index = (ROOT / "docs" / "design" / "README.md").read_text()
    named = set(LINK.findall(index)) | {"README.md"}
    assert named == {path.name for path in (ROOT / "docs" / "design").glob("*.md")}


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_a_package_that_lists_its_modules_lists_all_of_them(path):
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    listed = re.findall(r"^``(\w+)``", docstring, re.MULTILINE)
    if re.search(r"^module ", docstring, re.MULTILINE):
        inside = {p.stem for p in path.parent.glob("[!.]*") if is_module(p)} - {"__init__"}
        assert sorted(listed) == sorted(inside)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_script_imports_from_the_package_is_there(path):
    """Many are run once in a while, by hand."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sb3_course"):
            module = import_module(node.module)
            for name in (alias.name for alias in node.names):
                assert hasattr(module, name) or import_module(f"{node.module}.{name}")


def is_module(path):
    return path.suffix == ".py" or (path / "__init__.py").exists()


def test_a_wrong_pointer_is_seen():
    assert broken_links("[a](nowhere.md), [b](https://example.org), [c](#here)", ROOT) == [
        "nowhere.md"
    ]
    text = "`sb3_course/gone.py` `sb3_course/npg.py:NPG` `sb3_course/npg.py:Gone` `gone.toml`"
    assert missing_paths(text) == ["sb3_course/gone.py", "sb3_course/npg.py:Gone", "gone.toml"]
    assert missing_paths("`results/GRID/.lock` `sb3_course/NAME.py` `import x.py` `a/b`") == []


def test_what_a_program_wrote_is_kept_in_results_and_in_tests_data_alone():
    endings = {".zip", ".pt", ".pth", ".pkl", ".npz", ".onnx", ".mp4", ".log", ".html", ".gz"}
    kept = ROOT / "results", ROOT / "tests" / "data"
    others = [path for path in tracked() if not any(path.is_relative_to(it) for it in kept)]
    assert len(others) > 700
    assert [path.name for path in others if path.suffix.lower() in endings] == []


def test_no_file_is_large():
    assert [path.name for path in tracked() if path.stat().st_size > LARGEST] == []


LONGER = {
    "sb3_course/benchmark/execution/train_run.py": 353,
    "sb3_course/common/base_class.py": 382,
    "sb3_course/common/policy_gradient.py": 364,
    "sb3_course/common/update_steps.py": 379,
    "sb3_course/envs/config.py": 359,
    "sb3_course/imitation/dagger.py": 384,
    "sb3_course/ispg.py": 377,
    "sb3_course/lectures/estimator_variance.py": 362,
    "sb3_course/npg.py": 383,
}
"""Files that are due to be split: what they have may not grow."""


def test_rooms_stay_small():
    modules = [path for path in (ROOT / "sb3_course").rglob("*.py") if path.name != "__init__.py"]
    sizes = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in modules}
    assert max(Counter(path.parent for path in modules).values()) <= 12
    long = {name: n for name, n in sizes.items() if n > 350}
    assert long.keys() <= LONGER.keys()
    assert {name: n for name, n in long.items() if n > LONGER[name]} == {}


def test_no_lock_file_is_tracked():
    names = {path.name for path in tracked()}
    assert not names & {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"}


def test_no_path_of_somebodys_machine_is_tracked():
    assert ABSOLUTE.search(b"see /" + b"home/me") and not ABSOLUTE.search(b"a/home/me ~/tmp/x")
    assert [path for path in tracked() if ABSOLUTE.search(path.read_bytes())] == []
