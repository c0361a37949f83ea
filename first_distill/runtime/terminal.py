"""What a run shows: a live view in a terminal, plain lines where there is none."""

import logging
import re
import sys
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.common import LogEvent

from first_distill.runtime.failures import failure
from first_distill.runtime.tally import Tally, spoken

FEW = 30  # jobs of a run that has a line for each
LINES = 10  # of a longer run
PAUSE = 120  # seconds after which a line is due in any case, once a job has ended
NOW = 8  # running jobs in the live view
SCREEN = 24  # lines after which failures are told again at the end
# Messages of every run, which tell nothing of this one; Snakemake's log file has them all.
ROUTINE = (
    *(r"Assuming unrestricted shared filesystem", r"Building DAG of jobs", r"Using shell:"),
    *(r"Conda environments: ignored", r"Singularity containers: ignored", r"Group jobs: inactive"),
    *(r"Select jobs to execute", r"Job rate limit reached", r"Processed \d+ potential jobs"),
    *(r"Updating jobs with queue", r"Updating checkpoint", r"DAG of jobs will be updated"),
    *(r"Removing output files of failed job", r"Removing temporary output", r"Multiple includes"),
    *(r"Injecting conda environment", r"Elapsed time:", r"Shutting down, this might"),
    *(r"Config file .* is extended", r"Waiting at most", r"Resource request used", r"host: \S+$"),
    *(r"SLURM run ID:", r"Job \d+ has been submitted", r"Submitted array job"),
    *(r"Cleaning up SLURM", r"Number of nodes:"),
)
RESTART = re.compile(r"Trying to restart job (\d+)\.")
# What this module tells in its own words, with a number.
TOLD = ("Exiting because a job execution failed", "RuleException:\nCalledProcessError in file")
FAILED = "WorkflowError:\nAt least one job did not complete successfully"
LEAVING = "Will exit after finishing currently running jobs"  # told again and again
INTERRUPTED = "Terminating processes on user request"  # jobs are killed and fail then


