# SPDX-License-Identifier: Apache-2.0
"""Exit codes that several commands share, and an error that brings its own."""

__all__ = ["BAD", "FAILED", "GOOD", "INTERRUPTED", "REFUSED", "TIMEOUT", "CommandError"]

GOOD, FAILED, BAD, REFUSED, TIMEOUT, INTERRUPTED = 0, 1, 2, 3, 124, 130


class CommandError(Exception):
    """A command that ends with a line for people, or an error object for programs.

    Args:
        code: stable name of the error, for programs.
        exit_code: of the process.
    """

    def __init__(self, code: str, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code
