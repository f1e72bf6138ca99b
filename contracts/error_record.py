"""Carries an error from one process to another: its class, what happened and what to do, never a sentence to parse."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from contracts.errors import CaravanError
from contracts.exit_codes import code_of_name, error_class


@dataclass(frozen=True, kw_only=True)
class ErrorRecord:
    """An error as another process needs it; `error` is the name of its class."""

    error: str
    what: str
    remedy: str = ""

    @classmethod
    def of(cls, error: BaseException) -> ErrorRecord:
        """Return the record of an error, our own or a library's."""
        if isinstance(error, CaravanError):
            return cls(error=type(error).__name__, what=error.what, remedy=error.remedy)
        return cls(error=type(error).__name__, what=str(error))

    @classmethod
    def from_json(cls, text: object) -> ErrorRecord | None:
        """Read what `to_json` wrote; None for anything else."""
        try:
            said = json.loads(str(text))
            return cls(error=str(said["error"]), what=str(said["what"]), remedy=str(said["remedy"]))
        except (ValueError, KeyError, TypeError):
            return None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def code(self) -> int:
        """Return the exit code that this error means."""
        return code_of_name(self.error)

    def raised(self) -> CaravanError:
        """Return the error in its own class; CaravanError for a class that is not ours."""
        return error_class(self.error)(self.what, remedy=self.remedy)

    def __str__(self) -> str:
        return f"{self.error}: {self.what}" + (f" -> {self.remedy}" if self.remedy else "")
