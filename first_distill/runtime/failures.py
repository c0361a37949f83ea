"""Why jobs failed, in one line each: Snakemake's own report is long and amid other jobs' output."""

import logging
import re
import sys
from pathlib import Path

from snakemake_interface_logger_plugins.common import LogEvent

from first_distill import joblog

PROGRESS = re.compile(r"\d%\|")  # tqdm's bar
JOBSTEP = "At least one job did not complete successfully."
SLURM = re.compile(r"^slurmstepd\S*: error: (.*)$", re.M)
LONGEST = 400  # characters of a log's last line


class FailedJobs(logging.Handler):
    """Jobs that failed, from the events of Snakemake's logger; `onerror:` reports them.

    For runs without this project's own logger, which tells each failure when it happens.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Note a failed job; forget it when a retry has succeeded."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_ERROR:
            self.jobs[record.jobid] = failure(record.rule_name, record)
        elif event == LogEvent.JOB_FINISHED:
            self.jobs.pop(record.job_id, None)

    def report(self) -> None:
        """Print a line for each failed job."""
        for line in self.jobs.values():
            print(line, file=sys.stderr)


def failure(name: str, record: logging.LogRecord) -> str:
    """One line on a job that failed: what the cluster says of it, its log's last line, the log."""
    here = f"{Path.cwd()}/"
    logs = [path.partition(" (")[0].removeprefix(here) for path in record.log]  # `... (send to ..)`
    found = [(line, log) for log in logs if (line := last_line(Path(log)))]
    said = printable((record.rule_msg or "").partition("For further error details")[0])
    status = re.search(r"status is: '?(\w+)", said)  # of Slurm
    none = "no message in its log" if logs else "it has no log"
    line, log = (found or [(none, logs[0] if logs else "")])[0]
    if said and not status:  # it was never submitted, and any log is of an earlier attempt
        line, log = said, ""
    parts = [name, *([status[1]] if status else []), line]
    return "failed: " + ": ".join(parts) + (f"  ({log})" if log else "")


def last_line(log: Path) -> str:
    """The last line of a text file without `error: `; empty where there is none but its head."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    text = joblog.LINE.sub("", text)
    line = text.strip().rpartition("\n")[2].removeprefix("error: ")
    if line == JOBSTEP:  # of Snakemake in a Slurm job: Slurm's own line tells why it was ended
        line = (SLURM.findall(text) or [""])[-1]
    if PROGRESS.search(line):
        return "it was killed, perhaps for memory, and left no message: run it again"
    return printable(line)


def printable(text: str) -> str:
    """A text as one line, without control characters, of limited length."""
    line = "".join(c if c.isprintable() else " " for c in text.strip())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
