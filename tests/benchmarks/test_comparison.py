"""How systems are compared; those that are compared here only pretend to work."""

import json
import os
from pathlib import Path

import pytest

from benchmarks import comparison, step_time
from benchmarks.comparison import DisagreementError, agree, compare
from benchmarks.comparison_table import comparison_table
from benchmarks.exchange import exchange_rate
from benchmarks.worker import Worker, available_cpus

LOSSES = [
    {"d/adversarial": 1.0, "g/adversarial": 2.0},
    {"d/adversarial": 0.5, "g/adversarial": 4.0},
]
OPTIONS = {"rounds": 3, "steps": 50, "warmup": 10, "round_seconds": 1, "threads": 1}


class Pretended:
    """Stands in for a process; the class keeps what was asked of all of them."""

    asked: list[tuple[str, str, dict]] = []
    losses = {"product": LOSSES, "torch": LOSSES, "flax": LOSSES}
    devices = {"product": "cpu (cpu)", "torch": "cpu (cpu)", "flax": "cpu (cpu)"}
    seconds = {"product": 0.01, "torch": 0.02, "flax": 0.1}

    def __init__(self, name, *, threads, **options):
        self.name = name

    def call(self, method, **options):
        self.asked.append((self.name, method, options))
        facts = {
            "versions": {self.name: "1.0"},
            "device": self.devices[self.name],
            "compile_seconds": 3.0,
            "flops": 2e9 if self.name == "product" else None,
            "peak_bytes": 5e8,
        }
        return {
            "losses": self.losses[self.name],
            "facts": facts,
            "ceilings": {"matmul": 4e11, "convolution": 3e11},
            "round": {"seconds": self.seconds[self.name], "finite": True},
        }.get(method)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(comparison, "Worker", Pretended)
    monkeypatch.setattr(Pretended, "asked", [])
    return Pretended


def test_the_largest_difference_is_reported_with_its_place():
    found = [dict(LOSSES[0]), LOSSES[1] | {"g/adversarial": 4.002}]
    worst = agree("torch", found, LOSSES)
    assert worst["difference"] == pytest.approx(5e-4)
    assert (worst["loss"], worst["step"], worst["steps"]) == ("g/adversarial", 1, 2)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"g/adversarial": 4.005}, "g/adversarial in step 1 is 4.005, the product's is 4"),
        ({"d/adversarial": float("nan")}, "d/adversarial in step 1 is nan"),
        ({"g/l1": 1.0}, "torch has other losses: g/l1"),
    ],
)
def test_another_game_is_not_timed(changed, says):
    with pytest.raises(DisagreementError, match=says):
        agree("torch", [LOSSES[0], LOSSES[1] | changed], LOSSES)


def test_systems_agree_first_and_are_then_timed_in_turn(pretended):
    compare({"model": "document"}, ["torch", "flax"], **OPTIONS)
    methods = [(name, method) for name, method, _ in pretended.asked]
    before = methods.index(("flax", "losses"))
    assert all(method != "round" for _, method in methods[:before])
    rounds = [(name, options) for name, method, options in pretended.asked if method == "round"]
    assert [name for name, _ in rounds] == ["product", "torch", "flax"] * 4, "a trial, 3 rounds"
    # The slowest makes 10 steps in a second; a fifth as many are not timed.
    assert all(options == {"steps": 10, "warmup": 2} for _, options in rounds[3:])


