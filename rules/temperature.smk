"""Stage temperature: the c of Eq. 4, chosen on the validation split only."""


rule temperature:
    """Sweep c over 0.1 .. 1.0, then by 0.02 around the best; lowest ECE wins (section 5.5)."""
    input:
        manifest="results/{scale}/knowledge/{family}/{corpus}/validation/manifest.json",
        store="results/{scale}/knowledge/{family}/{corpus}/validation/knowledge.safetensors",
    output:
        coarse="results/{scale}/temperature/{family}/{corpus}/coarse.csv",
        refined="results/{scale}/temperature/{family}/{corpus}/refined.csv",
        selected="results/{scale}/temperature/{family}/{corpus}/selected.json",
    log:
        "logs/{scale}/temperature/{family}/{corpus}.log",
    benchmark:
        "benchmarks/{scale}/temperature/{family}/{corpus}.tsv"
    conda:
        environment("artifacts")
    threads: lambda w: declared(w, "temperature")["threads"]
    resources:
        **resources_of("temperature"),
    params:
        knowledge=subpath(input.manifest, parent=True),
        k=lambda w: scale_of(w)["knowledge"]["k"],
        bins=lambda w: scale_of(w)["temperature"]["bins"],
        folder=subpath(output.selected, parent=True),
        code=fingerprint("temperature"),
    shell:
        """
        python -m scripts.temperature \
            --knowledge {params.knowledge:q} --k {params.k} --bins {params.bins} \
            --output-dir {params.folder:q} >{log:q} 2>&1
        """


use rule temperature as temperature_of_student with:
    input:
        manifest="results/{scale}/knowledge/{family}/{corpus}/{teacher}/validation/manifest.json",
        store="results/{scale}/knowledge/{family}/{corpus}/{teacher}/validation/knowledge.safetensors",
    output:
        coarse="results/{scale}/temperature/{family}/{corpus}/{teacher}/coarse.csv",
        refined="results/{scale}/temperature/{family}/{corpus}/{teacher}/refined.csv",
        selected="results/{scale}/temperature/{family}/{corpus}/{teacher}/selected.json",
    log:
        "logs/{scale}/temperature/{family}/{corpus}/{teacher}.log",
    benchmark:
        "benchmarks/{scale}/temperature/{family}/{corpus}/{teacher}.tsv"


use rule temperature as temperature_on_task with:
    input:
        manifest="results/{scale}/knowledge/{family}/{corpus}/on-{dataset}/validation/manifest.json",
        store="results/{scale}/knowledge/{family}/{corpus}/on-{dataset}/validation/knowledge.safetensors",
    output:
        coarse="results/{scale}/temperature/{family}/{corpus}/on-{dataset}/coarse.csv",
        refined="results/{scale}/temperature/{family}/{corpus}/on-{dataset}/refined.csv",
        selected="results/{scale}/temperature/{family}/{corpus}/on-{dataset}/selected.json",
    log:
        "logs/{scale}/temperature/{family}/{corpus}/on-{dataset}.log",
    benchmark:
        "benchmarks/{scale}/temperature/{family}/{corpus}/on-{dataset}.tsv"
