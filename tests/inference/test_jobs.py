"""Which photographs a call does: parts of a folder hold each of them exactly once."""

from collections import Counter

import pytest

from retrojax.inference.jobs import parse_shard, plan_jobs, shard_of


@pytest.fixture
def folder(tmp_path):
    """Eleven photographs by name, two of which meet in one result's name."""
    for name in [*(f"{index}.jpg" for index in range(9)), "sub/a.png", "sub/a.tif"]:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "in"


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 11, 15])
def test_the_parts_of_a_folder_hold_each_photograph_exactly_once(folder, tmp_path, parts):
    jobs = plan_jobs([folder], tmp_path / "out")
    shares = [shard_of(jobs, part, parts) for part in range(1, parts + 1)]
    assert Counter(job for share in shares for job in share) == Counter(jobs)
    assert len({job.target for job in jobs}) == len(jobs) == 11
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_part_is_named_by_its_number_and_theirs():
    assert parse_shard("1/1") == (1, 1)
    assert parse_shard("8/8") == (8, 8)


@pytest.mark.parametrize("text", ["", "1", "0/8", "9/8", "-1/8", "1/0", "a/b", "1/2/3", "1.5/2"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ValueError, match="--shard must be I/N") as caught:
        parse_shard(text)
    assert repr(text) in str(caught.value)
