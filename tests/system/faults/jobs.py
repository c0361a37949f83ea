"""The jobs of a finished small run as shell commands, and the files that each of them writes."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.system.workflow.copies import output, snakemake

BLOCK = re.compile(r"^rule (\w+):\n(?:    .*\n)+Shell command: *\n(.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One job: the rule, the line that the rule runs, its log, the folder of the run."""

    rule: str
    line: str
    log: str
    folder: Path

    def files(self) -> list[Path]:
        """Every file that it wrote, declared or not, relative to the folder."""
        words = shlex.split(self.line)
        for option, rest in (("--output-dir", "/*"), ("--output-prefix", ".*"), ("--output", "")):
            if option in words:
                found = self.folder.glob(words[words.index(option) + 1] + rest)
                return sorted(p.relative_to(self.folder) for p in found if p.is_file())
        raise AssertionError(self.line)


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
