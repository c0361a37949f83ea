"""The jobs of a finished small run as shell commands, and the files that each of them writes."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.workflow.copies import output, snakemake

BLOCK = re.compile(r"^rule (\w+):\n(?:    .*\n)+Shell command: *\n(.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One job: the rule, the line that the rule runs, its log, and its files as far as they exist.

    Paths are relative to the folder of the run.
    """

    rule: str
    line: str
    log: str
    folder: Path

    def files(self) -> list[Path]:
        """Every file that it wrote, declared or not."""
        words = shlex.split(self.line)
        for option, pattern in (
            ("--output-dir", "/*"),
            ("--output-prefix", ".*"),
            ("--output", ""),
        ):
            if option in words:
                name = words[words.index(option) + 1]
                return sorted(p for p in self.folder.glob(name + pattern) if p.is_file())
        raise AssertionError(self.line)

    def name(self) -> str:
        """What tells it from others of its rule."""
        return self.log.removeprefix("logs/tiny/").removesuffix(".log")


def jobs(folder: Path) -> list[Job]:
    """The jobs of the whole run in an order in which they can run."""
    process = snakemake(folder, "-n", "-p", "--forceall", "-c1", "--", "all")
    assert process.returncode == 0, output(process)[-3000:]
    found = []
    for rule, text in BLOCK.findall(process.stdout + process.stderr):
        line = " ".join(text.split())
        found.append(Job(rule, line, re.search(r" >(\S+) 2>&1$", line)[1], folder))
    return found


def one_of_each(found: list[Job]) -> list[Job]:
    """The first job of each rule."""
    return list({job.rule: job for job in reversed(found)}.values())[::-1]
