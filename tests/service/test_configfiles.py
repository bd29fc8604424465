from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bmx7wg import configfiles
from bmx7wg.core.config import ConfigError, parse

ROOT = Path(__file__).resolve().parents[2]


def test_an_absent_directory_is_an_empty_configuration(tmp_path: Path) -> None:
    assert configfiles.read(tmp_path / "absent") == []


def test_the_order_of_files(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("device.port = 1\n")
    extra = tmp_path / "conf.d"
    extra.mkdir()
    (extra / "20-b.toml").write_text("device.port = 3\n")
    (extra / "10-a.toml").write_text("device.port = 2\n")
    for ignored in ("README", "90.toml~", "90.toml.dpkg-new", ".90.toml"):
        (extra / ignored).write_text("not TOML")
    loaded = parse(configfiles.read(tmp_path))
    assert loaded.config.device.port == 3
    assert loaded.origins["device.port"] == f"{extra}/20-b.toml:1"


def problem(directory: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        configfiles.read(directory)
    (found,) = caught.value.problems
    return found


def test_a_directory_or_fifo_in_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.mkdir()
    assert problem(tmp_path) == f"{path}: can't be read: Is a directory"
    path.rmdir()
    os.mkfifo(path)
    assert problem(tmp_path) == f"{path}: is not a regular file; a text file is needed"


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "conf.d").write_text("")
    assert problem(tmp_path) == f"{tmp_path}/conf.d: can't be read: Not a directory"


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0)
    # Root reads everything, so nobody has to try.
    program = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from bmx7wg import configfiles
os.chdir({str(tmp_path)!r})
os.chmod(".", 0o755)
os.setgid(65534)
os.setuid(65534)
configfiles.read(Path("."))
"""
    run = subprocess.run(["/usr/bin/python3", "-c", program], capture_output=True, text=True)
    assert "ConfigError: config.toml: can't be read: Permission denied" in run.stderr


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with open(tmp_path / "config.toml", "wb") as file:
        file.truncate(configfiles.MAX_SIZE + 1)
    assert problem(tmp_path) == f"{tmp_path}/config.toml: is larger than 1048576 bytes"
