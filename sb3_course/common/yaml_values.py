"""YAML as in grid files, where ``1e-3`` is a number."""

import re
from typing import Any

import yaml


class GridLoader(yaml.SafeLoader):
    """Safe YAML loader that reads ``1e-3`` and ``1.5e6`` as numbers and rejects duplicate keys."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Compose a mapping like PyYAML's ``Composer``, after a check for duplicate keys."""
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            first = seen.setdefault((key.tag, str(key.value)), key)
            if first is not key:
                line = first.start_mark.line + 1
                problem = f"key {key.value!r} is given twice, first in line {line}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return node


GridLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(text: str) -> Any:
    """Read a value as in a grid file.

    :param text: YAML, such as ``1e-3``, ``[64, 64]`` or a whole document
    :return: Value of the document
    :raises yaml.YAMLError: If the text is not valid YAML or a mapping has duplicate keys
    """
    return yaml.load(text, Loader=GridLoader)  # a subclass of the safe loader
