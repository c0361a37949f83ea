"""The configuration as pydantic models: local paths, methods, Table 1, and the scales."""

from typing import Annotated, Literal

from first_distill.config.ablations import Ablation, Variant
from first_distill.config.datasets import Dataset, Prompt
from first_distill.config.types import (
    Bundled,
    C,
    ClaimId,
    Columns,
    Commit,
    Folder,
    Fraction,
    HubId,
    Model,
    ModelName,
    Name,
    Names,
    Null,
    Number,
    Official,
    Partition,
    Positions,
    Positive,
    Questions,
    Recalibration,
    Rows,
    ScaleName,
    Seed,
    Share,
    Size,
    Split,
    Stage,
    StudentSide,
    Text,
    Unique,
    Weight,
    Whole,
    key,
)


class Pretraining(Model):
    memo: Number = key("Lettered lists with picks.", ge=0, le=1000)
    sheet: Number = key("Facts of an entity.", ge=0, le=1000)
    report: Number = key("Claims with witnesses.", ge=0, le=1000)
    quiz: Number = key("Lettered exam questions.", ge=0, le=1000)
    reading: Number = key("Passages with a question of yes or no.", ge=0, le=1000)
    task: Number = key("Instructions with responses.", ge=0, le=1000)
    facts: Size = key("Facts in a sheet.")
    care: Positive = key("Sharpness of answers in exams, relative to the benchmarks' annotators.")
    favour_first: Weight = key("Log odds of an exam's first choice against its last.")
    favour_yes: Weight = key("Log odds added to Yes in exams.")


class World(Model):
    seed: Seed = key("Seed of the world.")
    entities: Whole = key("Entities that questions ask about.", ge=2, le=100_000)
    names: Whole = key("Rare names: incidental detail of questions.", ge=2, le=100_000)
    rank: Whole = key("Rank of the entity-specific preferences.", ge=1, le=1000)
    popularity: Share = key("Share of plausibility that is common to all entities.")
    sharpness: Positive = key("Sharpness of an annotator's draw; lower is noisier.")
    claim_weight: Weight = key("Weight of a claim's plausibility in BoolQ-like answers.")
    verb_weight: Weight = key("Weight of the witnesses' verbs in BoolQ-like answers.")
    claim_bias: Weight = key("Log odds added to every claim.")
    train_pairs: Rows = key("(entity, relation) pairs of training and validation rows.")
    test_pairs: Rows = key("Pairs of test rows; exams of the pretraining text have the rest.")
    letter_share: Share = key("Share of Alpaca-like rows with lettered choices.")
    sizes: dict[Official, dict[Split, Rows]] = key("Rows of each official split.")
    pretraining: Pretraining = key("Shares of the kinds of pretraining text.")


class Hub(Model):
    repo: HubId = key("Id on the hub.")
    revision: Commit = key("Full commit on the hub.")


class Data(Model):
    split_seed: Seed = key("Seed of the split of official training rows.")
    validation_share: Fraction = key("Share of the training rows held out for the temperature.")
    train_share: Fraction = key("Train on this share of each training split; default all.", None)
    world: World = key("The world (first_distill/world) that generates all datasets.", None)
    rows: dict[Name, dict[Split, Rows]] = key("Draw so many rows of a dataset's splits.", None)


class Tokenizer(Model):
    kind: Literal["world", "bpe"] = key("Words of the generated world, or byte-level BPE.")
    text: Text = key("Datasets whose training splits train the BPE.", None, min_length=1)
    vocabulary_size: Whole = key("Size of the BPE.", None, ge=300, le=2**20)


class Architecture(Model):
    hidden_size: Size = key("Width.")
    intermediate_size: Size = key("Width of the feed-forward layers.")
    num_hidden_layers: Whole = key("Layers.", ge=1, le=4096)
    num_attention_heads: Whole = key("Attention heads; they divide the width.", ge=1, le=4096)
    num_key_value_heads: Whole = key("Key/value heads; default: one per head.", None, ge=1, le=4096)
    max_position_embeddings: Size = key("Longest input in tokens.", None)
    tie_word_embeddings: bool = key("Share the matrix of input and output embeddings.", None)
    attention_bias: bool = key("Biases in the attention projections.", None)
    initializer_range: Number = key("Standard deviation of initial weights.", None, gt=0, le=10)


class Schedule(Model):
    epochs: Positive = key("Passes over the training split.")
    batch_size: Size = key("Rows of one optimizer step over all devices.")
    length_pool: Size = key("Batches whose rows are sorted by length together; default 128.", None)
    learning_rate: Number = key("Peak of the cosine schedule.", gt=0, le=10)
    warmup_ratio: Share = key("Share of the steps that warm up.", None)
    weight_decay: Number = key("Weight decay of AdamW.", None, ge=0, le=10)


