# SPDX-License-Identifier: BSD-3-Clause
"""Reading untrusted YAML: plain values only, of limited size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.plain_values import distinct_values, require_bounded

MOST_BYTES = 1_000_000
MOST_VALUES = 100_000


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; see :func:`parse_yaml`."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    return parse_yaml(content, str(path))


class _ObjectsAsValues(yaml.SafeLoader):
    """Reads tagged Python objects as the plain values that describe them, and makes none."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value


_ObjectsAsValues.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def read_foreign_yaml(path: Path) -> Any:
    """Return the content of a YAML file of another program, as :func:`read_yaml`, with Python objects as plain values.

    Isaac Lab and mjlab store tuples, slices and classes in a run's settings.
    """
    with path.open("rb") as file:
        return parse_yaml(file.read(MOST_BYTES + 1), str(path), _ObjectsAsValues)


def parse_yaml(text: str | bytes, source: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Return the plain values of a YAML text, or of one in UTF-8; errors call it ``source``.

    Raises:
        ConfigError: If it is not YAML, too large, or contains objects or interpolations.
    """
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{source} is larger than {MOST_BYTES} bytes, too large for settings.")
    try:
        values = yaml.load(text, loader)
        require_bounded(values, MOST_VALUES)
    except Exception as error:  # the library also raises what a wrong scalar or deep nesting leads to
        raise ConfigError(f"{source} is not YAML: {one_line(error) or type(error).__name__}") from error
    for value in distinct_values(values):
        if isinstance(value, str) and "${" in value:
            raise ConfigError(f"{source} contains {value!r:.80}; write the value instead of an interpolation ${{...}}.")
    return values