def test_a_comparison_is_a_table_and_json(pretended):
    report = compare({"model": "look"}, ["torch", "flax"], **OPTIONS)
    assert json.loads(json.dumps(report))["ratios"][0]["median"] == pytest.approx(0.5)
    printed = " ".join(comparison_table(report | {"load_average": (0.1, 0.2, 0.3)}).split())
    assert "step look, batch 16, 64x64 pixels, float32, loss lsgan, alternating" in printed
    assert "losses, torch at most 0.0e+00 from the product's in 2 steps" in printed
    assert "step, product median 10.00 ms, 10.00 to 10.00" in printed
    assert "200.0 GFLOP/s, 50.0% of the matmul peak, 66.7% of the convolution peak" in printed
    assert "product / torch median 0.500, 0.500 to 0.500, 95 % bootstrap 0.500 to 0.500" in printed
    assert "product / flax median 0.100" in printed
    assert "(3 rounds in turn of 10 steps after 2; below 1 the product is faster)" in printed
    assert "peaks, torch matmul 400.0 GFLOP/s, convolution 300.0 GFLOP/s" in printed
    assert "WARNING" not in printed
    assert len(report["exchange"]) == 3, "before every round"
    cores = comparison_table(report | {"exchange": [8e10, 4e10, 9e10]})
    assert "median 80.00 GB/s, 40.00 GB/s to 90.00 GB/s (written by one, read by" in cores
    assert "core to core" not in comparison_table(report | {"exchange": [None] * 3})
    busy = comparison_table(report | {"load_average": (2.0, 0.2, 0.3)})
    assert "the machine is not quiet" in busy
    assert "losses are not finite" in comparison_table(report | {"finite": False})


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or available_cpus() < 2,
    reason="needs Linux and two CPUs",
)
def test_two_cores_exchange_data_and_the_caller_may_run_where_it_did(monkeypatch):
    before = os.sched_getaffinity(0)
    rate = exchange_rate()
    assert rate is not None and 1e7 < rate < 1e13, "bytes a second"
    assert os.sched_getaffinity(0) == before
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert exchange_rate() is None, "one core has nobody to exchange with"


def test_a_gpu_is_not_compared_with_a_cpu(pretended, monkeypatch):
    monkeypatch.setitem(Pretended.devices, "torch", "NVIDIA H100 (gpu)")
    with pytest.raises(RuntimeError, match=r"torch on NVIDIA H100 \(gpu\); set JAX_PLATFORMS=cpu"):
        compare({"model": "document"}, ["torch"], **OPTIONS)


def test_losses_that_differ_are_one_line_and_exit_code_1(pretended, monkeypatch, capsys):
    monkeypatch.setitem(Pretended.losses, "flax", [LOSSES[1], LOSSES[0]])
    with pytest.raises(SystemExit) as stopped:
        step_time.main(["--against=flax", "--model=look"])
    out, err = capsys.readouterr()
    assert stopped.value.code == 1 and not out
    assert "step_time: flax plays another game: d/adversarial in step 0 is 0.5" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--against=torch"], "--against=torch needs PyTorch: pip install '.[bench]'"),
        (["--against=keras"], "invalid choice: 'keras' (choose from torch, torch-compile"),
        (["--model=look"], "--model goes with --against"),
        (["--against=flax", "--preset=look"], "--preset does not go with --against"),
        (["--against=flax", "--devices=1"], "--devices does not go with --against"),
        (["--against=flax", "--model=pix2pix", "--size=48"], "--size must be a power of two"),
        (["--against=flax", "--size=30"], "--size must be a multiple of 4"),
        (["--against=flax", "--features=8"], "networks have widths of their own"),
        (["--against=flax", "--blocks=2"], "--blocks goes with --model=cyclegan"),
        (["--against=flax", "--threads=999"], f"there are {available_cpus()} CPUs"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, says, capsys, monkeypatch):
    monkeypatch.setattr(step_time, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        step_time.main(arguments)
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert says.replace("'", "") in err.replace("'", "") and err.count("\n") == 1 and not out


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or available_cpus() < 2,
    reason="needs Linux, and a CPU that is not given",
)
def test_no_thread_of_a_worker_has_more_cpus_than_it_was_given():
    shape = [False, 1, [4, 4], 2, 3, 3, 1, [1, 1]]
    with Worker("product-operations", threads=1) as worker:
        worker.call("prepare", convolution=shape, direction="forward", dtype="float32")
        process = worker.process.pid
        threads = [int(one.name) for one in Path(f"/proc/{process}/task").iterdir()]
        assert len(os.sched_getaffinity(process)) == 1
        assert len(threads) > 1, "those of JAX, too"
        assert all(len(os.sched_getaffinity(thread)) == 1 for thread in threads)


def test_a_worker_answers_and_says_what_went_wrong():
    shape = [False, 1, [4, 4], 2, 3, 3, 1, [1, 1]]
    with Worker("product-operations", threads=1) as worker:
        seconds = worker.call(
            "prepare", convolution=shape, direction="weight gradient", dtype="float32"
        )
        assert seconds > 0 and worker.call("time", calls=2) > 0
        with pytest.raises(RuntimeError, match="product-operations failed in 'time'"):
            worker.call("time", calls="many")
        assert worker.call("time", calls=1) > 0, "it goes on"
        worker.process.kill()
        with pytest.raises(RuntimeError, match="ended in 'time' with exit code -9"):
            worker.call("time", calls=1)
