"""Snakemake's logger `first`: stages, what runs now, time left; failures in one line each."""

import logging
from dataclasses import dataclass, field

from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

UNSEEN = {Quietness.HOST, Quietness.REASON}  # parts that this logger leaves out anyway


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Options of the command line and of profiles: --logger-first-jobs."""

    jobs: bool = field(default=False, metadata={"help": "A line for each job where no terminal is"})


class LogHandler(LogHandlerBase):
    """Shows a run.

    Dry runs, and whoever asks for more (--verbose, --printshellcmds, --show-failed-logs,
    --debug-dag) or less (--quiet), have Snakemake's own output.
    """

    def __post_init__(self) -> None:
        asked = self.common_settings
        more = asked.dryrun or asked.printshellcmds or asked.verbose or asked.debug_dag
        more = more or asked.show_failed_logs
        self.own = not more and not set(asked.quiet or ()) - UNSEEN
        if not self.own:
            return
        # Not at the head: Snakemake imports every logger that is installed, wherever it runs.
        from first_distill.runtime.terminal import Terminal

        every = self.settings is not None and self.settings.jobs
        self.terminal = Terminal(every, color=not asked.nocolor)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record of Snakemake's logger."""
        if self.own:
            try:
                self.terminal.show(record)
            except Exception:  # a message must not end a run
                self.handleError(record)

    def close(self) -> None:
        """End the view with a line on how the run went."""
        if self.own:
            self.terminal.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """Whether this logger takes the place of Snakemake's own."""
        return self.own

    @property
    def writes_to_file(self) -> bool:
        """Snakemake's own log file is written all the same."""
        return False

    @property
    def has_filter(self) -> bool:
        """No filter of Snakemake is wanted."""
        return True

    @property
    def has_formatter(self) -> bool:
        """No formatter of Snakemake is wanted."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """The counts of jobs are enough."""
        return False
