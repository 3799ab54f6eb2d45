"""Processes find each other: by what is said, by what the cluster says, or not at all."""

import os
import socket
import subprocess
import sys

import jax
import pytest

from retrojax.training.processes import join

PROGRAM = """
import jax
from retrojax.training.processes import join
join()
print(jax.process_index(), jax.process_count(), jax.device_count())
"""


def test_what_is_said_counts_more_than_the_cluster(monkeypatch):
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **options: given.update(options))
    join("10.0.0.1:8476", 2, 0)
    assert given["cluster_detection_method"] == "deactivate"
    join()
    assert given["cluster_detection_method"] is None


def test_no_cluster_is_an_error_with_the_way_out():
    with pytest.raises(ValueError, match="did not find each other .*--coordinator=HOST:PORT"):
        join()


def slurm_job():
    """A job's number whose port (JAX's choice) is free."""
    for job in range(os.getpid() % 4096, 8192):
        with socket.socket() as port:
            if port.connect_ex(("127.0.0.1", 61440 + job % 4096)):
                return job
    raise AssertionError("no port is free")


@pytest.mark.slow
def test_slurms_processes_find_each_other():
    environment = {
        **os.environ,
        "SLURM_JOB_ID": str(slurm_job()),
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": "2",
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**environment, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in said] == ["0 2 4\n", "1 2 4\n"], said