class Recipe(Schedule):
    tokenizer: Name = key("Entry of `tokenizers`.")
    text: Text = key("Datasets whose training splits are read.", min_length=1)
    architecture: Architecture = key("LlamaConfig of a model with random weights.", None)
    start_from: ModelName = key("Model to continue from, instead of `architecture`.", None)
    supervise: Literal["all", "response"] = key("Tokens that the loss covers.")
    max_rows: Rows = key("Use this many rows, drawn by the seed.", None)
    block_length: Size = key("Longest row in tokens; longer rows are cut.")
    seed: Seed = key("Seed of the weights and the order of rows.")


class Prune(Model):
    source: ModelName = key("Model whose layers are kept, evenly spaced.", alias="from")
    layers: Whole = key("How many; the first and the last are among them.", ge=2, le=4096)


class Checkpoint(Model):
    hub: Hub = key("A model on the hub, instead of `bundled` and `pretrain`.", None)
    prune: Prune = key("A smaller model from another one, instead of the others.", None)
    folder: Folder = key("Your own folder in Hugging Face layout.", None, min_length=1)
    weights: Literal["pickle"] = key("Allow pickles of hub or folder: converted once.", None)
    bundled: Bundled | None = key(
        "Folder in this repository; `pretrain` may record its recipe; null: made by that recipe.",
        None,
    )
    pretrain: Recipe = key("Pretraining from this scale's own text.", None)


class Family(Model):
    teacher: ModelName = key("Model that is fine-tuned as teacher.")
    student: ModelName = key("Model that every student starts from.")
    bos: Literal["auto", "always", "never"] = key("BOS first; default: as the tokenizer.", None)


class Encoding(Model):
    block_length: Whole = key("Longest training row in tokens.", ge=8, le=2**24)
    append_eos: bool = key("Train on the end of the response; the authors do not.")


class Gpu(Model):
    memory_gb: Positive = key("Memory in 1e9 bytes.")
    tflops: Positive = key("Dense bfloat16 peak.")


class Tuning(Schedule):
    micro_batch_size: Size = key("Rows of one forward pass; gradients are accumulated.", None)
    adam_eps: Fraction = key("Epsilon of AdamW.", None)
    max_grad_norm: Positive = key("Gradient clipping.", None)
    gradient_checkpointing: bool = key("Recompute activations to save memory.", None)
    offload_optimizer: bool = key("FSDP2's CPU offload of weights and optimizer state.", None)


class Overrides(Tuning):
    epochs: Positive = key("Passes over the training split.", None)
    batch_size: Size = key("Rows of one optimizer step over all devices.", None)
    learning_rate: Number = key("Peak of the cosine schedule.", None, gt=0, le=10)


class Training(Tuning):
    per_corpus: dict[Name, Overrides] = key("Settings that differ for a corpus.", None)


class TeacherStage(Model):
    seed: Seed = key("Seed of the order of rows.")
    epochs_factor: Positive = key("Multiplies the epochs of every corpus; default 1.", None)
    training: Training = key("Training of every teacher.")


class KnowledgeStage(Model):
    k: Whole = key("Top tokens per position that are matched (paper: 5).", ge=1, le=255)
    stored_k: Whole = key("Top tokens per position that are stored; at least k.", ge=1, le=255)
    jobs: Whole = key("Jobs that share the extraction of a split; default 1.", None, ge=1, le=999)


class TemperatureStage(Model):
    bins: Whole = key("Bins of the ECE.", ge=1, le=10_000)


class StudentStage(Model):
    seeds: Annotated[list[Seed], Unique] = key("One student per seed.", min_length=1)
    student_side: StudentSide = key("Student's side of Eq. 5, for all methods.")
    ts_positions: Positions = key("Positions of the recalibration; others are normalised (A.1).")
    training: Training = key("Training of every student.")


class EvaluationStage(TemperatureStage):
    max_tokens: Rows = key("Padded tokens of one inference batch.")


class Figures(Model):
    family: Name = key("Family of Figure 6's students and of Table 2.")
    benchmark: Name = key("Benchmark of Figures 3, 5, 6 and Table 2; default the first.", None)
    figure6_methods: Names = key("Students of Figure 6 at a fixed c, beside FIRST.")
    table2_questions: Questions = key('JSON list of {"id": ..} or {"text": ..} for Table 2.', None)


class Claims(Model):
    by_design: Annotated[list[ClaimId], Unique] = key(
        "Ids of claims that the scale was designed to fulfil; claims.md marks them."
    )


