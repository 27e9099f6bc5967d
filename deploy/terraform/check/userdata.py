"""Takes apart the user data that Terraform planned for Highwater's instances, and runs its scripts with stand-ins for what they call.

    userdata.py GIVEN    a JSON file: {"user_data": [base64 of gzip, …], "unwanted": [texts that must be in none]}

Shows that the cloud-config is one, that the scripts do what they should and stop where they should, and that no secret is in it. Does
not show that an image has what they call, nor systemd's opinion, unless systemd-analyze is here. Prints the highwater.toml of each.
"""

import base64
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

SECRETS, INSTALL = "/usr/local/libexec/highwater-secrets", "/usr/local/libexec/highwater-install"
PROGRAM = b"#!/bin/sh\necho highwater 1.0.0\n"
# Each writes down how it was called. `aws` hands out what the test put there.
STUBS = {
    "aws": """case " $* " in
        *" get-secret-value "* | *" get-parameter "*) cat "$HERE/secret" ;;
        *" get-object "*) for last; do :; done; cp "$HERE/object" "$last" ;;
    esac""",
    "install": 'for last; do :; done; mkdir -p "$last"',
    "chgrp": ":",
    "systemctl": ":",
    "sleep": ":",
    "curl": 'case "$*" in *instance-id*) echo i-1 ;; *token) echo t ;; *readyz) [ -e "$HERE/ready" ] ;; esac',
}


def main():
    with open(sys.argv[1]) as file:
        given = json.load(file)
    assert given["user_data"], "no user data to look at"
    for packed in given["user_data"]:
        text = gzip.decompress(base64.b64decode(packed)).decode()
        assert text.startswith("#cloud-config\n"), "cloud-init takes it for something else"
        for word in given["unwanted"]:
            assert word not in text, f"{word!r} is in the user data"
        config = yaml.safe_load(text)
        assert set(config) == {"users", "write_files", "runcmd"}, sorted(config)
        assert config["runcmd"] == [[INSTALL]]
        files = {it["path"]: it for it in config["write_files"]}
        for path in (SECRETS, INSTALL):
            assert files[path]["permissions"] == "0755", path
        with tempfile.TemporaryDirectory() as home:
            Scripts(Path(home), files).run()
        analyze(files)
        print(json.dumps(files["/etc/highwater/highwater.toml"]["content"]))


class Scripts:
    def __init__(self, home, files):
        self.home = home
        self.bin = home / "bin"
        self.bin.mkdir()
        for name, body in STUBS.items():
            (self.bin / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"$HERE/calls"\n{body}\n')
            (self.bin / name).chmod(0o755)
        (home / "bin-here").mkdir()
        for name, path in (("secrets", SECRETS), ("install", INSTALL)):
            text = files[path]["content"]
            text = text.replace("/run/highwater-secrets", str(home / "secrets")).replace("/usr/bin", str(home / "bin-here"))
            # Nine minutes of asking whether it is ready, here as many times as fit into a second.
            text = text.replace("seq 1 270", "seq 1 5")
            # The program served here is not the one whose checksum the tests name.
            text = text.replace("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", hashlib.sha256(PROGRAM).hexdigest())
            (home / f"{name}.sh").write_text(text)
        self.secrets, self.program = home / "secrets", home / "bin-here" / "highwater"

    def call(self, name):
        (self.home / "calls").write_text("")
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HERE": str(self.home)}
        return subprocess.run(
            ["bash", str(self.home / f"{name}.sh")], env=environment, capture_output=True, text=True, timeout=60
        )

    def calls(self):
        return (self.home / "calls").read_text()

    def run(self):
        self.secrets_are_written()
        self.an_empty_secret_changes_nothing()
        self.another_program_is_not_started()
        self.an_instance_that_is_not_ready_says_so_to_nobody()
        self.a_ready_instance_says_so()

    def secrets_are_written(self):
        (self.home / "secret").write_text("first\n")
        done = self.call("secrets")
        assert done.returncode == 0, done.stderr
        for name in ("monitor.secret", "userlist.txt"):
            path = self.secrets / name
            assert path.read_text() == "first\n", name
            # Highwater refuses files with secrets that others can read.
            assert path.stat().st_mode & 0o777 == 0o640, f"{name}: {path.stat().st_mode:o}"

    def an_empty_secret_changes_nothing(self):
        (self.home / "secret").write_text("")
        done = self.call("secrets")
        assert done.returncode != 0 and "is empty" in done.stderr, done
        assert (self.secrets / "monitor.secret").read_text() == "first\n"
        assert len(list(self.secrets.iterdir())) == 2, "something half-written is left"

    def another_program_is_not_started(self):
        (self.home / "object").write_bytes(PROGRAM + b"and more")
        done = self.call("install")
        assert done.returncode != 0, "a program with another checksum was taken"
        assert not self.program.exists() and "systemctl" not in self.calls(), self.calls()
        assert not list(self.program.parent.iterdir()), "something half-written is left"

    def an_instance_that_is_not_ready_says_so_to_nobody(self):
        (self.home / "object").write_bytes(PROGRAM)
        done = self.call("install")
        assert done.returncode != 0 and "not ready" in done.stderr, done
        assert "systemctl enable --now highwater.service" in self.calls()
        assert "complete-lifecycle-action" not in self.calls(), "Auto Scaling was told that it is ready"

    def a_ready_instance_says_so(self):
        (self.home / "ready").touch()
        done = self.call("install")
        assert done.returncode == 0, done.stderr
        assert self.program.read_bytes() == PROGRAM and self.program.stat().st_mode & 0o777 == 0o755
        said = [line for line in self.calls().splitlines() if "complete-lifecycle-action" in line]
        assert len(said) == 1 and "--instance-id i-1 --lifecycle-action-result CONTINUE" in said[0], said


def analyze(files):
    """systemd's own opinion of the units, where it is to be had. What they start is not here, so it is put there by name."""
    if not shutil.which("systemd-analyze"):
        print("SKIPPED: systemd-analyze is not installed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as home:
        units = []
        for path, it in files.items():
            if path.startswith("/etc/systemd/system/"):
                unit = Path(home) / Path(path).relative_to("/etc/systemd/system")
                unit.parent.mkdir(exist_ok=True)
                unit.write_text(it["content"].replace("/usr/bin/highwater", "/bin/true").replace(SECRETS, "/bin/true"))
                units += [str(unit)] if unit.suffix == ".service" else []
        assert len(units) == 2, units
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
        complaints = [line for line in done.stderr.splitlines() if home in line or "highwater" in line]
        assert not complaints, "\n".join(complaints)


if __name__ == "__main__":
    main()
