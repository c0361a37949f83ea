"""Jobs of a run as its events tell them: how many of which stage, what runs, how long it may take.

A stage is a file of rules: rules/student.smk has those of stage student. A rule of no such file is
a stage of its own, but for targets (`all`), which belong to none.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from first_distill import ROOT

TARGETS = ""  # the stage of rules of the Snakefile, which make no file


@dataclass
class Job:
    """A job that has been started; `started` in seconds since the epoch, 1 is the first attempt."""

    rule: str
    started: float
    attempt: int = 1
    name: str = ""


@dataclass
class Tally:
    """What is done, runs and is left; `start` and every `now` in seconds since the epoch."""

    start: float = 0.0
    planned: Counter = field(default_factory=Counter)  # jobs by rule, as are the next two
    finished: Counter = field(default_factory=Counter)
    seconds: defaultdict = field(default_factory=lambda: defaultdict(float))
    running: dict[int, Job] = field(default_factory=dict)  # by Snakemake's job id, as are these
    attempts: Counter = field(default_factory=Counter)
    names: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)  # how they did, unless a retry succeeded
    stages: dict[str, str] = field(default_factory=lambda: stages())

    def plan(self, counts: dict[str, int], now: float) -> None:
        """Begin with so many jobs of each rule; Snakemake's `total` is not one."""
        self.start = now
        order = {rule: at for at, rule in enumerate(self.stages)}
        for rule in sorted(counts, key=lambda rule: order.get(rule, len(order))):
            if rule != "total" and self.stage(rule) != TARGETS:
                self.planned[rule] = counts[rule]

    @property
    def total(self) -> Counter:
        """Jobs of the run by stage, in the order of the Snakefile; without targets."""
        return self._by_stage(self.planned)

    @property
    def done(self) -> Counter:
        """Those of them that have succeeded."""
        return self._by_stage(self.finished)

    def _by_stage(self, jobs: Counter) -> Counter:
        found = Counter()
        for rule, number in jobs.items():
            found[self.stage(rule)] += number
        return found

    def begin(self, number: int, now: float) -> int:
        """A job is started: which attempt it is."""
        self.attempts[number] += 1
        self.running[number] = Job("", now, self.attempts[number])
        return self.attempts[number]

    def describe(self, number: int, rule: str, name: str) -> None:
        """Tell the rule and the name of a job that is started."""
        if job := self.running.get(number):
            self.running[number] = replace(job, rule=rule, name=name)
            self.names[number] = name

    def finish(self, number: int, now: float) -> Job:
        """A job has succeeded."""
        job = self.running.pop(number, Job("", now))
        self.failed.pop(number, None)
        if job.rule in self.planned:
            self.finished[job.rule] += 1
            self.seconds[job.rule] += now - job.started
        return job

    def fail(self, number: int, line: str) -> None:
        """An attempt of a job has failed."""
        self.running.pop(number, None)
        self.failed[number] = line

    def stage(self, rule: str) -> str:
        """The stage of a rule."""
        return self.stages.get(rule, rule)

    def left(self, now: float) -> float:
        """Seconds until the end, roughly; 0 before any job is done.

        Jobs to come take the mean of those of their rule that are done, or of all where none is;
        as many run at a time as did on average.
        """
        jobs, spent = self.finished.total(), sum(self.seconds.values())
        running = list(self.running.values())  # the live view is drawn in a thread of its own
        ages = [(job.rule, now - job.started) for job in running]
        busy = spent + sum(age for _, age in ages)
        if not jobs or not busy:
            return 0.0
        work = 0.0
        for rule, number in self.planned.items():
            waiting = number - self.finished[rule]
            mean = self.seconds[rule] / self.finished[rule] if self.finished[rule] else spent / jobs
            begun = [age for other, age in ages if other == rule]
            work += (waiting - len(begun)) * mean + sum(max(0.0, mean - age) for age in begun)
        return work * max(now - self.start, 1e-9) / busy


def stages() -> dict[str, str]:
    """{rule: stage}, in the order in which the Snakefile includes the files of rules.

    Empty where the package is installed without the workflow.
    """
    snakefile, found = ROOT / "Snakefile", {}
    if not snakefile.is_file():
        return {}
    text = snakefile.read_text(encoding="utf-8")
    for name in re.findall(r'^include: "rules/(\w+)\.smk"$', text, re.M):
        rules = (ROOT / f"rules/{name}.smk").read_text(encoding="utf-8")
        # `rule a:`, `use rule a as b with:`
        for rule in re.findall(
            r"^(?:rule|checkpoint|use rule \w+ as) (\w+)(?: with)?:$", rules, re.M
        ):
            found[rule] = name
    return found | dict.fromkeys(re.findall(r"^rule (\w+):$", text, re.M), TARGETS)


def spoken(seconds: float) -> str:
    """A time as people say it: < 1 s, 8 s, 3 min 20 s, 2 h 5 min, 3 days 4 h."""
    for unit, (name, smaller, part) in {
        86400: ("days", "h", 3600),
        3600: ("h", "min", 60),
        60: ("min", "s", 1),
    }.items():
        if round(seconds) >= unit:
            whole, rest = divmod(round(seconds), unit)
            name = "day" if (name, whole) == ("days", 1) else name
            return f"{whole} {name}" + (f" {rest // part} {smaller}" if rest // part else "")
    return "< 1 s" if 0 < seconds < 0.5 else f"{round(seconds)} s"
