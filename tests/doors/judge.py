"""What somebody without any right may get, and what is a door that stands open."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.doors import knock
from tests.doors.listening import Door

#: A user and group that own nothing.
NOBODY = 65533
#: Pages that anybody may see: those of a sign-in, and what says no more than that a service is there.
PUBLIC: Mapping[str, tuple[str, ...]] = {
    # one page for every path that nothing else answers: it holds no data, and asks to sign in
    "Airflow": ("/", "/docs"),
    "S3": ("/readyz", "/status"),
    "Envoy": ("/readyz",),
    "global Envoy": ("/readyz",),
}


@dataclass(frozen=True)
class Open:
    """A door that gave something: what was asked, and the beginning of the answer."""

    door: Door
    asked: str
    said: str


def as_nobody(script: str, text: str) -> str:
    """What a script of the standard library prints, run as NOBODY. Skips without root."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        pytest.skip("needs root and setpriv: somebody else's rights can only be taken on by root")
    own = str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    who = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    prefix = [setpriv, *who]
    able = (p for p in (own, "/usr/bin/python3") if not subprocess.run([*prefix, p, "-c", ""], check=False).returncode)
    if (python := next(able, None)) is None:
        pytest.skip(f"somebody else cannot run {own}")
    command = [*prefix, python, "-I", "-c", script]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd="/", timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def standing_open(found: Iterable[Door], names: Mapping[str, str]) -> list[Open]:
    """The doors of `found` that give somebody without any right something; `names`: port -> what listens there."""
    script = Path(knock.__file__).read_text()
    answers = [json.loads(line) for line in as_nobody(script, json.dumps([asdict(one) for one in found])).splitlines()]
    front = {one["where"]: body(one["said"]) for one in answers if one["asked"] == "GET /"}
    given = []
    for one in answers:
        door = Door(one["kind"], one["where"], one["process"])
        name = names.get(door.where.rpartition(":")[2], "")
        public = PUBLIC.get(name, ())
        if "/" in public and body(one["said"]) == front.get(door.where):
            continue
        if is_open(one["asked"], one["said"], public):
            given.append(Open(door, one["asked"], one["said"][:200]))
    return given


def body(answer: str) -> str:
    return answer.partition("\r\n\r\n")[2]


def is_open(asked: str, said: str, public: tuple[str, ...] = ()) -> bool:
    """Whether an answer gives away data or state, or takes an order."""
    if not said:
        return False
    if asked == "redis":
        return said.startswith("+PONG")
    if asked == "postgres":  # AuthenticationOk, where it asks for no password
        return said[0] == "R" and said[5:9] == "\0\0\0\0"
    if asked.startswith("http2"):  # a server that speaks gRPC begins with its SETTINGS frame
        return said[3:4] == "\x04" and not public
    path = asked.rpartition(" ")[2]
    status = re.match(r"HTTP/1\.[01] (\d+)", said)
    return bool(status) and status[1][0] in "23" and path not in public  # type: ignore[index]
