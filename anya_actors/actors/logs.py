"""How every process of the platform logs."""

from __future__ import annotations

import logging

import structlog


def configure_logs(level: int = logging.INFO) -> None:
    """One line an event, with its facts. A traceback shows frames and messages, never variables.

    structlog's own default prints the local variables of every frame, a passphrase among them.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
            ),
        ],
    )
