"""Which jobs a scale has: the workflow's own rules of who needs what, counted from the config."""

from __future__ import annotations

from collections import Counter

# Evaluated on the figures' in-domain benchmark whatever Table 1 has: Figures 3 and 5, Table 2.
FIGURES = ("teacher", "finetune", "distill", "first_ts")


def evaluations(config: dict, scale: str, family: str) -> set[tuple[str, str, str, int]]:
    """(corpus, method, benchmark, seed) of each evaluation that `all` needs of one family."""
    settings, methods = config["scales"][scale], config["methods"]
    columns = [(b, corpus) for part in settings["settings"].values() for b, corpus in part.items()]
    shown = settings["figures"].get("benchmark") or next(iter(settings["settings"]["in_domain"]))
    wanted = [(m, b, corpus) for m in config["table1"]["methods"] for b, corpus in columns]
    wanted += [(method, shown, shown) for method in FIGURES]
    if family == settings["figures"]["family"]:
        extra = settings["figures"]["figure6_methods"]
        wanted += [(method, shown, shown) for method in extra]
    found = set()
    for method, benchmark, corpus in wanted:
        objective = methods[method]["objective"]
        seeds = settings["student"]["seeds"]
        for seed in seeds[:1] if objective in ("none", "teacher") else seeds:
            found.add(("none" if objective == "none" else corpus, method, benchmark, seed))
    return found


def students(config: dict, scale: str, family: str) -> Counter:
    """{(corpus, objective): jobs}: the students behind those evaluations."""
    methods, trained = config["methods"], set()
    for corpus, method, _, seed in evaluations(config, scale, family):
        name = methods[method].get("of", method)
        if methods[name]["objective"] in ("hard_labels", "knowledge"):
            trained.add((corpus, name, seed))
    return Counter((corpus, methods[name]["objective"]) for corpus, name, _ in trained)


def evaluated(config: dict, scale: str, family: str) -> dict[str, Counter]:
    """{role of the model: {benchmark: jobs}}, role `teacher` or `student`."""
    found: dict[str, Counter] = {"teacher": Counter(), "student": Counter()}
    for _, method, benchmark, _ in evaluations(config, scale, family):
        entry = config["methods"][method]
        is_teacher = entry["objective"] == "teacher" or entry.get("model") == "teacher"
        found["teacher" if is_teacher else "student"][benchmark] += 1
    return found
