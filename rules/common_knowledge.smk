"""No rules: into how many jobs an extraction is split, and the parts that they make."""


def parts_of(scale):
    """Names of the parts of one split's knowledge: 1-of-3, 2-of-3, 3-of-3."""
    jobs = SCALES[scale]["knowledge"].get("jobs", 1)
    return [f"{index}-of-{jobs}" for index in range(1, jobs + 1)]


SHARED = {scale for scale in SCALES if len(parts_of(scale)) > 1}
PARTS = {part for scale in SHARED for part in parts_of(scale)}


def part_folders(w):
    """Folders of all parts of one split's knowledge."""
    folder = f"results/{w.scale}/knowledge/{w.family}/{w.corpus}/{w.split}/parts"
    return [f"{folder}/{part}" for part in parts_of(w.scale)]


def part_files(w):
    """Stores and manifests of all parts of one split's knowledge."""
    return {
        "stores": [f"{folder}/knowledge.safetensors" for folder in part_folders(w)],
        "manifests": [f"{folder}/manifest.json" for folder in part_folders(w)],
    }
