"""The members that a server reads from the table's file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corral.cluster.ray.members import RayMembers
from corral.cluster.ray.tablefile import read_table, write_table
from tests.cluster.ray.test_table import A, B
from tests.waiting import PATIENCE_S


def urls(members: RayMembers) -> dict[str, str]:
    return {name.partition(" ")[0]: member.url for name, member in members.nodes().items()}


async def wakes(members: RayMembers, act: Callable[[], object]) -> None:
    waiting = asyncio.create_task(members.changed())
    await asyncio.sleep(0)
    act()
    await asyncio.wait_for(waiting, PATIENCE_S)


def test_the_table_is_there_from_the_start(tmp_path: Path) -> None:
    write_table(tmp_path / "nodes.json", {"a": A})
    assert urls(RayMembers(tmp_path / "nodes.json")) == {"a": A.url}


def test_a_change_wakes(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    members = RayMembers(path, look_s=0.001)
    assert not members.nodes()
    asyncio.run(wakes(members, lambda: write_table(path, {"a": A})))
    assert urls(members) == {"a": A.url}
    asyncio.run(wakes(members, lambda: write_table(path, {"a": A, "b": B})))
    assert urls(members) == {"a": A.url, "b": B.url}
    asyncio.run(wakes(members, lambda: write_table(path, {"b": B})))
    assert urls(members) == {"b": B.url}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"nodes": 1}', "\xff"])
def test_what_cannot_be_read_takes_nobody_away(tmp_path: Path, text: str) -> None:
    path = tmp_path / "nodes.json"
    write_table(path, {"a": A})
    members = RayMembers(path, look_s=0.001)

    def damage_and_mend() -> None:
        path.write_text(text, encoding="latin-1")
        assert not members._read()
        path.unlink()
        assert not members._read()
        assert urls(members) == {"a": A.url}
        write_table(path, {"a": A, "b": B})

    asyncio.run(wakes(members, damage_and_mend))


def test_a_node_that_joins_again_is_another_member(tmp_path: Path) -> None:
    """Somebody may have removed it, which holds for what it was."""
    path = tmp_path / "nodes.json"
    write_table(path, {"a": A})
    members = RayMembers(path)
    before = set(members.nodes())
    write_table(path, {"a": replace(A, ray_node="ray-9")})
    assert members._read() and not before & set(members.nodes())


def test_what_does_not_concern_members_does_not_wake(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    write_table(path, {"a": A})
    members = RayMembers(path)
    write_table(path, {"a": replace(A, epoch="9", starts=4)})
    assert not members._read()


def test_the_file_is_for_its_owner(tmp_path: Path) -> None:
    write_table(tmp_path / "below" / "nodes.json", {"a": A, "b": B})
    assert (tmp_path / "below" / "nodes.json").stat().st_mode & 0o777 == 0o600
    assert read_table(tmp_path / "below" / "nodes.json") == {"a": A, "b": B}
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["nodes.json"]
