"""No rules: what tables, figures and claims rest on, and which of them `all` makes."""


def runs(scale, family, method, setting, benchmark, name):
    """A file of each seed's evaluation behind one cell of Table 1."""
    return expand(
        "results/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/{benchmark}/{name}",
        scale=scale,
        family=family,
        corpus=corpus_of(scale, method, setting, benchmark),
        method=method,
        seed=seeds_of(scale, method),
        benchmark=benchmark,
        name=name,
    )


def table_runs(scale, name):
    """A file of every evaluation behind Table 1, each once."""
    files = [
        path
        for family in SCALES[scale]["families"]
        for method in config["table1"]["methods"]
        for setting, benchmark in columns(scale)
        for path in runs(scale, family, method, setting, benchmark, name)
    ]
    return list(dict.fromkeys(files))


def column_runs(scale, methods, name):
    """A file of some methods' evaluations on CommonsenseQA in-domain, over families and seeds."""
    return [
        path
        for family in SCALES[scale]["families"]
        for method in methods
        for path in runs(scale, family, method, "in_domain", figure_benchmark(scale), name)
    ]


def cells(scale):
    """Every cell of Table 1."""
    return [
        f"results/{scale}/tables/table1/cells/{family}/{method}/{setting}-{benchmark}.json"
        for family in SCALES[scale]["families"]
        for method in config["table1"]["methods"]
        for setting, benchmark in columns(scale)
    ]


def searches(scale, name, corpora=None):
    """A file of each temperature search."""
    return expand(
        "results/{scale}/temperature/{family}/{corpus}/{name}",
        scale=scale,
        family=SCALES[scale]["families"],
        corpus=corpora or SCALES[scale]["corpora"],
        name=name,
    )


def family_corpus(scale, corpora=None):
    """Options that name each search or store, in the order of `searches`."""
    pairs = [(f, c) for f in SCALES[scale]["families"] for c in corpora or SCALES[scale]["corpora"]]
    return ["--families", *(f for f, _ in pairs), "--corpora", *(c for _, c in pairs)]


def artifacts(scale):
    """Everything that `all` makes at one scale."""
    return expand(
        "results/{scale}/{name}",
        scale=scale,
        name=[
            "tables/table1.csv",
            "tables/table2.csv",
            "tables/data_report.csv",
            *(f"figures/figure{number}.pdf" for number in (2, 3, 5, 6)),
            "claims.json",
        ],
    )


def uses_search(method):
    """Whether a method's temperature comes from the search."""
    return METHODS[method].get("c") == "selected"


def cell_inputs(w):
    """The seeds' evaluations of one cell, and the search behind a method that uses it."""
    place = (w.scale, w.family, w.method, w.setting, w.benchmark)
    inputs = {
        "predictions": runs(*place, "predictions.parquet"),
        "metrics": runs(*place, "metrics.json"),
    }
    if uses_search(w.method):
        corpus = scale_of(w)["settings"][w.setting][w.benchmark]
        inputs["selected"] = f"results/{w.scale}/temperature/{w.family}/{corpus}/selected.json"
    return inputs


def cell_options(w, input):
    """Identity of a cell, its search and, at paper scale, the printed values."""
    corpus = scale_of(w)["settings"][w.setting][w.benchmark]
    paper = "config/paper_table1.csv" if w.scale == "paper" else None
    return options(**w, corpus=corpus, selected=input.get("selected"), paper_table=paper)


FIGURE5_METHODS = ["teacher", "finetune", "distill", "first_ts"]


def table2_runs(w, name):
    """The three methods' evaluations of one family, first seed, CommonsenseQA in-domain."""
    family = scale_of(w)["figures"]["family"]
    return [
        runs(w.scale, family, method, "in_domain", figure_benchmark(w.scale), name)[0]
        for method in ("finetune", "distill", "first_ts")
    ]


def stores(scale, name):
    """A file of each training split's knowledge store, in the order of `searches`."""
    return expand(
        "results/{scale}/knowledge/{family}/{corpus}/train/{name}",
        scale=scale,
        family=SCALES[scale]["families"],
        corpus=SCALES[scale]["corpora"],
        name=name,
    )


def figure6_methods(w):
    """Students of Figure 6: those at fixed temperatures and the one at the chosen c."""
    return [*scale_of(w)["figures"]["figure6_methods"], "first_ts"]


def figure6_students(w):
    """Evaluations of Figure 6's students on CommonsenseQA in-domain."""
    family = scale_of(w)["figures"]["family"]
    return [
        path
        for method in figure6_methods(w)
        for path in runs(
            w.scale, family, method, "in_domain", figure_benchmark(w.scale), "metrics.json"
        )
    ]


def figure6_temperatures(w):
    """Their temperatures: a number, or the selected.json that holds it."""
    family = scale_of(w)["figures"]["family"]
    selected = f"results/{w.scale}/temperature/{family}/{figure_benchmark(w.scale)}/selected.json"
    return [
        selected if uses_search(method) else str(METHODS[method]["c"])
        for method in figure6_methods(w)
        for _ in seeds_of(w.scale, method)
    ]


def dataset_reports(scale):
    """The report of each prepared dataset of a scale."""
    return [
        f"results/{scale}/data/{name}/report.json" for name in SCALES[scale]["data"]["datasets"]
    ]


def teacher_records(scale):
    """The record of each teacher: what encoding did to its corpus."""
    return expand(
        "results/{scale}/teacher/{family}/{corpus}/record.json",
        scale=scale,
        family=SCALES[scale]["families"],
        corpus=SCALES[scale]["corpora"],
    )
