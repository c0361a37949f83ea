"""One scale of the configuration as a pydantic model, and the types of its values."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _no_bool(value):
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


def _no_number(value):
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("should be true or false, not a number")
    return value


def _null(value):
    return None if value in ("", "null", "~") else value  # as --config data={mirror: null} gives it


def _unique(values: list) -> list:
    if len({*values}) < len(values):
        raise ValueError("should not list an entry twice")
    return values


def key(description: str, default=..., **limits):
    """A field of a model. One whose default is None may be left out, but not be null."""
    return Field(default, description=description, **limits)


NoBool = BeforeValidator(_no_bool)
Whole = Annotated[int, NoBool]
Number = Annotated[float, NoBool]
Switch = Annotated[bool, BeforeValidator(_no_number)]
Null = BeforeValidator(_null)
Unique = AfterValidator(_unique)
Seed = Annotated[int, Field(ge=0, lt=2**32), NoBool]
Rows = Annotated[int, Field(ge=1, le=100_000_000), NoBool]
Size = Annotated[int, Field(ge=1, le=2**24), NoBool]
Share = Annotated[float, Field(ge=0, le=1), NoBool]
Fraction = Annotated[float, Field(gt=0, lt=1), NoBool]
Positive = Annotated[float, Field(gt=0, le=1_000_000), NoBool]
Weight = Annotated[float, Field(ge=-1000, le=1000), NoBool]
C = Annotated[float, Field(gt=0, le=1), NoBool]

HUB_NAME = "[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]
ModelName = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,47}$")]
HubName = Annotated[str, Field(pattern=f"^{HUB_NAME}$")]
HubId = Annotated[str, Field(pattern=f"^{HUB_NAME}/{HUB_NAME}$")]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Partition = Annotated[str, Field(pattern="^[A-Za-z0-9_][A-Za-z0-9_.,-]*$")]
Folder = Annotated[str, Field(pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$", max_length=4000)]
Questions = Annotated[str, Field(pattern=r"^[^-{}\p{C}][^{}\p{C}]*$", max_length=500)]

Benchmark = Literal["csqa", "boolq", "obqa"]
Corpus = Literal["csqa", "boolq", "alpaca"]
Columns = Annotated[dict[Benchmark, Corpus], Field(min_length=1)]
Dataset = Literal["csqa", "boolq", "obqa", "alpaca"]
WorldDataset = Literal["csqa", "boolq", "obqa", "alpaca", "pretraining"]
Split = Literal["train", "validation", "test"]
Text = Annotated[list[Literal["pretraining", "csqa", "boolq", "alpaca"]], Unique]
Names = Annotated[list[Name], Unique]
Stage = Literal[
    "data", "models", "teacher", "knowledge", "temperature", "student", "evaluation", "artifacts"
]
Setting = Literal["in_domain", "out_of_domain"]
StudentSide = Literal["full_vocab", "renorm", "softmax_same_c", "tail_bucket"]
Positions = Literal["all", "answer_only"]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Pretraining(Model):
    memo: Number = key("Lettered lists with picks.", ge=0, le=1000)
    sheet: Number = key("Facts of an entity.", ge=0, le=1000)
    report: Number = key("Claims with witnesses.", ge=0, le=1000)
    facts: Whole = key("Facts in a sheet.", ge=1, le=1000)


class World(Model):
    seed: Seed = key("Seed of the world.")
    entities: Whole = key("Entities that questions ask about.", ge=2, le=100_000)
    names: Whole = key("Rare names: incidental detail of questions.", ge=2, le=100_000)
    rank: Whole = key("Rank of the entities' own taste.", ge=1, le=1000)
    popularity: Share = key("Share of plausibility that is common to all entities.")
    sharpness: Number = key("Sharpness of an annotator's draw; lower is noisier.", gt=0, le=1000)
    claim_weight: Weight = key("Weight of a claim's plausibility in BoolQ-like answers.")
    verb_weight: Weight = key("Weight of the witnesses' verbs in BoolQ-like answers.")
    claim_bias: Weight = key("Log odds added to every claim.")
    train_pairs: Rows = key("(entity, relation) pairs of training rows; tests have the rest.")
    letter_share: Share = key("Share of Alpaca-like rows with lettered choices.")
    sizes: dict[Dataset, dict[Split, Rows]] = key("Rows of each official split.")
    pretraining: Pretraining = key("Shares of the kinds of pretraining text.")


class Hub(Model):
    repo: HubId = key("Id on the hub.")
    revision: Commit = key("Full commit on the hub.")


class Limits(Model):
    max_train_rows: Rows = key("Use a seeded subset of this many training rows.", None)
    max_validation_rows: Rows = key("Use a seeded subset of this many validation rows.", None)
    max_test_rows: Rows = key("Use a seeded subset of this many test rows.", None)


class HubDataset(Hub, Limits):
    name: HubName = key("Configuration of the hub dataset.", None)


class Splits(Model):
    split_seed: Seed = key("Seed of the split of official training rows.")
    validation_share: Fraction = key("Share of the training rows held out for the temperature.")


class WorldData(Splits):
    source: Literal["world"] = key("The generated world.")
    world: World = key("Settings of the generated world (scripts/first/world).")
    datasets: dict[WorldDataset, Limits] = key("Datasets.", min_length=1)


class HubData(Splits):
    source: Literal["hub"] = key("Official datasets from the hub or a mirror.")
    datasets: dict[Dataset, HubDataset] = key("Datasets.", min_length=1)


class Tokenizer(Model):
    kind: Literal["world", "bpe"] = key("Words of the generated world, or byte-level BPE.")
    text: Text = key("Datasets whose training splits train the BPE.", None, min_length=1)
    vocabulary_size: Whole = key("Size of the BPE.", None, ge=300, le=2**20)


class Architecture(Model):
    hidden_size: Size = key("Width.")
    intermediate_size: Size = key("Width of the feed-forward layers.")
    num_hidden_layers: Whole = key("Layers.", ge=1, le=4096)
    num_attention_heads: Whole = key("Attention heads; they divide the width.", ge=1, le=4096)
    num_key_value_heads: Whole = key("Default: as many as attention heads.", None, ge=1, le=4096)
    max_position_embeddings: Size = key("Longest input in tokens.", None)
    tie_word_embeddings: Switch = key("Share the matrix of input and output embeddings.", None)
    attention_bias: Switch = key("Biases in the attention projections.", None)
    initializer_range: Number = key("Standard deviation of initial weights.", None, gt=0, le=10)


Epochs = Annotated[float, key("Passes over the training split.", gt=0, le=10_000), NoBool]
BatchSize = Annotated[Size, key("Rows of one optimizer step over all devices.")]
LearningRate = Annotated[float, key("Peak of the cosine schedule.", gt=0, le=10), NoBool]


class Schedule(Model):
    epochs: Epochs = None
    batch_size: BatchSize = None
    length_pool: Size = key("Batches whose rows are sorted by length together; default 128.", None)
    learning_rate: LearningRate = None
    warmup_ratio: Share = key("Share of the steps that warm up.", None)
    weight_decay: Number = key("Weight decay of AdamW.", None, ge=0, le=10)


class Recipe(Schedule):
    epochs: Epochs
    batch_size: BatchSize
    learning_rate: LearningRate
    tokenizer: Name = key("Entry of `tokenizers`.")
    text: Text = key("Datasets whose training splits are read.", min_length=1)
    architecture: Architecture = key("LlamaConfig of a model with random weights.", None)
    start_from: ModelName = key("Model to continue from, instead of `architecture`.", None)
    supervise: Literal["all", "response"] = key("Tokens that are learnt.")
    max_rows: Rows = key("Use this many rows, drawn by the seed.", None)
    block_length: Size = key("Longest row in tokens; longer rows are cut.")
    seed: Seed = key("Seed of the weights and the order of rows.")


class Checkpoint(Model):
    hub: Hub = key("A model on the hub, instead of `bundled` and `pretrain`.", None)
    bundled: Annotated[str, Field(pattern="^resources/[a-z0-9/_-]{1,190}$")] = key(
        "Folder of a checkpoint in this repository; `pretrain` may say how it was made.", None
    )
    pretrain: Recipe = key("Pretraining from this scale's own text.", None)


class Family(Model):
    teacher: ModelName = key("Model that is fine-tuned as teacher.")
    student: ModelName = key("Model that every student starts from.")


class Encoding(Model):
    block_length: Whole = key("Longest training row in tokens.", ge=8, le=2**24)
    append_eos: Switch = key("Learn the end of the response; the authors do not.")


class Gpu(Model):
    memory_gb: Positive = key("Memory in 1e9 bytes.")
    tflops: Positive = key("Dense bfloat16 peak.")


class Overrides(Schedule):
    micro_batch_size: Size = key("Rows of one forward pass; gradients are accumulated.", None)
    adam_eps: Number = key("Epsilon of AdamW.", None, gt=0, le=1)
    max_grad_norm: Positive = key("Gradient clipping.", None)
    gradient_checkpointing: Switch = key("Recompute activations to save memory.", None)
    offload_optimizer: Switch = key("FSDP2's CPU offload of weights and optimizer state.", None)


class Training(Overrides):
    epochs: Epochs
    batch_size: BatchSize
    learning_rate: LearningRate
    per_corpus: dict[Corpus, Overrides] = key("Settings that differ for a corpus.", None)


class TeacherStage(Model):
    seed: Seed = key("Seed of the order of rows.")
    training: Training = key("Training of every teacher.")


class KnowledgeStage(Model):
    k: Whole = key("Top tokens a position that are matched (the paper's 5).", ge=1, le=255)
    stored_k: Whole = key("Top tokens a position that are stored; at least k.", ge=1, le=255)
    jobs: Whole = key("Jobs that share the extraction of a split; default 1.", None, ge=1, le=999)


class TemperatureStage(Model):
    bins: Whole = key("Bins of the ECE.", ge=1, le=10_000)


class StudentStage(Model):
    seeds: Annotated[list[Seed], Unique] = key("One student per seed.", min_length=1)
    student_side: StudentSide = key("Student's side of Eq. 5, for all methods.")
    ts_positions: Positions = key("Positions of Eq. 3 and Eq. 4; others are normalised (A.1).")
    training: Training = key("Training of every student.")


class EvaluationStage(TemperatureStage):
    max_tokens: Whole = key("Padded tokens of one inference batch.", ge=1, le=2**30)


class Figures(Model):
    family: Name = key("Family of Figure 6's students and of Table 2.")
    benchmark: Benchmark = key("In-domain benchmark of Figures 3, 5, 6; default the first.", None)
    figure6_methods: Names = key("Students of Figure 6 at a fixed c, beside FIRST.")
    table2_questions: Questions = key(
        'JSON list of {"id": ..} or {"text": ..}: questions that Table 2 shows first.', None
    )


class Needs(Model):
    threads: Whole = key("CPU threads.", ge=1, le=4096)
    gpu: Whole = key("GPUs per machine.", ge=0, le=64)
    mem_mb: Whole = key(
        "Host memory in MB; under Slurm Snakemake itself takes 260 of it.", ge=500, le=100_000_000
    )
    runtime: Whole = key("Minutes.", ge=1, le=1_000_000)
    processes: Whole = key("Training processes; default one per GPU.", None, ge=1, le=4096)
    nodes: Whole = key("Machines of one training; default 1.", None, ge=1, le=1024)


class Scale(Model):
    description: str = key("One sentence.")
    data: WorldData | HubData = key("Where rows come from.", discriminator="source")
    tokenizers: dict[Name, Tokenizer] = key("Tokenizers of pretrained models.", None)
    models: dict[ModelName, Checkpoint] = key("Base checkpoints.", min_length=1)
    families: dict[Name, Family] = key("Pairs that share a vocabulary.", min_length=1)
    corpora: Annotated[list[Corpus], Unique] = key("What models are trained on.", min_length=1)
    settings: dict[Setting, Columns] = key("Table 1: {benchmark: corpus}.", min_length=1)
    encoding: Encoding = key("Tokenisation.")
    dtype: Literal["float32", "bfloat16"] = key("Type of the weights; losses are float32.")
    gpu: Gpu = key("One GPU, for scripts.plan; default 80 GB and 989 TFLOPS.", None)
    teacher: TeacherStage = key("Fine-tuning of teachers.")
    knowledge: KnowledgeStage = key("Extraction of the teacher's knowledge.")
    temperature: TemperatureStage = key("Search of c.")
    student: StudentStage = key("Training of students.")
    evaluation: EvaluationStage = key("Tests.")
    figures: Figures = key("What the figures show.")
    resources: dict[Stage, Needs] = key("Needs of one job of each stage.")
