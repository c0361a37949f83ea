"""Start one stage script in several processes: `accelerate launch`, and srun for several machines.

``python -m scripts.first.processes --processes 8 --nodes 1 scripts.teacher OPTIONS`` is what the
rules call where a job has more than one GPU; processes counts those of one machine. With more
machines it must run inside a Slurm job that has them. A failure is told by the script's own line:
the launcher's traceback would only say that there was one.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from scripts.first.errors import UserError, run_cli

CONFIGURATION = Path(__file__).with_name("accelerate.yaml")


def build_parser() -> argparse.ArgumentParser:
    """Options; all that follows the module's name is the module's."""
    options = argparse.ArgumentParser(
        prog="python -m scripts.first.processes", description=__doc__, allow_abbrev=False
    )
    options.add_argument("--processes", type=int, required=True, help="processes of each machine")
    options.add_argument("--nodes", type=int, default=1, help="machines")
    options.add_argument("--address", help="first machine (set by this program itself)")
    options.add_argument("module", help="script to run, such as scripts.teacher")
    options.add_argument("words", nargs=argparse.REMAINDER, help="the script's options")
    return options


def launch_line(arguments: argparse.Namespace) -> list[str]:
    """Words of `accelerate launch` on this machine."""
    words = ["--config_file", str(CONFIGURATION), "--gpu_ids", "all", "--use_fsdp"]
    words += ["--fsdp_version", "2", "--mixed_precision", "no", "--dynamo_backend", "no"]
    words += ["--num_processes", str(arguments.processes * arguments.nodes)]
    words += ["--num_machines", str(arguments.nodes)]
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))  # what the job was given, for all of them
    words += ["--num_cpu_threads_per_process", str(max(1, threads // arguments.processes))]
    if arguments.nodes > 1:
        words += ["--machine_rank", os.environ["SLURM_NODEID"]]
        words += ["--main_process_ip", arguments.address]
        words += ["--main_process_port", str(20000 + int(os.environ["SLURM_JOB_ID"]) % 20000)]
    else:
        words += ["--main_process_port", "0"]  # a free one: two jobs may share a machine
    return [*words, "--module", arguments.module, *arguments.words]


def spread(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run this same line once on each machine of the Slurm job."""
    if "SLURM_JOB_NODELIST" not in os.environ:
        raise UserError(f"--nodes {arguments.nodes}: not inside a Slurm job: submit the job")
    first = _scontrol("show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()[0]
    # A node's name need not be one that other nodes can resolve; its address is.
    address = re.search(r"\bNodeAddr=(\S+)", _scontrol("show", "node", "--oneliner", first))
    count = str(arguments.nodes)
    line = ["srun", "--overlap", "--nodes", count, "--ntasks", count, "--ntasks-per-node", "1"]
    line += [sys.executable, "-m", "scripts.first.processes"]
    line += ["--address", address[1] if address else first, *argv]
    return subprocess.run(line, check=False).returncode


def _scontrol(*words: str) -> str:
    process = subprocess.run(["scontrol", *words], check=True, capture_output=True, text=True)
    return process.stdout


def main(argv: list[str]) -> int:
    """Launch, wait, return the status."""
    arguments = build_parser().parse_args(argv)
    if arguments.processes < 1 or arguments.nodes < 1:
        raise UserError("--processes and --nodes: they must be at least 1")
    if arguments.nodes > 1 and arguments.address is None:
        return spread(arguments, argv)

    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Processes that were asked to end are saving their state. It would kill them after 30 seconds;
    # whoever asked, such as Slurm, decides how long they have.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "86400")
    # Slurm signals every process of a job: this one has nothing to save, and must not end.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # What it would log of a failure stands in the lines below, or the script has said it.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        launch_command(launch_command_parser().parse_args(launch_line(arguments)))
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            raise UserError(
                f"process {number} of {arguments.module} was ended by {name}: "
                "SIGKILL is mostly for want of memory"
            ) from None
        return failure.exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0


if __name__ == "__main__":
    run_cli(main)
