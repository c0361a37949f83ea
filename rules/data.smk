"""Stage data: each dataset as one uniform table, split train 90 / validation 10 / test.

Benchmarks and Alpaca may come from the hub: local rules, unless `fetch.partition` sends them away.
"""


rule benchmark_data:
    """Official rows to train, validation and test splits of one benchmark."""
    output:
        train="results/{scale}/data/{benchmark}/train.parquet",
        validation="results/{scale}/data/{benchmark}/validation.parquet",
        test="results/{scale}/data/{benchmark}/test.parquet",
        report="results/{scale}/data/{benchmark}/report.json",
    log:
        "logs/{scale}/data/{benchmark}.log",
    benchmark:
        "benchmarks/{scale}/data/{benchmark}.tsv"
    localrule: FETCH_LOCALLY
    conda:
        "../envs/data.yaml"
    threads: 1
    resources:
        **fetch_partition(),
        mem_mb=needs("data", "mem_mb"),
        runtime=needs("data", "runtime"),
    params:
        settings=lambda w: data_options(w, w.benchmark),
        folder=subpath(output.report, parent=True),
        code=fingerprint("data"),
    shell:
        """
        python -m scripts.data prepare \
            {params.settings:q} \
            --output-dir {params.folder:q} \
            >{log:q} 2>&1
        """


use rule benchmark_data as alpaca_data with:
    output:
        train="results/{scale}/data/alpaca/train.parquet",
        validation="results/{scale}/data/alpaca/validation.parquet",
        report="results/{scale}/data/alpaca/report.json",
    log:
        "logs/{scale}/data/alpaca.log",
    benchmark:
        "benchmarks/{scale}/data/alpaca.tsv"
    localrule: FETCH_LOCALLY
    params:
        settings=lambda w: data_options(w, "alpaca"),
        folder=subpath(output.report, parent=True),
        code=fingerprint("data"),


use rule benchmark_data as pretraining_data with:
    output:
        train="results/{scale}/data/pretraining/train.parquet",
        report="results/{scale}/data/pretraining/report.json",
    log:
        "logs/{scale}/data/pretraining.log",
    benchmark:
        "benchmarks/{scale}/data/pretraining.tsv"
    resources:
        mem_mb=needs("data", "mem_mb"),
        runtime=needs("data", "runtime"),
    params:
        settings=lambda w: data_options(w, "pretraining"),
        folder=subpath(output.report, parent=True),
        code=fingerprint("data"),
