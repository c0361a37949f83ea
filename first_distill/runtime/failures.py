"""Repeat why jobs failed at the end of a run: Snakemake reports it amid other jobs' output."""

import logging
import re
import sys
from pathlib import Path

from snakemake_interface_logger_plugins.common import LogEvent

PROGRESS = re.compile(r"\d%\|")  # tqdm's bar


class FailedJobs(logging.Handler):
    """Jobs that failed, from the events of Snakemake's logger; `onerror:` reports them."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, tuple[str, list[str]]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Note a failed job; forget it when a retry has succeeded."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_ERROR:
            self.jobs[record.jobid] = (record.rule_name, record.log)
        elif event == LogEvent.JOB_FINISHED:
            self.jobs.pop(record.job_id, None)

    def report(self) -> None:
        """Print the last line of each failed job's log."""
        for rule, logs in self.jobs.values():
            lines = [f"{log}: {line}" for log in logs if (line := last_line(Path(log)))]
            print(f"error: {rule}: {(lines or ['no message in its log'])[0]}", file=sys.stderr)


def last_line(log: Path) -> str:
    """The last line of a text file without `error: `; empty where there is none."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    line = text.strip().rpartition("\n")[2].removeprefix("error: ")
    if PROGRESS.search(line):
        return "it was killed, perhaps for memory, and left no message: run it again"
    return line
