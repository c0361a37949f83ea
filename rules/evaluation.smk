"""Stage evaluation: one model on all its benchmarks, question by question."""

# Folder of the evaluated checkpoint, with wildcards: an untuned base, a teacher or a student.
EVALUATED = branch(
    lambda w: METHODS[w.method]["objective"],
    cases={
        "none": lambda w: "results/{scale}/models/"
        + family_of(w)[METHODS[w.method].get("model") or "student"],
        "teacher": "results/{scale}/teacher/{family}/{corpus}",
    },
    otherwise="results/{scale}/student/{family}/{corpus}/{method}/seed{seed}",
)


rule evaluation:
    """Predictions, accuracy, ECE (Eq. 1) and trust (Eq. 2) of one model on its test splits.

    At T = 1 and, where the model was trained here, at its post-hoc temperatures, in one pass.
    Weights of untuned models may lie elsewhere (a cache of the hub): their record stands for them.
    """
    input:
        record=lambda w: f"{EVALUATED(w)}/record.json",
        model=lambda w: [] if w.corpus == "none" else f"{EVALUATED(w)}/model.safetensors",
        posthoc=lambda w: [] if w.corpus == "none" else f"{EVALUATED(w)}/validation.json",
        tests=collect("results/{{scale}}/data/{name}/test.parquet", name=benchmarks_of),
    output:
        predictions="results/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/predictions.parquet",
        ranks="results/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/ranks.parquet",
        metrics="results/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/metrics.json",
    log:
        "logs/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}.log",
    benchmark:
        "benchmarks/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=one_of(METHODS.keys() - of_objective("posthoc")),
    conda:
        environment("train")
    threads: lambda w: declared(w, "evaluation")["threads"]
    resources:
        **resources_of("evaluation"),
    params:
        model=subpath(input.record, parent=True),
        benchmarks=benchmarks_of,
        inference=lambda w: options(
            **scale_of(w)["evaluation"], bos=family_of(w).get("bos"), dtype=scale_of(w)["dtype"]
        ),
        folder=subpath(output.metrics, parent=True),
        code=fingerprint("evaluation"),
    shell:
        """
        python -m scripts.evaluation \
            --model {params.model:q} \
            --benchmarks {params.benchmarks:q} --tests {input.tests:q} \
            --posthoc {input.posthoc:q} {params.inference:q} \
            --scale {wildcards.scale} --family {wildcards.family} --corpus {wildcards.corpus} \
            --method {wildcards.method} --seed {wildcards.seed} \
            --output-dir {params.folder:q} >{log:q} 2>&1
        """
