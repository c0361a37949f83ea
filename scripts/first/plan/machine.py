"""The machine that a plan is made for, and how long a job takes on it."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.first.runtime.state import DEFAULT_MINUTES

GB = 1e9


@dataclass(frozen=True)
class Machine:
    """One GPU (memory in 1e9 bytes, dense peak in TFLOPS) and what around it costs time."""

    gpu_memory_gb: float
    gpu_tflops: float
    utilisation: float
    gpu_reserve: float
    disk_gb_per_s: float
    host_gb_per_s: float

    @classmethod
    def of(cls, settings: dict, arguments) -> Machine:
        """From the command line, else the scale's key `gpu`, else an 80 GB GPU of 989 TFLOPS."""
        own = settings.get("gpu", {})
        return cls(
            arguments.gpu_memory_gb or own.get("memory_gb", 80),
            arguments.gpu_tflops or own.get("tflops", 989),
            arguments.utilisation,
            arguments.gpu_reserve,
            arguments.disk_gb_per_s,
            arguments.host_gb_per_s,
        )

    def seconds(
        self, flops: float, gpus: int = 1, disk_bytes: float = 0.0, moved_bytes: float = 0.0
    ) -> float:
        """Time of arithmetic on so many GPUs, of files, of weights moved to and from the host."""
        arithmetic = flops / (max(gpus, 1) * self.gpu_tflops * 1e12 * self.utilisation)
        return arithmetic + self.disk_seconds(disk_bytes) + moved_bytes / GB / self.host_gb_per_s

    def disk_seconds(self, size: float) -> float:
        """Time to read, write or hash so many bytes."""
        return size / GB / self.disk_gb_per_s

    def saving_seconds(self, training_seconds: float, state: float) -> float:
        """Time of the periodic saves of a training: each writes its state and hashes it."""
        saves = int(training_seconds / (60 * DEFAULT_MINUTES))
        return saves * self.disk_seconds(2 * state)
