"""JSON logs on standard error, one object a line; fields are named, never formatted into a sentence.

No personal data: ids, codes of refusals, counts and durations only.
"""

import logging
import sys
from typing import TextIO, cast

import structlog


class _StandardError:
    """Looked up anew for each line: it may have been replaced, and the one before closed, since a logger was made.

    A line that could not be written would break whoever had something to tell.
    """

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logging(level: int = logging.INFO) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _StandardError())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
