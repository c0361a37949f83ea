"""Stage data: each dataset as uniform tables, one for each split that its entry has.

Datasets may come from the hub: local rules, unless `fetch.partition` is set.
"""


rule benchmark_data:
    """Official rows to train, validation and test splits."""
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
        dataset=one_of(with_splits("train", "validation", "test")),
    localrule: FETCH_LOCALLY
    conda:
        environment("data")
    resources:
        **FETCH,
        **resources_of("data"),
    params:
        entry=entry_of,
        files=files_of,
        split_seed=lambda w: scale_of(w)["data"]["split_seed"],
        world=lambda w: options(world_settings=scale_of(w)["data"].get("world")),
        folder=subpath(output.report, parent=True),
        code=fingerprint("data"),
    shell:
        """
        python -m scripts.data \
            --dataset {wildcards.dataset} --entry {params.entry:q} \
            --split-seed {params.split_seed} {params.world:q} \
            --output-dir {params.folder:q} >{log:q} 2>&1
        """


use rule benchmark_data as corpus_data with:
    output:
        train="results/{scale}/data/{dataset}/train.parquet",
        validation="results/{scale}/data/{dataset}/validation.parquet",
        report="results/{scale}/data/{dataset}/report.json",
    wildcard_constraints:
        dataset=one_of(with_splits("train", "validation")),
    localrule: FETCH_LOCALLY


use rule benchmark_data as test_data with:
    output:
        test="results/{scale}/data/{dataset}/test.parquet",
        report="results/{scale}/data/{dataset}/report.json",
    wildcard_constraints:
        dataset=one_of(with_splits("test")),
    localrule: FETCH_LOCALLY


use rule benchmark_data as text_data with:
    output:
        train="results/{scale}/data/{dataset}/train.parquet",
        report="results/{scale}/data/{dataset}/report.json",
    wildcard_constraints:
        dataset=one_of(with_splits("train")),
    localrule: FETCH_LOCALLY
