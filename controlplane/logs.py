"""Logs on stderr: one line per event, as text or as JSON, without colours."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO, cast

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
    globalLogBeginner,
)

Observer = Callable[[dict[str, Any]], None]

QUIET = ("twisted", "autobahn", "txaio", "-", "log_legacy", "stdout")
"""Namespaces of libraries, of which only warnings are shown."""


def begin_logging(name: str, format_: str, level: str, stream: TextIO | None = None) -> None:
    """Write what is logged from now on to stderr."""
    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    for namespace in QUIET:
        predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    write = _json_writer if format_ == "json" else _text_writer
    # Any callable observes; the interfaces are declared by zope and unknown to the type checker.
    observer: Any = FilteringLogObserver(cast(Any, write(name, stream or sys.stderr)), [cast(Any, predicate)])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)


def _text_writer(name: str, stream: TextIO) -> Observer:
    def write(event: dict[str, Any]) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        _emit(stream, f"{_time(event)} {event['log_level'].name:<8} {name}: {text}")

    return write


def _json_writer(name: str, stream: TextIO) -> Observer:
    def write(event: dict[str, Any]) -> None:
        fields = {
            key: value if isinstance(value, str | int | float | bool) or value is None else str(value)
            for key, value in event.items()
            if not key.startswith("log_")
        }
        failure = event.get("log_failure")
        if failure is not None:
            fields["traceback"] = failure.getTraceback()
        line = {
            **fields,
            "time": _time(event),
            "level": event["log_level"].name,
            "process": name,
            "module": event.get("log_namespace"),
            "message": formatEvent(event),
        }
        _emit(stream, json.dumps(line))

    return write


def _emit(stream: TextIO, line: str) -> None:
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        pass  # Nobody reads the log any more; that must not stop the process.


def _time(event: dict[str, Any]) -> str:
    return datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
