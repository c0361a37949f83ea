"""Variants of scales: settings laid over those of every scale, which become scales themselves."""

from collections.abc import Iterator

from first_distill.config.types import VARIANT


def merge(below: dict, above: dict) -> dict:
    """`above` laid over `below`, mapping by mapping, as snakemake.utils.update_config does."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def names(config: dict) -> list[str]:
    """Names of all scales, and `{scale}-{variant}`: no scale's own name has a hyphen."""
    return [
        *config["scales"],
        *(f"{scale}{VARIANT}{variant}" for scale, variant, _ in merged_variants(config)),
    ]


def merged_variants(config: dict) -> Iterator[tuple[str, str, dict]]:
    """(scale, variant, settings) of each variant of each scale; the settings are not checked."""
    for variant, changes in config["variants"].items():
        for scale, settings in config["scales"].items():
            yield scale, variant, merge(settings, changes)


def with_same_teacher(scales: dict, name: str, seed: bool = True) -> str:
    """The first scale whose teachers see the data and are trained as those of `name`.

    Among the scale itself and its variants, which have the same models. seed: whether the seed of
    the training counts.
    """

    def settings(scale: str) -> tuple:
        own = scales[scale]
        teacher = {k: v for k, v in own["teacher"].items() if seed or k != "seed"}
        return own["data"], own["encoding"], teacher

    base = name.partition(VARIANT)[0]
    own = [other for other in scales if other.partition(VARIANT)[0] == base]
    return next(other for other in own if settings(other) == settings(name))


def multiplied(scale: dict) -> dict:
    """A scale whose teachers' epochs are multiplied by `epochs_factor`, which it then lacks."""
    teacher = {**scale["teacher"]}
    factor = teacher.pop("epochs_factor", 1)
    if factor == 1:
        return {**scale, "teacher": teacher}
    training, longer = teacher["training"], {}
    if own := training.get("per_corpus"):
        longer["per_corpus"] = {corpus: _longer(kept, factor) for corpus, kept in own.items()}
    return {**scale, "teacher": {**teacher, "training": {**_longer(training, factor), **longer}}}


def _longer(training: dict, factor: float) -> dict:
    own = {"epochs": training["epochs"] * factor} if "epochs" in training else {}
    return {**training, **own}
