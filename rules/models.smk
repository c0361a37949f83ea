"""Stage models: base checkpoints with a record of where they came from."""


def tokenizer_text(w):
    """Training splits that a tokenizer is trained on."""
    return expand(
        "results/{scale}/data/{corpus}/train.parquet",
        scale=w.scale,
        corpus=scale_of(w)["tokenizers"][w.tokenizer].get("text", []),
    )


def tokenizer_options(w):
    """Options of one tokenizer."""
    settings = scale_of(w)["tokenizers"][w.tokenizer]
    words = options(kind=settings["kind"], vocabulary_size=settings.get("vocabulary_size"))
    if settings["kind"] == "world":
        words += ["--world-settings", json.dumps(scale_of(w)["data"]["world"], sort_keys=True)]
    return words


rule tokenizer:
    """The tokenizer that a pretrained family's teacher and student share."""
    input:
        text=tokenizer_text,
    output:
        tokenizer="results/{scale}/models/tokenizers/{tokenizer}/tokenizer.json",
        settings="results/{scale}/models/tokenizers/{tokenizer}/tokenizer_config.json",
    log:
        "logs/{scale}/models/tokenizers/{tokenizer}.log",
    benchmark:
        "benchmarks/{scale}/models/tokenizers/{tokenizer}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=needs("data", "mem_mb"),
        runtime=needs("data", "runtime"),
    params:
        settings=tokenizer_options,
        text=lambda w, input: ["--text", *input.text] if input.text else [],
        folder=subpath(output.tokenizer, parent=True),
        code=fingerprint("scripts.models"),
    shell:
        """
        python -m scripts.models tokenizer \
          {params.settings:q} {params.text:q} \
          --output-dir {params.folder:q} \
          > {log:q} 2>&1
        """


def recipe_of(w):
    """How a model is pretrained."""
    return scale_of(w)["models"][w.model]["pretrain"]


def pretraining_inputs(w):
    """Text, tokenizer and, where there is one, the checkpoint to continue from."""
    recipe, folder = recipe_of(w), f"results/{w.scale}/models"
    inputs = {
        "text": [f"results/{w.scale}/data/{name}/train.parquet" for name in recipe["text"]],
        "tokenizer": f"{folder}/tokenizers/{recipe['tokenizer']}/tokenizer.json",
        "settings": f"{folder}/tokenizers/{recipe['tokenizer']}/tokenizer_config.json",
    }
    if "start_from" in recipe:
        inputs["start"] = f"{folder}/pretrained/{recipe['start_from']}/record.json"
    return inputs


def pretraining_options(w):
    """Options of one pretraining run."""
    recipe = {k: v for k, v in recipe_of(w).items() if k not in ("text", "tokenizer")}
    start = recipe.pop("start_from", None)
    if start:
        recipe["start_from"] = f"results/{w.scale}/models/pretrained/{start}"
    else:
        recipe["architecture"] = json.dumps(recipe["architecture"], sort_keys=True)
    return options(**recipe)


rule pretrained_model:
    """A base checkpoint from nothing: brief pretraining on this scale's own text."""
    input:
        unpack(pretraining_inputs),
    output:
        "results/{scale}/models/pretrained/{model}/record.json",
    log:
        "logs/{scale}/models/pretrained/{model}.log",
    benchmark:
        "benchmarks/{scale}/models/pretrained/{model}.tsv"
    conda:
        "../envs/train.yaml"
    threads: threads_of("models")
    resources:
        gpu=needs("models", "gpu"),
        mem_mb=needs("models", "mem_mb"),
        runtime=needs("models", "runtime"),
    params:
        settings=pretraining_options,
        tokenizer=subpath(input.tokenizer, parent=True),
        folder=subpath(output[0], parent=True),
        code=fingerprint("scripts.models"),
    shell:
        """
        python -m scripts.models pretrain \
          --text {input.text:q} \
          --tokenizer {params.tokenizer:q} \
          {params.settings:q} \
          --output-dir {params.folder:q} \
          > {log:q} 2>&1
        """


def base_model_inputs(w):
    """A model that is pretrained here waits for its pretraining; others need nothing."""
    model = scale_of(w)["models"][w.model]
    local = "bundled" not in model and "hub" not in model
    return f"results/{w.scale}/models/pretrained/{w.model}/record.json" if local else []


def base_model_options(w):
    """Command and options that bring a base checkpoint into the models folder."""
    model = scale_of(w)["models"][w.model]
    if "hub" in model:
        return ["hub", *options(**model["hub"])]
    pretrained = f"results/{w.scale}/models/pretrained/{w.model}"
    return ["copy", *options(source=model.get("bundled", pretrained))]


def bundle_digest(w):
    """sha256 of a shipped checkpoint's record: another bundle reruns what rests on it."""
    bundled = scale_of(w)["models"][w.model].get("bundled")
    record = Path(workflow.basedir) / str(bundled) / "record.json"
    return sha256_file(record) if record.is_file() else None


rule base_model:
    """A base checkpoint with its record: shipped, pretrained here, or resolved on the hub."""
    input:
        base_model_inputs,
    output:
        "results/{scale}/models/{model}/record.json",
    log:
        "logs/{scale}/models/{model}.log",
    benchmark:
        "benchmarks/{scale}/models/{model}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=needs("data", "mem_mb"),
        runtime=needs("data", "runtime"),
    params:
        settings=base_model_options,
        bundle=bundle_digest,
        folder=subpath(output[0], parent=True),
        code=fingerprint("scripts.models"),
    shell:
        """
        python -m scripts.models {params.settings:q} \
          --output-dir {params.folder:q} \
          > {log:q} 2>&1
        """
