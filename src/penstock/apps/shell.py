# SPDX-License-Identifier: Apache-2.0
"""The bash app: a command line of the graph's author, run as a child of its own.

How values get into the command: `command.py` (what they are), `placeholders.py` (why none is ever executed).
How the child runs and ends: `process.py`. The same with standard streams to other apps: `streaming.py`.
"""

from collections.abc import Mapping
from typing import Any

from penstock.apps.command import COMMAND_FIELDS, Spool, command_text, command_values
from penstock.apps.inputs import check_encodings
from penstock.apps.placeholders import ValueRefused, render
from penstock.apps.process import ShellProcess
from penstock.drops.app import AppDrop
from penstock.drops.ports import parse_arguments
from penstock.errors import ParameterInvalid

__all__ = ["BashApp", "BashShellApp"]


class BashApp(AppDrop):
    """What all bash apps have: a command, its process, what it printed.

    Attributes:
        stdout, stderr: beginning and end of what the command printed, once it has ended.
        exit_code: as subprocess gives it; None before the end.
    """

    isolation = "thread"
    may_open_pickles = True

    stdout = ""
    stderr = ""
    exit_code: int | None = None

    @classmethod
    def opens_pickles(cls, uid: str, fields: Mapping[str, Any]) -> bool:  # Any: the drop's JSON
        """Whether what inputs hold may become words of the command: they may be pickled."""
        arguments = parse_arguments(uid, fields)
        texts = [
            str(fields.get(name, None if argument is None else argument.value))
            for name, argument in ((name, arguments.get(name)) for name in COMMAND_FIELDS)
        ]
        if any("{" in text or "%i" in text for text in texts):
            return True
        # Then arguments that the command does not mention stand behind it, and may be named like an input.
        has_prefix = "argumentPrefix" in fields or "argumentPrefix" in arguments
        return has_prefix and any(not argument.is_port for argument in arguments.values())

    @classmethod
    def check(cls, uid: str, fields: Mapping[str, Any]) -> None:  # Any: the drop's JSON
        """Refuse a graph that names no command, or for a port an encoding that does not exist.

        Raises:
            ParameterInvalid: it does.
        """
        argument = parse_arguments(uid, fields).get("command")
        command = fields.get("command", None if argument is None else argument.value)
        if not isinstance(command, str) or not command.strip():
            raise ParameterInvalid(uid, "command", "is missing: write what /bin/bash shall run")
        check_encodings(uid, fields)

    def initialize(self) -> None:
        self._process: ShellProcess | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """End the command and all it has started: TERM now, KILL after a grace time."""
        self._cancelled = True
        process = self._process
        if process is not None:
            process.cancel()

    def prepare(self, spool: Spool) -> ShellProcess:
        """Return the process of this app's command, not started.

        Args:
            spool: gives files to outputs without a path.
        Raises:
            ParameterInvalid: no command, or a value that bash cannot take where it stands.
            EncodingFailed: an input's content is not in its port's encoding.
        """
        command = command_text(self)
        try:
            rendered = render(command, command_values(self, spool))
        except ValueRefused as exc:
            raise ParameterInvalid(self.uid, exc.name, str(exc)) from exc
        environment = {**self.site.environment, **rendered.variables}
        environment.update(DLG_UID=self.uid, DLG_SESSION_ID=self.site.session_id)
        environment.setdefault("DLG_ROOT", str(self.site.directory))
        directory = self.site.directory
        self._process = ShellProcess(self.uid, rendered.command, environment, directory, shown=command)
        if self._cancelled:  # cancel may have come while there was no process to tell
            self._process.cancel()
        return self._process

    def finish(self, process: ShellProcess) -> None:
        """Wait for a started process, keep and log what it printed.

        Raises:
            CommandFailed: it ended badly.
        """
        self.exit_code = process.wait()
        self.stdout, self.stderr = process.stdout.text, process.stderr.text
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if text.strip():
                self.note(text, name)
        process.check(self.exit_code)


class BashShellApp(BashApp):
    """Run `command` when all inputs have ended; what it prints goes to the log."""

    def run(self) -> None:
        spool = Spool(self.site.directory)
        try:
            process = self.prepare(spool)
            process.start()
            self.finish(process)
            spool.deliver()
        finally:
            spool.remove()
