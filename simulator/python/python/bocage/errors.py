"""What can be wrong with a scenario, and with what a run shows."""

from __future__ import annotations


class ScenarioError(ValueError):
    """A scenario that cannot be run. Its text says where and what to do; nothing was run."""

    def __init__(
        self, text: str, path: str | None = None, line: int | None = None, column: int | None = None, help: str | None = None
    ) -> None:
        super().__init__(text)
        #: The file with the mistake in it; ``None`` of a text or a dict.
        self.path = path
        #: From 1 up; ``None`` if the file cannot be read.
        self.line = line
        #: In characters, from 1 up.
        self.column = column
        #: What to write instead, where that is known.
        self.help = help


class ViolationWarning(UserWarning):
    """A run violated a property: its numbers are those of a mesh that did not do what it promises."""