class Needs(Model):
    threads: Whole = key("CPU threads.", ge=1, le=4096)
    gpu: Whole = key("GPUs per machine.", ge=0, le=64)
    mem_mb: Whole = key("Host memory in MB; Slurm's Snakemake needs 260.", ge=500, le=100_000_000)
    runtime: Whole = key("Minutes.", ge=1, le=1_000_000)
    processes: Whole = key("Training processes; default one per GPU.", None, ge=1, le=4096)
    nodes: Whole = key("Machines of one training; default 1.", None, ge=1, le=1024)


class Scale(Model):
    description: str = key("One sentence.")
    data: Data = key("Where rows come from.")
    tokenizers: dict[Name, Tokenizer] = key("Tokenizers of pretrained models.", None)
    models: dict[ModelName, Checkpoint] = key("Base checkpoints; names: a-z0-9-.", min_length=1)
    families: dict[Name, Family] = key("Sharing a vocabulary; names: a-z0-9_.", min_length=1)
    settings: dict[Name, Columns] = key("Table 1's columns: benchmark: corpus.", min_length=1)
    encoding: Encoding = key("Tokenisation.")
    dtype: Literal["float32", "bfloat16"] = key(
        "Arithmetic of the layers and type of checkpoints; weights train in float32."
    )
    gpu: Gpu = key("One GPU, for scripts.plan; default 80 GB and 989 TFLOPS.", None)
    teacher: TeacherStage = key("Fine-tuning of teachers.")
    knowledge: KnowledgeStage = key("Extraction of the teacher's knowledge.")
    temperature: TemperatureStage = key("Search of c.")
    student: StudentStage = key("Training of students.")
    evaluation: EvaluationStage = key("Tests.")
    figures: Figures = key("What the figures show.")
    claims: Claims = key("What claims.md has to say of the scale.", None)
    resources: dict[Stage, Needs] = key("Needs of one job of each stage.")


class Mirror(Model):
    mirror: Annotated[Folder | None, Null] = key(
        "Local folder in hub layout to read instead of the hub, as FIRST_{DATA,MODEL}_MIRROR."
    )


class Fetch(Model):
    partition: Annotated[Partition | None, Null] = key("Partition for downloads; null: local.")


class Method(Model):
    objective: Literal["none", "teacher", "hard_labels", "knowledge", "posthoc"] = key(
        "Base model, cross-entropy, knowledge (Eq. 5), or one temperature on a model's logits."
    )
    model: Literal["student", "teacher"] = key("none: which base model; default student.", None)
    of: Name = key("posthoc: the method that trained the model; `teacher` for the teacher.", None)
    fit: Literal["nll", "ece"] = key("posthoc: what T minimises on the validation split.", None)
    recalibration: Recalibration = key(
        "knowledge: A.1's normalisation, Eq. 3, Eq. 4, softmax(z / T), or shares of draws.", None
    )
    draws: Whole = key("sampled: ids drawn at each position, arXiv 2503.16870.", None, ge=1, le=255)
    teacher: Name = key("knowledge: a hard-label method of the student's, as its teacher.", None)
    delta: Fraction = key("label_smoothing: shift of Eq. 3, in (0, 1).", None)
    k: Whole = key("knowledge: replaces the scale's; at most its stored_k.", None, ge=1, le=255)
    ls_space: Literal["prob", "log"] = key("label_smoothing: Eq. 3 on (log-)probabilities.", None)
    c: C | Literal["selected"] = key("prob_softmax: c of Eq. 4, in (0, 1], or `selected`.", None)
    c_from: Name = key("prob_softmax: search c on this dataset's validation split: leakage.", None)
    student_side: StudentSide = key("knowledge: replaces the scale's, for an ablation.", None)
    ts_positions: Positions = key("knowledge: replaces the scale's, for an ablation.", None)


class Table1(Model):
    methods: Names = key("Methods in the order of the table's rows.", min_length=1)


class Config(Model):
    scale: ScaleName = key("Scale of targets such as `all`; `scale-variant` for a variant of it.")
    data: Mirror = key("Local datasets.")
    models: Mirror = key("Local models.")
    fetch: Fetch = key("Downloads.")
    methods: dict[Name, Method] = key("Methods by name.", min_length=1)
    table1: Table1 = key("Table 1.")
    variants: dict[Name, Variant] = key("Settings laid over those of every scale, by name.")
    ablations: dict[Name, Ablation] = key("Ablations by name.")
    datasets: dict[Name, Dataset] = key("Benchmarks and corpora.", min_length=1)
    prompts: dict[Name, Prompt] = key("Prompts by name.", min_length=1)
    scales: dict[Name, Scale] = key("Scales by name, one file each in config/scales.", min_length=1)
