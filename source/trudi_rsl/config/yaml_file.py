# SPDX-License-Identifier: BSD-3-Clause
"""Reading YAML that may be somebody else's: plain values, and no more of them than a person would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.plain_values import distinct_values, require_bounded

MOST_BYTES = 1_000_000
MOST_VALUES = 100_000


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds: plain values, without objects of any class and without interpolations.

    Raises:
        ConfigError: If it is not YAML, too large, or holds such.
        OSError: If it cannot be opened.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    return parse_yaml(content, str(path))


def parse_yaml(text: str | bytes, source: str) -> Any:
    """Return what a YAML text holds; see :func:`read_yaml`.

    Args:
        text: The text; bytes are UTF-8.
        source: Where it is from, for error messages.

    Raises:
        ConfigError: As there.
    """
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{source} is larger than {MOST_BYTES} bytes, which settings are not.")
    try:
        values = yaml.safe_load(text)
        require_bounded(values, MOST_VALUES)
    except (
        Exception
    ) as error:  # beside its own errors the library raises whatever a wrong scalar or a deep nest leads to
        raise ConfigError(f"{source} is not YAML: {one_line(error) or type(error).__name__}") from error
    for value in distinct_values(values):
        if isinstance(value, str) and "${" in value:
            raise ConfigError(
                f"{source} holds {value!r:.80}; write the value itself, since ${{...}} can stand for others."
            )
    return values
