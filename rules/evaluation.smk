"""Stage evaluation: one model on one benchmark, question by question."""


def evaluated_folder(w):
    """Checkpoint folder of a method: base, teacher, a student, or the student that is tempered."""
    results, objective = f"results/{w.scale}", METHODS[w.method]["objective"]
    if objective == "none":
        return f"{results}/models/{scale_of(w)['families'][w.family]['student']}"
    if objective == "teacher":
        return f"{results}/teacher/{w.family}/{w.corpus}"
    trained = METHODS[w.method]["of"] if objective == "posthoc" else w.method
    return f"{results}/student/{w.family}/{w.corpus}/{trained}/seed{w.seed}"


def evaluation_inputs(w):
    """The model's record (and weights, where the workflow trained them) and the test split."""
    folder, objective = evaluated_folder(w), METHODS[w.method]["objective"]
    inputs = {
        "record": f"{folder}/record.json",
        "test": f"results/{w.scale}/data/{w.benchmark}/test.parquet",
    }
    if objective != "none":
        inputs["model"] = f"{folder}/model.safetensors"
    if objective == "posthoc":
        inputs["posthoc"] = f"{folder}/validation.json"
    return inputs


rule evaluation:
    """Predictions, accuracy, ECE (Eq. 1) and trust (Eq. 2) of one model on one test split."""
    input:
        unpack(evaluation_inputs),
    output:
        predictions="results/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/{benchmark}/predictions.parquet",
        ranks="results/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/{benchmark}/ranks.parquet",
        metrics="results/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/{benchmark}/metrics.json",
    log:
        "logs/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/{benchmark}.log",
    benchmark:
        "benchmarks/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/{benchmark}.tsv"
    conda:
        "../envs/train.yaml"
    threads: threads_of("evaluation")
    resources:
        gpu=needs("evaluation", "gpu"),
        mem_mb=needs("evaluation", "mem_mb"),
        runtime=needs("evaluation", "runtime"),
    params:
        model=subpath(input.record, parent=True),
        posthoc=lambda w, input: options(posthoc=input.get("posthoc")),
        inference=inference_options,
        dtype=lambda w: scale_of(w)["dtype"],
        bootstrap=lambda w: scale_of(w)["evaluation"]["bootstrap_seed"],
        identity=lambda w: options(**w),
        folder=subpath(output.metrics, parent=True),
        code=fingerprint("scripts.evaluation"),
    shell:
        """
        python -m scripts.evaluation \
          --model {params.model:q} \
          --test {input.test:q} \
          {params.posthoc:q} {params.inference:q} {params.identity:q} \
          --dtype {params.dtype} \
          --bootstrap-seed {params.bootstrap} \
          --output-dir {params.folder:q} \
          > {log:q} 2>&1
        """
