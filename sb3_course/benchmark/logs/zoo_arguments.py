"""What RL Zoo has written of a run beside its log: ``args.yml`` and ``config.yml``.

The files name Python classes to be made. None is: their nodes are looked at, not constructed.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sb3_course.benchmark.logs.search import ARGUMENTS, FoundRun
from sb3_course.common.errors import UserError
from sb3_course.common.files import read_regular
from sb3_course.common.yaml_values import MOST_CHARACTERS, GridLoader

HYPERPARAMETERS = "config.yml"
"""RL Zoo's file of a run's hyper-parameters, beside its arguments."""
OF_TASK, CONTINUED = ("env_kwargs", "eval_env_kwargs"), "trained_agent"
"""Arguments that make another task, and the file of a training that went on."""
EMPTY = {"", "{}", "[]"}


@dataclass(frozen=True)
class ZooArguments:
    """What RL Zoo says of a run.

    :param texts: Plain texts among its arguments, by name
    :param task: Arguments of its environment as YAML; empty if there are none
    :param setting: Hyper-parameters and arguments of the environment, to be compared as they are
    """

    texts: dict[str, str] = field(default_factory=dict)
    task: str = ""
    setting: str = ""


def zoo_arguments(run: FoundRun) -> ZooArguments:
    """Return what RL Zoo says of a run; nothing where it has not written any.

    :param run: Run
    :return: Its arguments
    :raises UserError: The file of arguments is damaged
    """
    for path in run.files:
        if path.name == ARGUMENTS and len(path.relative_to(run.path).parts) <= 2:
            try:
                given = pairs(_text(path))
                task = _task(given)
            except (OSError, ValueError, OverflowError, yaml.YAMLError) as error:
                raise UserError(f"{path.name} is damaged, and with it the run's seed") from error
            hyperparameters = ""
            with suppress(
                OSError, ValueError, OverflowError, yaml.YAMLError
            ):  # which can be missing
                hyperparameters = _text(path.with_name(HYPERPARAMETERS))
                task = task or _task(pairs(hyperparameters))
            return ZooArguments(plain_texts(given), task, task + hyperparameters)
    return ZooArguments()


def _text(path: Path) -> str:
    return read_regular(path, 4 * MOST_CHARACTERS).decode()


def _task(given: dict[str, yaml.Node]) -> str:
    """Return what makes an environment another task, for its training or its evaluation."""
    found = {_as_yaml(given[name]): None for name in OF_TASK if name in given}
    return "; ".join(text for text in found if text)


def _as_yaml(node: yaml.Node) -> str:
    """Return a node as YAML in one line; empty if there is nothing in it."""
    if node.tag.endswith(":null"):
        return ""
    if isinstance(node, yaml.CollectionNode):
        node.flow_style = True
    text = yaml.serialize(node, width=MOST_CHARACTERS).removesuffix("...\n").strip()
    return "" if text in EMPTY else text


def pairs(text: str) -> dict[str, yaml.Node]:
    """Return the pairs in a mapping, or in the list of pairs of an ``OrderedDict``.

    :param text: YAML, with any tags
    :return: Node by key that is plain text
    :raises yaml.YAMLError: It is not valid YAML, or a limit of :mod:`~.common.yaml_values` is
        exceeded
    """
    node: yaml.Node | None = GridLoader(text).get_single_node()
    if isinstance(node, yaml.SequenceNode) and len(node.value) == 1:
        node = node.value[0]
    found: list[Sequence[yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        found = node.value
    elif isinstance(node, yaml.SequenceNode):
        found = [pair.value for pair in node.value if isinstance(pair, yaml.SequenceNode)]
    return {
        pair[0].value: pair[1]
        for pair in found
        if len(pair) == 2 and isinstance(pair[0], yaml.ScalarNode)
    }


def plain_texts(given: dict[str, yaml.Node]) -> dict[str, str]:
    """Return the plain texts among nodes.

    :param given: Nodes by name
    :return: Text by name; other values are left out
    """
    return {
        name: node.value
        for name, node in given.items()
        if isinstance(node, yaml.ScalarNode) and not node.tag.endswith(":null")
    }
