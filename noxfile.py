"""The versions that are supported, each in an environment of its own: `make test-matrix`.

uv makes the environments. The CPU build of PyTorch is enough, which uv takes from its own index
if the variable UV_TORCH_BACKEND is cpu. A Python that is not on the machine is skipped.
"""

import subprocess
import tarfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "uv|venv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["newest", "oldest", "trackers_and_zoo", "wheel"]

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
IMITATION = "imitation==1.0.1"
"""Without its dependencies, whose caps would hold Gymnasium at 0.29; the tests read files that it
saves with datasets and jsonpickle."""
TESTS = ["hypothesis>=6.100", "pytest>=8.2", "pytest-xdist>=3.6", "datasets>=2.8", "jsonpickle>=3"]
ENV = {"OMP_NUM_THREADS": "1", "MUJOCO_GL": "egl"}
ONE_RUN = """
name: one
seeds: 1
environments: {CartPole-v1: {total_timesteps: 500}}
algorithms: {NPG: {class: NPG}}
"""
WITHOUT_OVERRIDES = {"UV_NO_CONFIG": "1"}
"""uv would apply what pyproject.toml overrides in the environment of this checkout."""


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run the fast tests with the newest release of every dependency."""
    session.install(".[all]", *TESTS, env=WITHOUT_OVERRIDES)
    session.install("--no-deps", IMITATION)
    test(session)


@nox.session(python=PYTHONS[:2])
def oldest(session: nox.Session) -> None:
    """Run the fast tests with the oldest SB3 and Gymnasium that are supported."""
    oldest = ("stable-baselines3==2.7.0", "sb3-contrib==2.7.0", "gymnasium==1.0.0")
    session.install(".[all]", *TESTS, *oldest, env=WITHOUT_OVERRIDES)
    session.install("--no-deps", IMITATION)
    test(session)


@nox.session(python=PYTHONS[:2])
def trackers_and_zoo(session: nox.Session) -> None:
    """Run the tests of RL Zoo and of all trackers, Trackio included, each of the newest release."""
    extras = "zoo,wandb,mlflow,trackio,mujoco,box2d,benchmark,video,tensorboard"
    session.install(f".[{extras}]", *TESTS, env=WITHOUT_OVERRIDES)
    session.run("python", "-m", "pytest", "-q", "tests/zoo", "tests/common/tracking", env=ENV)


@nox.session(python=PYTHONS, venv_backend="venv")
def wheel(session: nox.Session) -> None:
    """Install the wheel alone with pip, and use it in another folder, as a new user does."""
    folder = Path(session.create_tmp()).resolve()
    session.install("build")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), ".", silent=True)
    (built,) = folder.glob("*.whl")
    session.install(str(built))
    with session.chdir(folder):
        command = ("sb3-course", "train", "NPG", "CartPole-v1", "--timesteps", "20_000")
        session.run(*command, "-p", "target_kl=0.02")
        session.run("sb3-course", "enjoy", "model.zip")
        session.install(f"{built}[mujoco,benchmark]")
        session.install("--no-deps", IMITATION)
        session.run("sb3-course", "imitate", "Hopper-v4")
        session.run("sb3-course", "demo", "--help", silent=True)
        grid = folder / "one.yaml"
        grid.write_text(ONE_RUN)
        session.run("sb3-course", "run", str(grid), "--workers", "1")
        session.run("sb3-course", "slurm", str(grid), "--array=2", "--time=60", silent=True)
    built.unlink()


@nox.session(python="3.11")
def release(session: nox.Session) -> None:
    """Build wheel and sdist into dist/, and check them, the changelog and the citation."""
    session.install("build", "twine", "check-wheel-contents", "cffconvert")
    for old in Path("dist").glob("sb3_course-*"):
        old.unlink()
    session.run("python", "-m", "build", silent=True)  # the wheel is built from the sdist
    (built,), (source,) = Path("dist").glob("*.whl"), Path("dist").glob("*.tar.gz")
    session.run("twine", "check", "--strict", str(built), str(source))
    session.run("check-wheel-contents", str(built))
    session.run("cffconvert", "--validate")
    version = source.name.removeprefix("sb3_course-").removesuffix(".tar.gz")
    if f"## [{version}] - " not in Path("CHANGELOG.md").read_text():
        session.error(f"CHANGELOG.md has no entry of {version}")
    check_contents(session, built, source)


def check_contents(session: nox.Session, built: Path, source: Path) -> None:
    """Compare what is in the files of a release with what is in git."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    tracked = set(listed.stdout.splitlines())
    package = {name for name in tracked if name.startswith("sb3_course/")}
    targets = nox.project.load_toml("pyproject.toml")["tool"]["hatch"]["build"]["targets"]
    forced = tuple(targets["wheel"]["force-include"])
    shipped = {name for name in tracked if name.startswith(forced)}
    with zipfile.ZipFile(built) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = package | {f"sb3_course/shipped/{name}" for name in shipped}
    if names != expected:
        session.error(f"the wheel differs from git in: {sorted(names ^ expected)}")
    with tarfile.open(source) as sdist:
        members = {name.partition("/")[2] for name in sdist.getnames()}
    beside = {
        "CHANGELOG.md",
        "CITATION.cff",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        ".gitignore",
    }
    expected = package | shipped | beside | {"PKG-INFO"}
    if members != expected:
        session.error(f"the sdist differs from git in: {sorted(members ^ expected)}")


@nox.session(python="3.11")
def audit(session: nox.Session) -> None:
    """Look for known vulnerabilities in what the wheel brings; list that in dist/sbom.cdx.json."""
    session.install(".[all]", env=WITHOUT_OVERRIDES)
    python = str(Path(session.virtualenv.bin) / "python")
    tools = Path(session.create_tmp()).resolve() / "tools"  # which are no part of what is audited
    session.run("uv", "venv", "--quiet", "--allow-existing", str(tools), external=True)
    with_tools = ("uv", "pip", "install", "--quiet", "--python", str(tools))
    session.run(*with_tools, "cyclonedx-bom", "pip-audit", external=True, env=WITHOUT_OVERRIDES)
    Path("dist").mkdir(exist_ok=True)
    sbom = ("environment", python, "--pyproject", "pyproject.toml", "--output-reproducible")
    out = ("--of", "JSON", "-o", "dist/sbom.cdx.json")
    session.run(str(tools / "bin" / "cyclonedx-py"), *sbom, *out, external=True)
    listed = session.run("uv", "pip", "freeze", "--exclude=sb3-course", silent=True, external=True)
    # A build's label, as in torch 2.13.0+cpu, is in no list of vulnerabilities.
    pins = [line.partition("+")[0] for line in str(listed).splitlines() if "==" in line]
    (tools / "requirements.txt").write_text("\n".join(pins))
    strict = ("--strict", "--no-deps", "--disable-pip", "-r", str(tools / "requirements.txt"))
    session.run(str(tools / "bin" / "pip-audit"), *strict, external=True)


def test(session: nox.Session) -> None:
    """Run the fast tests; returns are compared exactly only where they were stored."""
    words = ("-q", "-n", "2", "-m", "not slow", *session.posargs)
    session.run("python", "-m", "pytest", *words, env=ENV)
