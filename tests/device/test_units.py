"""systemctl's words; what systemd itself does is tested in booted systems."""

from __future__ import annotations

import subprocess

import pytest

from bmx7wg.device import units


@pytest.mark.parametrize("name", ["wgBmx7", "wg-mesh", ".hidden", "a.b_c", "ä $x\\", "x" * 15])
def test_instances_are_those_of_systemd(name: str) -> None:
    command = ["systemd-escape", "--template=bmx7-wg-userspace@.service", name]
    expected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert units.instance(units.WIREGUARD_GO, name) == expected.rstrip("\n")


@pytest.mark.parametrize(
    ("listed", "stays"),
    [
        ("12 x.service restart running\n", True),
        ("12 x.service start waiting\n", True),
        ("12 x.service stop running\n", False),
        ("", False),
    ],
)
def test_a_unit_stays_if_its_job_starts_it(
    listed: str, stays: bool, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\nprintf '{listed}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert units.will_run("x.service") is stays


def test_what_is_not_known_stays(monkeypatch, tmp_path, caplog) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert units.will_run("x.service") is True
    assert "systemctl can't be run" in caplog.text
    with pytest.raises(units.UnitError):
        units.start("x.service")
