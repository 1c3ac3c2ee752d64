"""A process beside this one, for work that nothing else could end.

It runs a script with this interpreter and its path, without torch. Both sides send
lines of JSON, and bytes whose number such a line told.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

from torchkeras._core.errors import CorruptFileError

_START = (
    "import runpy, sys; sys.path[:] = sys.argv[2:]; "
    "runpy.run_path(sys.argv[1], run_name='__main__')"
)


class Helper:
    """A process that runs a script.

    Args:
        script: the script, which sends a line when it is ready.

    Raises:
        OSError: when it does not start.
    """

    def __init__(self, script: Path) -> None:
        paths = [os.path.abspath(path) for path in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, str(script), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._requests: Any = self._process.stdin
        self._answers: Any = self._process.stdout
        self._is_clean = True
        if not self._answers.readline():
            self.end()
            raise OSError(
                f"'{sys.executable} {script}' does not run, which reads HDF5 files. "
                "Can that Python import h5py, and may this process start another?"
            )

    @property
    def is_fit(self) -> bool:
        """Whether it runs, and nothing that it did went wrong."""
        return self._is_clean and self._process.poll() is None

    def ask(self, file: BinaryIO, source: str, job: Any) -> dict[str, Any]:
        """Return the answer to a job, serving the bytes of a file that it asks for.

        Raises:
            CorruptFileError: when the process came to its end over it.
        """
        self._is_clean = False
        try:
            self._requests.write(json.dumps(job).encode("ascii") + b"\n")
            while True:
                self._requests.flush()
                answer = json.loads(self._answers.readline())
                if "read" not in answer:
                    self._is_clean = "failed" not in answer
                    return answer
                start, size = answer["read"]
                file.seek(start)
                self._requests.write(file.read(size))
        except (BrokenPipeError, ValueError):
            raise CorruptFileError(
                f"{source}: damaged: the library that reads it crashed, or came to no "
                "end. Use another copy."
            ) from None

    def fill(self, into: memoryview) -> None:
        """Read the bytes that follow the last answer."""
        self._is_clean = False
        self._is_clean = self._answers.readinto(into) == len(into)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()


#: Those that wait for work, by the process that started them: a fork has none.
_waiting: dict[tuple[int, Path], list[Helper]] = {}


@contextlib.contextmanager
def helper(script: Path) -> Generator[Helper]:
    """Give a process that nobody else asks, which waits for the next one afterwards.

    One that came upon damage is ended: who knows what it did to its memory.
    """
    waiting = _waiting.setdefault((os.getpid(), script), [])
    found = waiting.pop() if waiting else Helper(script)
    if not found.is_fit:
        found.end()
        found = Helper(script)
    try:
        yield found
    finally:
        if found.is_fit and not waiting:
            waiting.append(found)
        else:
            found.end()


@atexit.register
def _end_those_that_wait() -> None:
    for (owner, _), waiting in _waiting.items():
        while owner == os.getpid() and waiting:
            waiting.pop().end()