class Terminal:
    """Shows the events of Snakemake's logger; `every`: a line for each job of any run."""

    def __init__(self, every: bool = False, color: bool = True) -> None:
        self.tally, self.every = Tally(), every
        tty, plain = sys.stderr.isatty(), not color or None  # None: as NO_COLOR has it
        self.console = Console(file=sys.stderr, force_terminal=tty, no_color=plain, highlight=False)
        self.live: Live | None = None
        self.printed = self.told = 0  # lines, and jobs that a line has told of
        self.last, self.now = 0.0, 0.0  # seconds since the epoch
        self.hint, self.interrupted, self.unsuccessful, self.leaving = "", False, False, False
        self.first_failure: int | None = None  # lines printed before it

    def show(self, record: logging.LogRecord) -> None:
        """Take one record of Snakemake's logger."""
        self.now = record.created
        match getattr(record, "event", None):
            case LogEvent.RUN_INFO:
                self.started(record.stats)
            case LogEvent.JOB_STARTED:
                for number in record.jobs:
                    self.tally.begin(number, self.now)
            case LogEvent.JOB_INFO:
                self.tally.describe(record.jobid, record.rule_name, job_name(record))
            case LogEvent.JOB_FINISHED:
                self.finished(self.tally.finish(record.job_id, self.now).name)
            case LogEvent.JOB_ERROR:
                self.failed(record)
            case None | LogEvent.ERROR:
                self.message(record)
            # All others, such as Snakemake's own progress and resources, are told otherwise here.

    def started(self, counts: dict[str, int]) -> None:
        """The jobs are known and begin."""
        self.tally.plan(counts, self.now)
        self.last = self.now
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            shown = {"console": self.console, "refresh_per_second": 2, "transient": True}
            self.live = Live(get_renderable=self.view, **shown)
            self.live.start()
        else:
            of = [f"{number} {stage}" for stage, number in self.tally.total.items()]
            if of:
                self.line(f"{jobs(self.tally.total.total())}: {', '.join(of)}")

    def finished(self, name: str) -> None:
        """A line on progress, where one is due and there is no live view."""
        done, total = self.tally.done.total(), self.tally.total.total()
        due = self.every or total <= FEW or self.now - self.last >= PAUSE
        due |= done * LINES // total > self.told * LINES // total
        if self.live is None and due and done < total:
            width = len(str(total))
            self.line(f"{done:{width}} of {total}  {self.clock()}  {name}")
            self.told, self.last = done, self.now

    def failed(self, record: logging.LogRecord) -> None:
        """A line on an attempt that failed, unless the user has ended it."""
        line = failure(job_name(record), record)
        self.tally.fail(record.jobid, line)
        if not self.interrupted:
            self.first_failure = self.printed if self.first_failure is None else self.first_failure
            self.line(line, "red")

    def message(self, record: logging.LogRecord) -> None:
        """A message in words: all warnings and errors, and what is no routine."""
        text = record.getMessage()
        self.interrupted |= text.startswith(INTERRUPTED)
        self.unsuccessful |= text.startswith(FAILED)
        if text.startswith("Complete log(s): "):
            self.hint = text.removeprefix("Complete log(s): ").replace(f"{Path.cwd()}/", "")
        elif text in ("", "None") or text.startswith((*TOLD, FAILED)):
            return
        elif text.startswith(LEAVING) and self.leaving:
            return
        elif record.levelno >= logging.ERROR:
            self.line(text, "red")
        elif record.levelno >= logging.WARNING:
            self.line(text, "yellow")
        elif match := RESTART.match(text):
            name = self.tally.names.get(int(match[1]), f"job {match[1]}")
            self.line(f"to be tried again: {name}", "yellow")
        elif not re.match("|".join(ROUTINE), text):
            self.line(text)
        self.leaving |= text.startswith(LEAVING)

    def close(self) -> None:
        """End the view and tell how the run has ended; nothing where no job was to be run."""
        if self.live is not None:
            self.live.stop()
            self.live = None
        tally, self.tally = self.tally, Tally()  # once: logging closes every handler at exit
        done, total, failed = tally.done.total(), tally.total.total(), tally.failed
        lasted, hint = spoken(self.now - tally.start), f" (Snakemake's log: {self.hint})"
        if not total:
            return
        if done == total:
            again = sum(attempts > 1 for attempts in tally.attempts.values())
            more = f", {again} of them in more than one attempt" if again else ""
            self.line(f"{jobs(total)} in {lasted}{more}", "green")
        elif self.unsuccessful and not (self.interrupted or (self.leaving and not failed)):
            if failed and self.printed - self.first_failure > SCREEN:
                for line in failed.values():
                    self.line(line, "red")
            number = len(failed) or "at least one"
            self.line(f"{number} of {jobs(total)} failed, {done} done in {lasted}{hint}", "red")
        else:
            self.line(f"ended after {lasted}, {done} of {jobs(total)} done: run it again to go on")

    def line(self, text: str, style: str = "") -> None:
        """Print one line, above the live view if there is one."""
        self.printed += 1 + text.count("\n")
        self.console.print(Text(text, style), soft_wrap=True)

    def clock(self) -> str:
        """Time since the start and, as far as it can be told, until the end."""
        left = f"perhaps {spoken(rounded(self.tally.left(self.now)))} left"
        if self.tally.done.total() * LINES < self.tally.total.total():
            left = "time left not known yet"
        return f"{spoken(self.now - self.tally.start)}, {left}"

    def view(self) -> Group:
        """The live view: all jobs, a line for each stage, what runs now."""
        self.now, tally = time.time(), self.tally
        done, total = tally.done.total(), tally.total.total()
        head = Text.assemble((f"{done} of {jobs(total)}", "bold"), f"  {self.clock()}")
        bars = Table.grid(padding=(0, 2))
        running = list(tally.running.values())  # another thread takes the events
        busy = [tally.stage(job.rule) for job in running]
        ended = tally.done
        for stage, number in tally.total.items():
            ready, here = ended[stage], busy.count(stage)
            bar = ProgressBar(number, ready, width=30)
            style = "bold" if here else "dim" if ready == number else ""
            count = Text(f"{ready}/{number}", style, justify="right")
            bars.add_row(Text(stage, style), count, bar, f"{here} running" if here else "")
        runs = Table.grid(padding=(0, 2))
        named = sorted((job for job in running if job.name), key=lambda job: job.started)
        for job in named[:NOW]:
            again = f"attempt {job.attempt}" if job.attempt > 1 else ""
            runs.add_row("now", job.name, spoken(self.now - job.started), again)
        if len(named) > NOW:
            runs.add_row("", f"and {len(named) - NOW} more", "", "")
        return Group(head, Padding(bars, (0, 2)), Padding(runs, (0, 2)))


def job_name(record: logging.LogRecord) -> str:
    """A job by its log: `student alder/csqa/distill/seed1` of logs/tiny/student/alder/....log.

    A variant of a scale is told too; a job without a log has its rule's name and wildcards.
    """
    for log in map(Path, record.log):
        if len(log.parts) > 3 and log.parts[0] == "logs":
            _, scale, stage, *rest = log.with_suffix("").parts
            return f"{stage} {'/'.join(rest)}" + (f" ({scale})" if "-" in scale else "")
    values = (getattr(record, "wildcards", None) or {}).values()
    return " ".join([record.rule_name, *(["/".join(map(str, values))] if values else [])])


def jobs(number: int) -> str:
    """1 job, 2 jobs."""
    return f"{number} job" + "s" * (number != 1)


def rounded(seconds: float) -> float:
    """An estimate without false precision: 10 s, from 10 min on whole minutes."""
    step = 10 if seconds < 600 else 60
    return max(step, round(seconds / step) * step)
