"""A whole run in seconds: one family, one corpus, five methods, every kind of artifact."""

from pathlib import Path

import yaml

from tests.system.workflow.copies import copy_repository, reduce_scales

METHODS = ["teacher", "finetune", "finetune_ts", "distill", "first_ts"]


def small_copy(folder: Path, families: tuple = ("alder",), seeds: tuple = (1234,)) -> Path:
    """A copy of the repository whose scale tiny is this small one."""
    reduce_scales(copy_repository(folder))
    config = folder / "config/config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["table1"]["methods"] = METHODS
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    scale = folder / "config/scales/tiny.yaml"
    settings = yaml.safe_load(scale.read_text())
    tiny = settings["scales"]["tiny"]
    tiny["settings"] = {"in_domain": {"csqa": "csqa"}, "out_of_domain": {"obqa": "csqa"}}
    tiny["data"]["rows"] = {"pretraining": {"train": 100}}
    tiny["families"] = {
        name: {"teacher": f"{name}-teacher", "student": f"{name}-student"} for name in families
    }
    tiny["student"]["seeds"] = list(seeds)
    tiny["figures"]["figure6_methods"] = []
    scale.write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder
