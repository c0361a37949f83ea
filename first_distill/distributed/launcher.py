"""Start one stage script in several processes: `accelerate launch`, and srun for several machines.

``python -m first_distill.distributed.launcher --processes 8 scripts.teacher OPTIONS`` is what the
rules call where a job has more than one GPU; processes counts those of one machine. With more
machines it must run inside a Slurm job that has them. A failure is reported by the script's own
line; the launcher's traceback would only add that there was one.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from first_distill import cli
from first_distill.errors import UserError, positive, run_cli

CONFIGURATION = Path(__file__).with_name("accelerate.yaml")


def build_parser() -> argparse.ArgumentParser:
    """Options; all that follows the module's name is the module's."""
    options = cli.parser("first_distill.distributed.launcher", __doc__)
    options.add_argument("--processes", type=positive, required=True, help="of each machine")
    options.add_argument("--nodes", type=positive, default=1, help="machines")
    options.add_argument("--address", help="first machine (set by this program itself)")
    options.add_argument("module", help="script to run, such as scripts.teacher")
    options.add_argument("words", nargs=argparse.REMAINDER, help="the script's options")
    return options


def launch_line(arguments: argparse.Namespace) -> list[str]:
    """Arguments of `accelerate launch` on this machine."""
    words = ["--config_file", str(CONFIGURATION), "--gpu_ids", "all", "--use_fsdp"]
    words += ["--fsdp_version", "2", "--mixed_precision", "no", "--dynamo_backend", "no"]
    words += ["--fsdp_cpu_ram_efficient_loading", "false"]  # transformers would load by rank
    words += ["--num_processes", str(arguments.processes * arguments.nodes)]
    words += ["--num_machines", str(arguments.nodes)]
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))  # the job's, for all of its processes
    words += ["--num_cpu_threads_per_process", str(max(1, threads // arguments.processes))]
    if arguments.nodes > 1:
        words += ["--machine_rank", os.environ["SLURM_NODEID"]]
        words += ["--main_process_ip", arguments.address]
        words += ["--main_process_port", str(20000 + int(os.environ["SLURM_JOB_ID"]) % 20000)]
    else:
        words += ["--main_process_port", "0"]  # a free one: two jobs may share a machine
    return [*words, "--module", arguments.module, *arguments.words]


def spread(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run this same line once on each machine of the Slurm job, and wait for all of them."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        raise UserError(f"--nodes {arguments.nodes}: not inside a Slurm job: submit the job")
    # Slurm's record, not the environment: a step inside the job may have only one of its machines.
    nodes = re.search(r"\sNodeList=(\S+)", _scontrol("show", "job", "--oneliner", job))
    hosts = _scontrol("show", "hostnames", nodes[1]).split() if nodes else []
    if len(hosts) != arguments.nodes:
        raise UserError(
            f"--nodes {arguments.nodes}: Slurm job {job} has {len(hosts)}: submit it with as many"
        )
    # Other nodes may be unable to resolve a node's name, so use its address.
    address = re.search(r"\bNodeAddr=(\S+)", _scontrol("show", "node", "--oneliner", hosts[0]))
    count, threads = str(arguments.nodes), os.environ.get("OMP_NUM_THREADS", "1")
    line = ["srun", "--nodes", count, "--ntasks", count, "--ntasks-per-node", "1"]
    line += ["--cpus-per-task", threads, "--kill-on-bad-exit=1"]
    if os.path.isfile(log := os.path.realpath("/proc/self/fd/1")):
        # The machines write it themselves: when a job is cancelled, srun ends before they do.
        line += ["--output", log.replace("%", "%%"), "--open-mode", "append"]
        fcntl.fcntl(2, fcntl.F_SETFL, os.O_APPEND)  # srun's own output is appended
    line += [sys.executable, "-m", __spec__.name]
    line += ["--address", address[1] if address else hosts[0], *argv]
    # The step must not request again what the job was submitted with.
    asked = re.compile(r"(SLURM|SRUN|SBATCH|PMIX?)_(?!JOB_ID$|CONF$)")
    environment = {name: value for name, value in os.environ.items() if not asked.match(name)}

    def pass_on(number: int, frame: object) -> None:
        # To the programs of the step. srun itself would kill them for a SIGTERM.
        subprocess.run(["scancel", f"--signal={signal.Signals(number).name}", job], check=False)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, pass_on)
    # In a new session, so that a signal to this process's group does not reach srun.
    with subprocess.Popen(line, env=environment, start_new_session=True) as step:
        return step.wait()


def _scontrol(*words: str) -> str:
    process = subprocess.run(["scontrol", *words], check=False, capture_output=True, text=True)
    if process.returncode != 0:
        raise UserError(
            f"{process.stderr.strip()}: scontrol {' '.join(words)}: is this a Slurm job?"
        )
    return process.stdout


def main(argv: list[str]) -> int:
    """Launch, wait, return the status."""
    arguments = build_parser().parse_args(argv)
    if arguments.nodes > 1 and arguments.address is None:
        return spread(arguments, argv)

    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Processes that were asked to end are saving their state. torch would kill them after 30
    # seconds; the sender of the signal, such as Slurm, decides how long they have.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "86400")
    # Slurm signals every process of a job: this one has nothing to save, and must not end.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Failures are reported below, or by the script itself.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        launch_command(launch_command_parser().parse_args(launch_line(arguments)))
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            hint = ": most likely out of memory" if name == "SIGKILL" else ""
            ended = f"process {number} of {arguments.module} was ended by {name}{hint}"
            raise UserError(ended) from None
        return failure.exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0


if __name__ == "__main__":
    run_cli(main)
