"""Flags that say which processes a run has: what goes together, and what may change."""

import pytest

from experiments.config import MAY_CHANGE, LookConfig


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"num_processes": 2}, "--num-processes=2 and --process-id=None go with --coordinator"),
        ({"coordinator": "a:1", "distributed": True}, "--distributed recognises the cluster"),
        ({"coordinator": "a:1", "num_processes": 2}, "needs --num-processes=N and --process-id"),
        (
            {"coordinator": "a:1", "num_processes": 2, "process_id": 2},
            "--process-id from 0 to N - 1, not 2 and 2",
        ),
        (
            {"coordinator": "node", "num_processes": 2, "process_id": 0},
            "--coordinator must be HOST:PORT, not 'node'",
        ),
        ({"accumulate": 0}, "--accumulate must be at least 1, not 0"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, says):
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        LookConfig(**fields)
    assert says in str(refused.value)


def test_a_run_may_change_its_devices_and_not_its_game():
    config = LookConfig(coordinator="a:1", num_processes=2, process_id=1, parallel="pmap")
    assert config.process_id == 1
    assert {"parallel", "distributed", "coordinator", "num_processes", "process_id"} <= MAY_CHANGE
    assert not {"accumulate", "batch_size"} & MAY_CHANGE
