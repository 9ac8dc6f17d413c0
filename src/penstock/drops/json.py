# SPDX-License-Identifier: Apache-2.0
"""A file of JSON whose content can be indexed."""

import json
from functools import cached_property
from typing import Any

from penstock.drops.file import FileDrop
from penstock.errors import EncodingFailed

__all__ = ["JsonDrop"]


class JsonDrop(FileDrop):
    """JSON in a file: `drop["name"]`, or `drop.value` for the whole."""

    @cached_property
    def value(self) -> Any:  # Any: whatever JSON the producer wrote
        """The content, read once.

        Raises:
            DropNotReadable: the data is not complete or gone.
            EncodingFailed: the content is no JSON.
        """
        try:
            return json.loads(self.read())
        except ValueError as exc:
            raise EncodingFailed(self.uid, f"{self.location.path} holds no JSON: {exc}") from exc

    def __getitem__(self, key: str | int) -> Any:  # Any: likewise
        return self.value[key]
