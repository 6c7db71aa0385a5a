"""How every process of the platform logs."""

from __future__ import annotations

import logging

import structlog


def configure_logs(level: str = "info", format: str = "text") -> None:
    """One line an event, with its facts: for people, or with ``format="json"`` for programs.

    ``level`` is a name of `logging`. A traceback shows frames and messages, never variables.

    structlog's own default prints the local variables of every frame, a passphrase among them.
    """
    shown: tuple[structlog.typing.Processor, ...] = (
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        ),
    )
    if format == "json":
        shown = (structlog.processors.format_exc_info, structlog.processors.JSONRenderer())
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *shown,
        ],
    )
