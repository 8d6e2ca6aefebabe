"""A logger for the terminal: one short line for each message of an asset."""

import logging
import sys

import dagster as dg


class _ShortFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        step = meta.get("step_key") or meta.get("job_name") or ""
        return f"    {self.formatTime(record, '%H:%M:%S')}  {step}: {meta.get('orig_message', record.getMessage())}"


class _OnlyAssetMessages(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # Dagster's own messages, such as STEP_START, are in the UI. On the terminal they would hide the progress.
        meta = getattr(record, "dagster_meta", {})
        return meta.get("dagster_event") is None and "Not executing." not in record.getMessage()


@dg.logger(config_schema={}, description="Short progress lines on the terminal.")
def progress_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """Make a logger of the assets' messages at INFO and above, without Dagster's own events."""
    logger = logging.Logger("progress", logging.INFO)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_ShortFormatter())
    handler.addFilter(_OnlyAssetMessages())
    logger.addHandler(handler)
    return logger
