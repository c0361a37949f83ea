"""No rules: the models and searches behind an artifact, as folders below those of their stages."""

from pathlib import Path
from types import SimpleNamespace

from first_distill.config.datasets import hint
from first_distill.config.variants import with_same_teacher

ABLATIONS = config["ablations"]


def shown_benchmark(w):
    """The benchmark of Figures 3, 5 and 6 and of Table 2."""
    return scale_of(w)["figures"].get("benchmark") or COLUMNS[w.scale][0][1]


def shown_corpus(w):
    """The corpus of the first column with that benchmark."""
    return next(c for _, b, c in COLUMNS[w.scale] if b == shown_benchmark(w))


def teachers_of(w):
    """{family}/{corpus} of each teacher, its knowledge and its search; families first."""
    corpora = dict.fromkeys(corpus for _, _, corpus in COLUMNS[w.scale])
    return [f"{family}/{corpus}" for family in scale_of(w)["families"] for corpus in corpora]


def taught(family, corpus, method):
    """{family}/{corpus} of the knowledge behind a method, then its own teacher or its draws."""
    own, draws = METHODS[method].get("teacher"), METHODS[method].get("draws")
    last = own or (f"sampled-{draws}" if draws else "")
    return f"{family}/{corpus}/{last}" if last else f"{family}/{corpus}"


def searched(family, corpus, method):
    """{family}/{corpus} of the search for a method's c: on another dataset with `c_from`."""
    dataset, folder = METHODS[method].get("c_from"), taught(family, corpus, method)
    return f"{folder}/on-{dataset}" if dataset else folder


def models_of(w, methods, corpora, families=None):
    """{family}/{corpus}/{method}/seed{seed} of each model of some methods and corpora, once.

    A post-hoc temperature is evaluated with the model that it is for.
    """
    models = {}
    for family, method, corpus in product(families or scale_of(w)["families"], methods, corpora):
        method = METHODS[method].get("of", method)
        objective, seeds = METHODS[method]["objective"], scale_of(w)["student"]["seeds"]
        corpus = "none" if objective == "none" else corpus
        for seed in seeds[:1] if objective in ("none", "teacher") else seeds:  # one seed exists
            models[f"{family}/{corpus}/{method}/seed{seed}"] = None
    return list(models)


def posthoc_of(methods):
    """Each post-hoc temperature among some methods as scripts.artifacts wants it: NAME=OF:FIT."""
    found = {name: METHODS[name] for name in methods if METHODS[name]["objective"] == "posthoc"}
    return [f"{name}={method['of']}:{method['fit']}" for name, method in found.items()]


def first_student(w):
    """Folder of the student that is the teacher in self-distillation."""
    seed = scale_of(w)["student"]["seeds"][0]
    return f"results/{w.scale}/student/{w.family}/{w.corpus}/{w.teacher}/seed{seed}"


def table2_runs(w):
    """One model of each method of Table 2, of the family that is shown."""
    methods, family = ("finetune", "distill", "first_ts"), scale_of(w)["figures"]["family"]
    return [models_of(w, [method], [shown_corpus(w)], [family])[0] for method in methods]


def c_of(scale, family, corpus, method):
    """A method's c: a number, or the selected.json that holds it."""
    if METHODS[method]["c"] != "selected":
        return str(METHODS[method]["c"])
    return f"results/{scale}/temperature/{searched(family, corpus, method)}/selected.json"


def figure6_students(w):
    """{model: its temperature, a number or the selected.json that holds it} of Figure 6, right.

    Students of the first seed.
    """
    family, corpus = scale_of(w)["figures"]["family"], shown_corpus(w)
    return {
        model: c_of(w.scale, family, corpus, method)
        for method in [*scale_of(w)["figures"]["figure6_methods"], "first_ts"]
        for model in models_of(w, [method], [corpus], [family])[:1]
    }


def students_of(scale):
    """{family}/{corpus}/{method}/seed{seed} of each student behind the artifacts of a scale."""
    w = SimpleNamespace(scale=scale)
    runs = dict.fromkeys([*trained_runs(w), *figure6_students(w)])
    return [run for run in runs if METHODS[Path(run).parts[2]]["objective"] != "teacher"]


def ablation_columns(scale, name):
    """(setting, benchmark, corpus) of an ablation's columns; [] if the scale has no such."""
    own = [column for column in COLUMNS[scale] if column[1] == column[2]]
    foreign = [column for column in COLUMNS[scale] if column[1] != column[2]]
    chosen = {"first": own[:1], "in_domain": own, "out_of_domain": foreign, "all": COLUMNS[scale]}
    return chosen[ABLATIONS[name].get("columns", "first")]


def ablations_of(w):
    """Names of the ablations for which a scale has columns."""
    return [name for name in ABLATIONS if ablation_columns(w.scale, name)]


def ablation_models(w):
    """(families, corpora) of the models of an ablation."""
    everywhere = ABLATIONS[w.ablation].get("families") == "all"
    families = scale_of(w)["families"] if everywhere else [scale_of(w)["figures"]["family"]]
    columns = ablation_columns(w.scale, w.ablation)
    return list(families), list(dict.fromkeys(corpus for _, _, corpus in columns))


def compared(w):
    """Points and lines of an ablation, each with the scale or variant that it is of.

    leakage: its c comes from the validation split of another dataset. The other keys:
    first_distill/reporting/ablations/points.py.
    """
    if w.ablation not in ABLATIONS:
        sys.exit(f"error: no ablation {w.ablation!r}: {hint(w.ablation, ABLATIONS)}")
    families, corpora = ablation_models(w)
    if not corpora:
        sys.exit(f"error: ablation {w.ablation}: scale {w.scale} has none of its columns")
    lines = [{"method": name, "line": True} for name in ABLATIONS[w.ablation].get("lines", ())]
    found = []
    for point in [*ABLATIONS[w.ablation]["points"], *lines]:
        name, scale = point["method"], VARIANT.join(filter(None, [w.scale, point.get("variant")]))
        point = {**point, "scale": scale, "leakage": "c_from" in METHODS[name]}
        if METHODS[METHODS[name].get("of", name)]["objective"] in ("teacher", "knowledge"):
            point["teacher"] = with_same_teacher(SCALES, scale)
            point["recipe"] = with_same_teacher(SCALES, scale, seed=False)
        if "c" in METHODS[name]:
            point["c"] = {
                corpus: [c_of(scale, family, corpus, name) for family in families]
                for corpus in corpora
            }
        found.append(point)
    return found


def ablation_runs(w):
    """Folder of each evaluation of an ablation, once."""
    found = {}
    for point in compared(w):
        scale = SimpleNamespace(scale=point["scale"])
        families, corpora = ablation_models(w)
        for run in models_of(scale, [point["method"]], corpora, families):
            found[f"results/{scale.scale}/evaluation/{run}"] = None
    return list(found)


def ablation_searches(w):
    """The selected.json behind each c of an ablation that was searched, once."""
    words = [c for point in compared(w) for own in point.get("c", {}).values() for c in own]
    return [c for c in dict.fromkeys(words) if c.endswith(".json")]


def ablation_entry(w):
    """What is compared, as JSON."""
    entry = {"name": w.ablation, **ABLATIONS[w.ablation], "points": compared(w)}
    entry["columns"] = ablation_columns(w.scale, w.ablation)
    return json.dumps(entry, sort_keys=True)
