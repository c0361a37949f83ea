"""Stage evaluation: one model on one benchmark, question by question."""


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
        identity=lambda w: options(**w),
        folder=subpath(output.metrics, parent=True),
        code=fingerprint("evaluation"),
    shell:
        """
        python -m scripts.evaluation \
            --model {params.model:q} \
            --test {input.test:q} \
            {params.posthoc:q} {params.inference:q} {params.identity:q} \
            --dtype {params.dtype} \
            --output-dir {params.folder:q} \
            >{log:q} 2>&1
        """
