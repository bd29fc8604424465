"""Reading the configuration's files, for the service and for ``bmx7-wg config``.

At the root of the package because both need it and neither may import the other.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from .core.config import ConfigError, ConfigSource

DEFAULT_DIRECTORY: Final = Path("/etc/bmx7-wg")
STATE_DIRECTORY: Final = Path("/var/lib/bmx7-wg")
#: What was changed on the bus, in the service's state directory.
CHANGES: Final = "bus.toml"
MAX_SIZE: Final = 1024 * 1024  # bytes; a configuration of more than this is a mistake


def read(directory: Path) -> list[ConfigSource]:
    """``config.toml``, then ``conf.d/*.toml`` in the order of their names; absent ones are empty.

    Raises ConfigError, with the path and what to do, for what is there and can't be read.
    """
    sources: list[ConfigSource] = []
    problems: list[str] = []
    for path in _files(directory, problems):
        try:
            sources.append(ConfigSource(str(path), _content(path)))
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{path}: can't be read: {error.strerror}")
        except ValueError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise ConfigError(tuple(problems))
    return sources


def changes(directory: Path) -> tuple[list[ConfigSource], str]:
    """What was changed on the bus and is kept in the state directory, for others than the service.

    With it an empty string, or a sentence on why it is not to be known by who asks: the directory
    is root's alone. Raises ConfigError as `read` does.
    """
    path = directory / CHANGES
    try:
        return [ConfigSource(str(path), _content(path))], ""
    except FileNotFoundError:
        return [], ""
    except PermissionError:
        return [], f"changes made on the bus are not known: only root reads {path}"
    except OSError as error:
        raise ConfigError((f"{path}: can't be read: {error.strerror}",)) from None
    except ValueError as error:
        raise ConfigError((f"{path}: {error}",)) from None


def _files(directory: Path, problems: list[str]) -> list[Path]:
    extra = directory / "conf.d"
    try:
        names = sorted(name for name in os.listdir(extra) if name.endswith(".toml"))
    except FileNotFoundError:
        names = []
    except OSError as error:
        problems.append(f"{extra}: can't be read: {error.strerror}")
        names = []
    shown = [name for name in names if not name.startswith(".")]
    return [directory / "config.toml", *(extra / name for name in shown)]


def _content(path: Path) -> bytes:
    # O_NONBLOCK: opening a FIFO must not hang the service.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file; a text file is needed")
        content = file.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise ValueError(f"is larger than {MAX_SIZE} bytes")
    return content
