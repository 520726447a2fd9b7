"""The text of a model card, with the metadata that the Hugging Face Hub reads."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import yaml

from sb3_course.common.checkpoint import LIBRARIES
from sb3_course.common.numbers import readable
from sb3_course.common.tracking.tracker import flat

APART = "hyper_parameters", "versions"
"""Parts of a configuration that have tables of their own."""
EXTRAS = {
    "gymnasium.envs.box2d": "box2d,video",
    "gymnasium.envs.classic_control": "video",
    "gymnasium.envs.mujoco": "mujoco",
    "gymnasium.envs.toy_text": "video",
}
"""Extras that bring an environment and its window, by how its entry point begins."""
INSTALL = "pip install --no-deps imitation==1.0.1"
"""What BC and DAgger need besides: see :mod:`sb3_course.imitation`."""


@dataclass(frozen=True)
class Facts:
    """What a card says.

    :param file: Name of the model's file
    :param module: Module of its class
    :param header: Header of the file, empty for one that SB3 itself saved
    :param config: What :func:`~sb3_course.publishing.configuration.configuration` returned, of the
        training
    :param results: Content of ``results.json``, of the evaluation
    :param env_settings: Settings of the environment of the evaluation, as Python has them
    :param video: Whether there is a video
    :param repo: Repository of the Hub, or None
    """

    file: str
    module: str
    header: dict[str, Any]
    config: dict[str, Any]
    results: dict[str, Any]
    env_settings: Mapping[str, Any]
    video: bool
    repo: str | None

    @property
    def env_id(self) -> str:
        """Id of the environment of the evaluation, without its module."""
        return str(self.results["env"]).rpartition(":")[2]

    @property
    def entry_point(self) -> str:
        """Module and class of that environment, if Gymnasium has registered it."""
        spec = gymnasium.registry.get(self.env_id)
        return "" if spec is None else str(spec.entry_point)

    @property
    def pickled(self) -> bool:
        """Whether loading the file reads pickles."""
        return "class" not in self.header or bool(self.header.get("pickled"))

    @property
    def imitates(self) -> bool:
        """Whether the model has learned from an expert."""
        return self.module.startswith("sb3_course.imitation.")

    @property
    def library(self) -> str:
        """First part of the module of the class."""
        return self.module.partition(".")[0]


def readme(facts: Facts) -> str:
    """Return the text of a card.

    :param facts: What it says
    :return: Markdown after a block of YAML
    """
    config, results = facts.config, facts.results
    front = yaml.safe_dump(metadata(facts), sort_keys=False, allow_unicode=True)
    returns = results["returns"]
    mean, std, low, high, least, most = readable(
        results["mean_reward"],
        results["std_reward"],
        *results["interval"],
        min(returns),
        max(returns),
        least=2,
    )
    count = results["n_eval_episodes"]
    parts = [
        f"---\n{front}---",
        f"# {config['algorithm']} on {facts.env_id}",
        f"A policy of `{config['algorithm']}` that has {_learned(facts)}"
        + (", with observations normalized." if _normalizes(config) else "."),
        "## Evaluation",
        _table(
            ("", ""),
            [
                ("mean return", mean),
                (f"{results['level']:.0%} interval of the mean", f"{low} to {high}"),
                ("standard deviation over episodes", std),
                ("smallest and largest", f"{least}, {most}"),
            ],
        ),
        f"{count} episodes of the deterministic policy in `{results['env']}` with seeds from "
        f"{results['first_seed']:,}, "
        "undiscounted and not normalized; the interval is a bootstrap over episodes. It says "
        "nothing about another training with another seed. All returns: `results.json`."
        + (" The first episode: `replay.mp4`." if facts.video else ""),
        "## How to load it",
        "```sh\n" + install(facts) + "\n```",
        "```python\n" + code(facts) + "\n```",
        f"It acts by {_acts(facts)}. To watch it:",
        "```sh\n" + watch(facts) + "\n```",
    ]
    if facts.pickled:
        parts.append(
            "**The file holds pickled Python, which its author chose and loading executes.**"
        )
    parts += [
        "## Configuration",
        _table(("hyper-parameter", "value"), _rows(config["hyper_parameters"])),
        _table(
            ("setting", "value"),
            _rows({k: v for k, v in config.items() if k not in APART and v not in (None, {})}),
        ),
        "## Versions",
        _table(
            ("package", "trained with", "evaluated with"),
            _beside(config["versions"], results["versions"]),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def metadata(facts: Facts) -> dict[str, Any]:
    """Return what the Hub reads: the library, tags, and the result as an entry of its index.

    :param facts: What the card says
    :return: Plain data
    """
    results, name = facts.results, facts.config["algorithm"]
    mean_and_std = readable(results["mean_reward"], results["std_reward"], least=2)
    task = "reinforcement-learning"
    return {
        "library_name": "stable-baselines3",
        "pipeline_tag": task,
        "tags": [
            facts.env_id,
            "deep-reinforcement-learning",
            task,
            "stable-baselines3",
            "sb3-course",
            name,
        ],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": task, "name": task},
                        "dataset": {"name": facts.env_id, "type": facts.env_id},
                        "metrics": [
                            {
                                "type": "mean_reward",
                                "value": " +/- ".join(mean_and_std).replace(",", ""),
                                "name": "mean_reward",
                                "verified": False,
                            }
                        ],
                    }
                ],
            }
        ],
    }


def install(facts: Facts) -> str:
    """Return the command that installs what :func:`code` and :func:`watch` import.

    :param facts: What the card says
    :return: Command, or two in lines
    """
    extras = [name for start, name in EXTRAS.items() if facts.entry_point.startswith(start)]
    extras += [] if facts.repo is None else ["hub"]
    wanted = f"[{','.join(extras)}]" if extras else ""
    contrib = " sb3-contrib" * (facts.library == "sb3_contrib")
    command = f"pip install 'sb3-course{wanted}'{contrib}"
    return f"{command}\n{INSTALL}" if facts.imitates else command


def watch(facts: Facts) -> str:
    """Return the command that plays the model; it names what the file does not.

    :param facts: What the card says
    :return: Command
    """
    words = ["sb3-course enjoy", facts.file]
    env = facts.results["env"]
    own = ":" in env  # whose module is imported if its name is given
    as_trained = env == facts.header.get("env") and not facts.header.get("env_unknown")
    words += [env] if own or not as_trained else []
    if facts.library not in LIBRARIES:
        words.append(f"--algo {facts.module}:{facts.config['algorithm']}")
    elif "class" not in facts.header:
        words.append(f"--algo {facts.config['algorithm']}")
    trust = facts.pickled or bool(facts.env_settings.get("wrappers"))
    return " ".join([*words, *["--trust"] * trust])


def code(facts: Facts) -> str:
    """Return the lines of Python that load the model, with its environment and normalization.

    :param facts: What the card says
    :return: Imports and three statements
    """
    name = facts.config["algorithm"]
    env, settings = facts.results["env"], facts.env_settings
    names = {"kwargs": "env_kwargs"}
    given = "".join(f", {names.get(key, key)}={_python(v)}" for key, v in settings.items())
    imports = [] if facts.repo is None else ["from huggingface_hub import hf_hub_download"]
    file = repr(facts.file)
    place = file if facts.repo is None else f"hf_hub_download({facts.repo!r}, {file})"
    if facts.library == "sb3_course":
        imports.append("from sb3_course import load, make_vec_env")
        safe = "" if facts.pickled else ", weights_only=True"
        model = f'load(file, env, normalize="freeze"{safe})'
    else:
        module = facts.library if facts.library in LIBRARIES else facts.module
        imports += [
            f"from {module} import {name}",
            "from sb3_course import make_vec_env",
            "from sb3_course.loading import load_any",
        ]
        model = f'load_any({name}, file, env, normalize="freeze", trusted={facts.pickled})'
    return "\n".join(
        [
            *imports,
            "",
            f"file = {place}",
            f"env = make_vec_env({env!r}{given})",
            f"model = {model}",
        ]
    )


def _learned(facts: Facts) -> str:
    env = facts.config["env"]
    where = "" if env is None else f" `{env}`"
    if unknown := facts.config.get("env_unknown"):
        where += f" with {' and '.join(f'`{name}`' for name in unknown)}"
    if facts.imitates:  # whose time steps are transitions of demonstrations
        return "learned from an expert" + f" in{where}" * bool(where)
    return f"learned from {facts.config['num_timesteps']:,} steps" + f" of{where}" * bool(where)


def _acts(facts: Facts) -> str:
    name = facts.config["algorithm"]
    if name == "RecurrentPPO":
        return (
            "`model.predict(observations, state, episode_start, deterministic=True)`, which "
            "returns the actions and the next `state`; the first one is None"
        )
    if name == "MaskablePPO":
        return (
            "`model.predict(observations, action_masks=get_action_masks(env), "
            "deterministic=True)`, with the function of `sb3_contrib.common.maskable.utils`"
        )
    return "`model.predict(model.get_env().reset(), deterministic=True)`"


def _python(value: Any) -> str:
    """Write a value as Python reads it, also where a number is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_python(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    return repr(value)


def _normalizes(config: Mapping[str, Any]) -> bool:
    return bool((config.get("vec_normalize") or {}).get("norm_obs"))


def _rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"`{name}`", f"`{value}`") for name, value in flat(data).items()]


def _beside(trained: Mapping[str, str], evaluated: Mapping[str, str]) -> list[tuple[str, str, str]]:
    names = {"pytorch": "torch"}
    renamed = {names.get(key, key): value for key, value in trained.items()}
    return [
        (key, renamed.get(key, ""), evaluated.get(key, ""))
        for key in dict.fromkeys([*evaluated, *renamed])
    ]


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )
