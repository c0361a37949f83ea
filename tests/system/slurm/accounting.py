"""The test cluster with accounting, as real clusters have it: slurmdbd over MariaDB."""

from tests.system.slurm.cluster import PROGRAMS, Cluster

ACCOUNTING_PROGRAMS = (*PROGRAMS, "slurmdbd", "mariadbd", "mariadb-install-db")
ACCOUNT = "science"
CONTROLLER = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePass=@folder@/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
"""
DATABASE = """
AuthType=auth/munge
AuthInfo=socket=@folder@/munge.socket
DbdHost=@host@
DbdAddr=127.0.0.1
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=3306
StorageUser=root
StorageLoc=slurm
LogFile=@folder@/slurmdbd.log
PidFile=@folder@/slurmdbd.pid
"""


class AccountedCluster(Cluster):
    """A cluster whose `sacct` answers; root belongs to the account `science`."""

    def prepare_accounting(self) -> None:
        """Start the databases, and enter cluster, account and user: slurmctld waits for them."""
        with (self.folder / "etc/slurm.conf").open("a") as file:
            file.write(self.filled(CONTROLLER))
        settings = self.folder / "etc/slurmdbd.conf"
        settings.write_text(self.filled(DATABASE))
        settings.chmod(0o600)
        data, pid = self.folder / "mariadb", self.folder / "mariadb.pid"
        place = ("--no-defaults", f"--datadir={data}", "--user=root")
        self.run("mariadb-install-db", *place, "--auth-root-authentication-method=normal")
        self.background(
            "mariadbd",
            *place,
            f"--socket={self.folder}/mariadb.socket",
            f"--pid-file={pid}",
            "--bind-address=127.0.0.1",
            "--skip-grant-tables",
            "--innodb-buffer-pool-size=64M",
        )
        self.wait_for(pid.exists, "MariaDB")
        self.daemon("slurmdbd")
        answers = lambda: self.run("timeout", "5", "sacctmgr", "show", "cluster", check=False)  # noqa: E731
        self.wait_for(lambda: answers().returncode == 0, "slurmdbd")
        for words in (
            ("cluster", "loopback"),
            ("account", ACCOUNT, "cluster=loopback"),
            ("user", "root", f"account={ACCOUNT}", "cluster=loopback"),
        ):
            self.run("timeout", "30", "sacctmgr", "--immediate", "add", *words)

    def sacct(self, fields: str) -> list[dict[str, str]]:
        """What accounting has of every job, the steps left out."""
        words = ("--allocations", "--parsable2", f"--format={fields}", "--starttime=now-1days")
        head, *rows = self.run("timeout", "30", "sacct", *words).stdout.splitlines()
        return [dict(zip(head.split("|"), row.split("|"), strict=True)) for row in rows]
