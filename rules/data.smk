"""Stage data: each dataset as one uniform table, split train 90 / validation 10 / test.

Datasets may come from the hub: local rules, unless `fetch.partition` is set. Those without
a test split are the datasets that no scale tests on, and the generated pretraining text.
"""


rule benchmark_data:
    """Official rows to train, validation and test splits of one benchmark."""
    output:
        train="results/{scale}/data/{dataset}/train.parquet",
        validation="results/{scale}/data/{dataset}/validation.parquet",
        test="results/{scale}/data/{dataset}/test.parquet",
        report="results/{scale}/data/{dataset}/report.json",
    log:
        "logs/{scale}/data/{dataset}.log",
    benchmark:
        "benchmarks/{scale}/data/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(BENCHMARKS),
    localrule: FETCH_LOCALLY
    conda:
        environment("data")
    resources:
        **FETCH,
        **resources_of("data"),
    params:
        source=lookup("{scale}/data/source", within=SCALES),
        split_seed=lookup("{scale}/data/split_seed", within=SCALES),
        validation_share=lookup("{scale}/data/validation_share", within=SCALES),
        rows=lambda w: options(**scale_of(w)["data"]["datasets"][w.dataset]),
        world=lambda w: options(world_settings=scale_of(w)["data"].get("world")),
        folder=subpath(output.report, parent=True),
        code=fingerprint("data"),
    shell:
        """
        python -m scripts.data \
            --dataset {wildcards.dataset} --source-kind {params.source} \
            --split-seed {params.split_seed} --validation-share {params.validation_share} \
            {params.rows:q} {params.world:q} \
            --output-dir {params.folder:q} >{log:q} 2>&1
        """


use rule benchmark_data as corpus_data with:
    output:
        train="results/{scale}/data/{dataset}/train.parquet",
        validation="results/{scale}/data/{dataset}/validation.parquet",
        report="results/{scale}/data/{dataset}/report.json",
    wildcard_constraints:
        dataset=one_of(names_of("corpora") - BENCHMARKS),
    localrule: FETCH_LOCALLY


use rule benchmark_data as pretraining_data with:
    output:
        train="results/{scale}/data/{dataset}/train.parquet",
        report="results/{scale}/data/{dataset}/report.json",
    wildcard_constraints:
        dataset="pretraining",
    resources:
        **resources_of("data"),
