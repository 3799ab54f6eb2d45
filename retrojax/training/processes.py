"""One run in several processes, on JAX's own distributed runtime.

Every process runs the same program. What must be done once (folder, log, samples, report) is done
by the first; what every process must decide alike (save now, stop now) is agreed on. A process
that is lost ends the others: the runtime of the first misses its heartbeats, prints which process
is unhealthy and aborts all of them; run the same command again to go on at the last checkpoint.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from retrojax.training.placement import Placement

HEARTBEAT_SECONDS = 20
"""How long a process may be silent. JAX's own 100 s would keep a dead run's machines for longer."""

LEAVE_SECONDS = 30
"""How long the runtime waits for the others when a process ends."""

_T = TypeVar("_T")


def join(
    coordinator: str = "", num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the processes of a run; before anything else is asked of JAX.

    Args:
        coordinator: HOST:PORT at which the first process listens. Empty: all three are found out
            from the cluster (Slurm, Open MPI, Kubernetes, TPU pod).
        num_processes: how many there are; goes with `coordinator`.
        process_id: this one's number, from 0; goes with `coordinator`.

    Raises:
        ValueError: if no cluster is found, or the processes do not find each other.
    """
    # Its handler of SIGTERM would take the signal from ours, and do nothing outside of the loop.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator or None,
            num_processes,
            process_id,
            # A cluster's own settings would leave this process one GPU of the machine's.
            cluster_detection_method="deactivate" if coordinator else None,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=LEAVE_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"the processes of the run did not find each other ({reason}); outside Slurm, Open "
            "MPI, Kubernetes and TPU pods say --coordinator=HOST:PORT --num-processes=N "
            "--process-id=I"
        ) from error


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns once every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def in_turn(action: Callable[[], _T]) -> _T:
    """Lets the first process act, then all others.

    So what they share (prepared photographs, the run's folder) is made once and found by the rest.

    Raises:
        ValueError: in the others, if the first one failed.
        Exception: what `action` raises.
    """
    if jax.process_count() == 1:
        return action()
    result: Any = None
    failure: BaseException | None = None
    if is_first():
        try:
            result = action()
        except Exception as error:
            failure = error
    good = multihost_utils.broadcast_one_to_all(np.int32(failure is None))
    if failure is not None:
        raise failure
    if not good:
        raise ValueError("the first process gave up; its message says why")
    if is_first():
        return result
    return action()


class Agreement:
    """What any process asks for, known to all of them at the same step.

    One process knows at once. Several exchange their wishes with one small all-reduce behind each
    step and read the answer a step later, so that nobody waits for it.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._asked: jax.Array | None = None
        self._most = jax.jit(lambda wishes: wishes.max(0), out_shardings=placement.replicated)

    def __call__(self, *wishes: int) -> tuple[int, ...]:
        """The largest of each wish over all processes; with several, of the call before.

        Args:
            wishes: numbers from 0, as many at each call; 0 = nothing.
        """
        if jax.process_count() == 1:
            return wishes
        answer = (0,) * len(wishes)
        if self._asked is not None:
            answer = tuple(int(value) for value in np.asarray(self._asked))
        local = self._placement.mesh.local_mesh.size
        mine = np.tile(np.array(wishes, np.int32), (local, 1))
        asked = jax.make_array_from_process_local_data(self._placement.split, mine)
        self._asked = self._most(asked)
        return answer


def await_verdict() -> None:
    """After a failed exchange: gives the runtime the time to say which process was lost.

    It ends this process with that message, as soon as the lost one's heartbeats are missed.
    """
    time.sleep(HEARTBEAT_SECONDS + 10)
