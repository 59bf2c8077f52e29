"""Where a control group may be made, and what is written to it. The kernel's own are met by the sandboxes' tests."""

from sandboxes import cgroup


def test_version_2_is_used_below_the_nearest_group_that_hands_on_memory_and_processes(tmp_path, monkeypatch):
    for folder, handed in {"": "cpu memory pids", "a": "memory pids", "a/b": "memory", "a/b/own": ""}.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "cgroup.subtree_control").write_text(handed + "\n")
    monkeypatch.setattr(cgroup, "_own", lambda: {"": "/a/b/own"})
    monkeypatch.setattr(cgroup, "_mounts", lambda: {"": str(tmp_path)})
    assert cgroup._parents_v2() == {"memory": f"{tmp_path}/a", "pids": f"{tmp_path}/a"}
    monkeypatch.setattr(cgroup, "_own", lambda: {"": "/"})
    assert cgroup._parents_v2() == dict.fromkeys(("memory", "pids", "cpu"), str(tmp_path))
    (tmp_path / "cgroup.subtree_control").write_text("cpu\n")
    assert cgroup._parents_v2() == {}


def test_the_limits_of_both_versions(tmp_path):
    wanted = {"memory_mb": 512, "pids": 64, "cpus": 1.5}
    cgroup.Group(2, dict.fromkeys(("memory", "pids", "cpu"), str(tmp_path))).limit(**wanted)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "memory.max": "536870912", "pids.max": "64", "cpu.max": "150000 100000",
    }  # fmt: skip
    (tmp_path / "memory.swap.max").touch()
    cgroup.Group(2, {"memory": str(tmp_path)}).limit(**wanted)
    assert (tmp_path / "memory.swap.max").read_text() == "0"
    for name in ("memory", "pids", "cpu"):
        (tmp_path / name).mkdir()
    group = cgroup.Group(1, {name: f"{tmp_path}/{name}" for name in ("memory", "pids", "cpu")})
    group.limit(**wanted)
    assert (tmp_path / "memory" / "memory.limit_in_bytes").read_text() == "536870912"
    assert (tmp_path / "cpu" / "cpu.cfs_quota_us").read_text() == "150000"
    assert group.limits == "memory, processes, CPU"


def test_a_group_that_cannot_be_joined_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "_parents_v1", dict)
    monkeypatch.setattr(cgroup, "_parents_v2", lambda: {"memory": str(tmp_path), "pids": str(tmp_path)})
    assert not cgroup.possible()  # a folder that is no group has no door
    assert list(tmp_path.iterdir()) == []
