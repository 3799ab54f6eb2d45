"""The benchmark's words and figures; no test looks at how long anything took."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import step_time
from benchmarks.compiled import aliased_bytes, collectives
from benchmarks.timing import matmul_flops, time_steps
from retrojax.training.placement import make_placement

ROOT = Path(__file__).parents[2]

# What the benchmark must do without. Not in the list: what jax and flax need themselves (scipy,
# rich, msgpack ...).
ABSENT = (
    *("grain", "tensorflow_datasets", "array_record", "orbax", "tensorstore", "tyro", "skimage"),
    *("sklearn", "matplotlib", "safetensors", "tensorboardX", "PIL"),
)

HLO = """\
HloModule jit_step, is_scheduled=true, input_output_alias={ {0}: (0, {}, may-alias), \
{1}: (2, {}, must-alias) }, entry_computation_layout={(f32[4,8]{1,0:T(8,128)}, u8[4,3]{1,0}, \
/*index=2*/u32[2]{0}, pred[7]{0})->(f32[4,8]{1,0}, u32[2]{0})}, num_partitions=4

ENTRY %main (p0: f32[4,8]) -> (f32[4,8], u32[2]) {
  %all-reduce.1 = (f32[4,4,6,8]{3,2,1,0:T(8,128)S(1)}, /*index=1*/bf16[5]{0}, f32[]) \
all-reduce(%a, %b, %c), channel_id=7, replica_groups=[1,4]<=[4], to_apply=%add
  %all-reduce-start = f32[10]{0} all-reduce-start(%d), channel_id=8, to_apply=%add
  %all-reduce-done = f32[10]{0} all-reduce-done(%all-reduce-start)
  ROOT %all-gather.2 = f32[4,8]{1,0} all-gather(%e), dimensions={0}
  %fusion = f32[9]{0} fusion(%all-reduce-done), metadata={op_name="all-reduce(x)"}
}
"""


def test_collectives_are_read_with_their_bytes_and_a_pair_counts_once():
    reduced = 4 * 4 * 4 * 6 * 8 + 2 * 5 + 4
    assert collectives(HLO) == [("all-reduce", reduced), ("all-reduce", 40), ("all-gather", 128)]


def test_collectives_of_a_program_that_jax_compiled():
    placement = make_placement(8)
    x = placement.put_batch(np.ones((8, 5), np.float32))
    total = jax.jit(lambda x: x.sum(0), out_shardings=placement.replicated)
    assert collectives(total.lower(x).compile().as_text()) == [("all-reduce", 20)]


def test_aliased_bytes_are_those_of_the_parameters_in_the_table():
    assert aliased_bytes(HLO) == 4 * 4 * 8 + 4 * 2


def test_aliased_bytes_of_a_program_that_jax_compiled():
    shape = jax.ShapeDtypeStruct((3, 5), np.float32)
    kept = jax.jit(lambda x, y: (x + 1, y + 1), donate_argnums=1).lower(shape, shape).compile()
    assert aliased_bytes(kept.as_text()) == 60
    assert aliased_bytes(jax.jit(lambda x: x + 1).lower(shape).compile().as_text()) == 0


def test_batches_are_taken_in_turn_and_every_step_is_counted():
    seen = []

    def step(state, batch):
        seen.append(batch)
        return state + 1, {"loss": np.float32(state)}

    times = time_steps(step, 0, ["a", "b", "c"], steps=4, warmup=2)
    assert seen == list("abcabcabcab"), "1 first call, 2 of warm-up, 4 waited for, 4 pipelined"
    assert len(times.blocked) == 4 and times.finite
    broken = time_steps(lambda s, b: (s, {"loss": np.float32("nan")}), 0, ["a"], steps=1, warmup=0)
    assert not broken.finite


def test_a_transfer_inside_the_timed_loop_is_an_error():
    step = jax.jit(lambda state, batch: (state, {"loss": batch.sum()}))
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        time_steps(step, jax.numpy.zeros(()), [np.ones(3)], steps=1, warmup=0)


def test_the_ceiling_is_that_of_all_devices():
    assert matmul_flops(make_placement(4), size=16, dtype="bfloat16") > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--preset=big"], "invalid choice: 'big' (choose from look, tiny, document"),
        (["--batch-size=0"], "--batch-size must be at least 1, not 0"),
        (["--batch-size=6", "--devices=4"], "batch of 6 cannot be divided among 4 devices"),
        (["--devices=9"], "--devices=9, but there are 4"),
        (["--steps=0"], "--steps: must be a whole number of at least 1, not '0'"),
        (["--topology=v5e:2x2"], "--topology goes with --compile-only"),
        (["--compile-only", "--devices=2"], "--topology says how many"),
        (["--compile-only"], "--compile-only needs the TPU compiler: pip install '.[tpu]'"),
        (["--json=no/such/folder.json"], "is not a file's name in an existing folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, says, capsys, monkeypatch):
    monkeypatch.setattr(step_time, "find_spec", lambda name: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    with pytest.raises(SystemExit) as stopped:
        step_time.main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert says.replace("'", "") in err.replace("'", "") and err.count("\n") == 1 and not out


def test_started_as_a_module_it_makes_the_devices_it_is_asked_for():
    """Three devices do not divide the batch of 16, which is said before anything is compiled."""
    command = [sys.executable, "-m", "benchmarks.step_time", "--devices=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("step_time: a batch of 16 cannot be divided among 3 devices")


@pytest.mark.slow
def test_started_by_its_path_without_the_other_dependencies_it_prints_and_writes(tmp_path):
    code = f"""
import runpy, sys
for name in {ABSENT!r}:
    sys.modules[name] = None
path = sys.argv.pop(1)
sys.argv[0] = path
runpy.run_path(path, run_name="__main__")
"""
    options = ["--preset=tiny", "--devices=2", "--steps=2", "--warmup=0", "--json=step.json"]
    command = [sys.executable, "-c", code, str(ROOT / "benchmarks" / "step_time.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "step.json").read_text())
    assert report["ran"] and report["finite"]
    assert report["device"] == {"platform": "cpu", "kind": "cpu", "count": 2}
    assert report["aliased_bytes"] >= 0.99 * report["state_bytes"]
    # XLA:CPU adds up the critic's gradients of real and of generated images one by one.
    assert 1 <= report["all_reduce_bytes"] / report["gradient_bytes"] <= 2
    times = report["step_seconds"]
    assert 0 < times["p10"] <= times["median"] <= times["p90"]
    assert report["images_per_second"] == pytest.approx(4 / report["pipelined_seconds"])
    speed = report["flops"] / times["median"]
    assert report["flops_per_second"] == pytest.approx(speed)
    printed = " ".join(done.stdout.split())
    assert "device 2 devices: cpu (cpu)" in printed
    assert "matmul precision default" in printed
    assert "step, waited for median" in printed and "one wait at the end" in printed
    assert "state aliasing 100.00%" in printed
