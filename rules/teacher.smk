"""Stage teacher: the large model of a family, fine-tuned on a corpus with hard labels."""


rule teacher:
    """Fine-tune the teacher with hard labels on the 90 % (paper, appendix A.1)."""
    input:
        base=lambda w: f"results/{w.scale}/models/{family_of(w)['teacher']}/record.json",
        train="results/{scale}/data/{corpus}/train.parquet",
        validation="results/{scale}/data/{corpus}/validation.parquet",
    output:
        model="results/{scale}/teacher/{family}/{corpus}/model.safetensors",
        config="results/{scale}/teacher/{family}/{corpus}/config.json",
        validation="results/{scale}/teacher/{family}/{corpus}/validation.json",
        record="results/{scale}/teacher/{family}/{corpus}/record.json",
    log:
        "logs/{scale}/teacher/{family}/{corpus}.log",
    benchmark:
        "benchmarks/{scale}/teacher/{family}/{corpus}.tsv"
    priority: 50  # first: students with hard labels do not wait for it
    conda:
        environment("train")
    threads: lambda w: declared(w, "teacher")["threads"]
    resources:
        **resources_of("teacher"),
        slurm_extra=warned("teacher"),
    params:
        launch=launched("teacher"),
        base=subpath(input.base, parent=True),
        # Options of the optimizer, encoding and validation, as in student.smk.
        training=lambda w: training_options(w, "teacher", scale_of(w)["teacher"]["seed"]),
        folder=subpath(output.record, parent=True),
        state="results/{scale}/.state/teacher/{family}/{corpus}",
        code=fingerprint("teacher"),
    shell:
        """
        python -m {params.launch} scripts.teacher \
            --model {params.base:q} \
            --train {input.train:q} --validation {input.validation:q} \
            {params.training:q} \
            --output-dir {params.folder:q} --state-dir {params.state:q} >{log:q} 2>&1
        """
