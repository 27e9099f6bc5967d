#!/usr/bin/env python3
"""Checks the Terraform modules as really as can be done without AWS: see ../README.md for what each step shows and what none can.

    check.py [--cache DIR] [--highwater PROGRAM]

Needs terraform (1.11 or newer), and for all but the format Python's venv and pip and npm, from which it takes three pinned packages
once. Leaves the checkout as it is: everything is done in copies below the cache.

Exit status: 0 fine, 1 found something, 3 something needed is not installed, 4 only the format could be checked.
"""

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

# The checkout stays as it is.
sys.dont_write_bytecode = True

import schema

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
MODULES = ["rds-replicas", "highwater"]
TESTED = MODULES + ["examples/replicas", "examples/complete"]
VALIDATED = TESTED + ["smoke"]
PROVIDER = "registry.terraform.io/hashicorp/aws"
OLDEST = (1, 11)
# A command of Terraform that takes longer hangs.
TERRAFORM_SECONDS_MAX = 300


class Finding(Exception):
    """Something is wrong with the modules."""


class Missing(Exception):
    """Something this check needs cannot be had."""


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--cache", type=Path, default=TOP.parent.parent / "target" / "terraform")
    arguments.add_argument("--highwater", type=Path, help="a built highwater, to check the rendered configuration with")
    given = arguments.parse_args()
    found = terraform_version()
    if found < OLDEST:
        what = f"{'.'.join(map(str, found))} is too old" if found else "is not installed"
        print(f"SKIPPED: terraform {what} (1.11 or newer: https://developer.hashicorp.com/terraform/install)")
        return 3
    cache = given.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        # One build directory may serve several checkouts.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return check(cache, given.highwater)


def terraform_version():
    """As numbers; none when it is not installed."""
    if not shutil.which("terraform"):
        return ()
    printed, _ = run(["terraform", "version", "-json"])
    # Warnings may stand before and behind it.
    text = json.JSONDecoder().raw_decode(printed[printed.index("{") :])[0]["terraform_version"]
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def check(cache, highwater):
    try:
        step("format", check_format)
        try:
            python = step("packages: PyPI", lambda: environment(cache))
            package = step("packages: npm", lambda: provider_package(cache))
        except Missing as missing:
            print(f"SKIPPED all but the format: {missing}")
            return 4
        bench = Bench(cache, python, package)
        step("validate", bench.validate)
        with bench.attached():
            step("validate refuses", bench.refuse_mistakes)
            runs = {name: step(f"test {name}", lambda name=name: bench.test(name)) for name in TESTED}
            step("messages", bench.check_messages)
        check_table(runs["rds-replicas"])
        configurations = [text for name in TESTED for text in rendered(runs[name])] + step("user data", lambda: bench.check_user_data(runs))
        step("highwater.toml", lambda: bench.check_configurations(configurations, highwater))
        step("replay", lambda: bench.replay(runs["rds-replicas"]))
    except (Finding, schema.Unreadable) as finding:
        print(f"FAILED: {finding}")
        return 1
    return 0


def step(name, what):
    started = time.monotonic()
    result = what()
    print(f"terraform: {name:<22}{time.monotonic() - started:>6.1f} s", flush=True)
    return result


def run(command, where=None, extra=None):
    """What a command prints, standard error included, and its exit status."""
    environment = {**os.environ, **(extra or {})}
    done = subprocess.run(
        command, cwd=where, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=TERRAFORM_SECONDS_MAX, text=True, errors="replace",
    )
    return done.stdout, done.returncode


def check_format():
    printed, status = run(["terraform", f"-chdir={TOP}", "fmt", "-check", "-recursive", "-diff"])
    if status != 0:
        raise Finding(f"terraform fmt -recursive deploy/terraform would change:\n{printed}")


# ---- Packages, fetched once, pinned and checked by hash ----


def environment(cache):
    """The Python of a virtual environment with exactly what requirements.txt says; pip checks every file's hash."""
    wanted = hashlib.sha256((HERE / "requirements.txt").read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache / f"python-{wanted}"
    python, whole = home / "bin" / "python", home / "whole"
    if whole.exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:",
         "--require-hashes", "-r", str(HERE / "requirements.txt")],
    ):
        printed, status = run(command)
        if status != 0:
            raise Missing(f"{' '.join(command[:4])} … failed:\n{printed[-2000:]}")
    # An interrupted installation must not pass for a whole one.
    whole.touch()
    return python


def provider_package(cache):
    """The npm package with the provider's schema, as package-lock.json pins it."""
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]
    (path, entry), = ((path, entry) for path, entry in locked.items() if path)
    name, version = path.removeprefix("node_modules/"), entry["version"]
    kept = cache / f"{name.strip('@').replace('/', '-')}-{version}.tgz"
    if not kept.exists():
        if not shutil.which("npm"):
            raise Missing("npm is not installed (apt-get install npm)")
        half = cache / f"npm-{os.getpid()}"
        half.mkdir()
        try:
            printed, status = run(["npm", "pack", "--silent", f"{name}@{version}"], half)
            found = list(half.glob("*.tgz"))
            if status != 0 or len(found) != 1:
                raise Missing(f"npm pack {name}@{version} failed:\n{printed[-2000:]}")
            found[0].replace(kept)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    digest = "sha512-" + base64.b64encode(hashlib.sha512(kept.read_bytes()).digest()).decode()
    if digest != entry["integrity"]:
        kept.unlink()
        raise Finding(f"{name}@{version} is not the package that package-lock.json pins: {digest}")
    return kept


# ---- The modules, in a copy ----


class Bench:
    """A copy of deploy/terraform and a mirror that holds the stand-in as the only version of hashicorp/aws."""

    def __init__(self, cache, python, package):
        self.cache, self.python = cache, python
        self.copy = cache / "copy" / "terraform"
        self.environment = {
            "TF_CLI_CONFIG_FILE": str(cache / "terraformrc"),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            # The bindings keep a certificate there.
            "HOME": str(cache / "home"),
        }
        shutil.rmtree(cache / "copy", ignore_errors=True)
        shutil.copytree(TOP, self.copy, ignore=shutil.ignore_patterns(".terraform*", "__pycache__", "*.tfstate*"))
        # The instances have the unit that everybody has.
        shutil.copytree(TOP.parent / "systemd", self.copy.parent / "systemd")
        (cache / "home").mkdir(exist_ok=True)
        types = schema.used_types([TOP / name for name in VALIDATED])
        found = schema.extract(package, types)
        self.schema = cache / "schema.json"
        self.schema.write_text(json.dumps(found))
        self.version = found["version"]
        self.mirror()

    def mirror(self):
        system = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        shutil.rmtree(self.cache / "mirror", ignore_errors=True)
        home = self.cache / "mirror" / PROVIDER / self.version / f"{platform.system().lower()}_{system}"
        home.mkdir(parents=True)
        plugin = home / f"terraform-provider-aws_v{self.version}"
        plugin.write_text(f"#!/bin/sh\nexec '{self.python}' '{HERE / 'standin.py'}' '{self.schema}'\n")
        plugin.chmod(0o755)
        (self.cache / "terraformrc").write_text(
            f'disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = "{self.cache / "mirror"}"\n  }}\n}}\n'
        )

    def terraform(self, where, *arguments):
        return run(["terraform", *arguments], where, self.environment)

    def init(self, where):
        printed, status = self.terraform(where, "init", "-no-color", "-input=false")
        if status != 0:
            raise Finding(f"terraform init in {where.relative_to(self.copy)}:\n{printed}")

    def validate(self):
        for name in VALIDATED:
            self.init(self.copy / name)
            printed, status = self.terraform(self.copy / name, "validate", "-no-color")
            if status != 0:
                raise Finding(f"terraform validate in deploy/terraform/{name}:\n{printed}")

    def refuse_mistakes(self):
        """Takes something from the modules that the provider needs, or adds what it does not know: Terraform has to say so."""
        for case in json.loads((HERE / "mistakes.json").read_text()):
            path = self.copy / case["file"]
            sound = path.read_text()
            if sound.count(case["instead_of"]) != 1:
                raise Finding(f"mistakes.json: {case['name']}: {case['file']} has {case['instead_of']!r} not exactly once")
            path.write_text(sound.replace(case["instead_of"], case["write"]))
            printed, status = self.terraform(path.parent, "validate", "-no-color")
            path.write_text(sound)
            expect(case["name"], status != 0, printed, case["says"])

    @contextlib.contextmanager
    def attached(self):
        """One stand-in for all that follows: starting one for each run of each test takes most of the time."""
        command = [str(self.python), str(HERE / "standin.py"), str(self.schema), "--attach"]
        serving = subprocess.Popen(
            command, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        try:
            for line in serving.stdout:
                if "TF_REATTACH_PROVIDERS=" in line:
                    self.environment["TF_REATTACH_PROVIDERS"] = line.split("=", 1)[1].strip().strip("'")
                    break
            else:
                raise Finding("the stand-in ended before it served")
            yield
        finally:
            self.environment.pop("TF_REATTACH_PROVIDERS", None)
            serving.kill()
            serving.wait()

    def test(self, name):
        """Runs a module's tests; what Terraform planned and made in each run, `{(file, run): {"plan": …, "state": …}}`."""
        printed, status = self.terraform(self.copy / name, "test", "-json", "-verbose")
        runs, failures, passed = {}, [], 0
        for event in events(printed):
            key = (event.get("@testfile"), event.get("@testrun"))
            if event["type"] in ("test_plan", "test_state"):
                runs.setdefault(key, {})[event["type"].removeprefix("test_")] = event[event["type"]]
            elif event["type"] == "diagnostic":
                failures.append(f"{key[0]}, run {key[1]}: {told(event)}")
            elif event["type"] == "test_summary":
                passed = event["test_summary"]["passed"]
        if status != 0 or not passed:
            raise Finding(f"terraform test in deploy/terraform/{name}:\n" + "\n".join(failures or [printed]))
        print(f"terraform: {name}: {passed} runs passed")
        return runs

    # ---- Each refusal, with its message ----

    def check_messages(self):
        """Every case of tests/refusals.json must be refused, in these words and for no other reason."""
        for name in MODULES:
            cases = json.loads((self.copy / name / "tests" / "refusals.json").read_text())
            home = self.copy / name / "refusals"
            home.mkdir()
            for case in cases:
                (home / f"{case['name']}.tftest.json").write_text(json.dumps(refusal(self.copy / name, case), indent=2))
            printed, _ = self.terraform(self.copy / name, "test", "-json", "-test-directory=refusals")
            heard = {}
            for event in events(printed):
                if event["type"] == "diagnostic" and event["diagnostic"]["severity"] == "error":
                    heard.setdefault(Path(event.get("@testfile", "?")).name.removesuffix(".tftest.json"), []).append(told(event))
            for case in cases:
                said = heard.pop(case["name"], [])
                expect(case["name"], bool(said), "\n".join(said) or "it was accepted", case["says"])
                known = [plain(case[key]) for key in ("says", "warns") if key in case]
                beside = [text for text in said if not any(words in plain(text) for words in known)]
                if beside:
                    raise Finding(f"{name}: {case['name']} is refused for another reason too: {beside[0]}")
            if heard:
                raise Finding(f"{name}: refused without being a case: {heard}")
            print(f"terraform: {name}: {len(cases)} refusals in their words")

    # ---- What comes out of it ----

    def check_user_data(self, runs):
        """Takes apart what instances would be started with; the configurations in it."""
        found = [
            resource["values"]["user_data"]
            for made in (made for module in ("highwater", "examples/complete") for made in runs[module].values())
            for resource in resources(made.get("state", {}).get("root_module", {}))
            if resource["type"] == "aws_launch_template"
        ]
        given = self.cache / "userdata.json"
        given.write_text(json.dumps({"user_data": sorted(set(found)), "unwanted": ["only-in-this-test"]}))
        printed = self.helper("userdata.py", given)
        return [json.loads(line) for line in printed.splitlines() if line.startswith('"')]

    def check_configurations(self, configurations, highwater):
        """The configurations that the modules render have to be such as Highwater takes."""
        if highwater is None or not highwater.exists():
            print("SKIPPED: no built highwater was named (--highwater)")
            return
        if not configurations:
            raise Finding("no run rendered a highwater.toml")
        home = self.cache / "rendered"
        home.mkdir(exist_ok=True)
        # The files it names are made on the machine that runs Highwater; here there are stand-ins for them.
        for secret, text in (("userlist.txt", '"app" "secret"\n'), ("monitor.secret", "secret\n")):
            (home / secret).write_text(text)
            (home / secret).chmod(0o640)
        for text in configurations:
            (home / "highwater.toml").write_text(text.replace("/run/highwater-secrets", str(home)))
            printed, status = run([str(highwater), "check", "-c", str(home / "highwater.toml")])
            if status != 0:
                raise Finding(f"highwater check refuses what was rendered:\n{printed}\n{text}")
        print(f"terraform: {len(configurations)} configurations taken by highwater check")

    def replay(self, runs):
        plans = {name: made["plan"] for (file, name), made in runs.items() if file.endswith("replay.tftest.hcl")}
        mock = json.loads((TOP / "rds-replicas" / "tests" / "mocks" / "aws.tfmock.json").read_text())
        given = self.cache / "plans.json"
        given.write_text(json.dumps({"plans": plans, "primary": mock["mock_data"]["aws_db_instance"]["defaults"]}))
        print(self.helper("replay.py", given), end="")

    def helper(self, script, given):
        """What a script beside this one prints, run with the packages."""
        printed, status = run([str(self.python), str(HERE / script), str(given)], None, self.environment)
        if status != 0:
            raise Finding(f"{script}:\n{printed}")
        return printed


def check_table(runs):
    """The table of the README names tests; they have to be there."""
    readme = (TOP / "README.md").read_text()
    table = readme[readme.index("ANCHOR: table") : readme.index("ANCHOR_END: table")]
    cells = [line.rsplit("|", 2)[1] for line in table.splitlines() if line.startswith("| ")][1:]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    cases = json.loads((TOP / "rds-replicas" / "tests" / "refusals.json").read_text())
    known = {Path(file).name.split(".")[0] for file, _ in runs} | {name for _, name in runs} | {case["name"] for case in cases}
    if not named or named - known:
        raise Finding(f"deploy/terraform/README.md: its table names tests that there are not: {sorted(named - known)}")
    unproved = [cell for cell in cells if not re.search(r"`\w+`|replay", cell)]
    if unproved:
        raise Finding(f"deploy/terraform/README.md: its table has rows without a test: {unproved}")


def rendered(runs):
    """Every highwater.toml in the outputs of a module's runs."""
    outputs = [made.get("state", {}).get("outputs", {}) for made in runs.values()]
    return [it["highwater_toml"]["value"] for it in outputs if "highwater_toml" in it]


def resources(module):
    """A state's resources, those of modules in it included."""
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources(child)


def events(printed):
    for line in printed.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def told(event):
    diagnostic = event["diagnostic"]
    return f"{diagnostic['summary']}: {diagnostic.get('detail', '')}"


def refusal(module, case):
    """A test file for one case: the usual mocks with its changes, and its variables."""
    mock = json.loads((module / "tests" / "mocks" / "aws.tfmock.json").read_text())
    mock.pop("//")
    base = json.loads((module / "tests" / "usual.json").read_text())
    for kind, key in (("mock_data", "primary"), ("mock_resource", "replica")):
        if key in case:
            mock[kind]["aws_db_instance"]["defaults"].update(case[key])
    variables = {**base["variables"], **case.get("variables", {})}
    if "creates" in case:
        variables["create_primary"] = {**base["create_primary"], **case["creates"]}
    return {
        "mock_provider": {"aws": mock},
        "variables": variables,
        "run": {case["name"]: {"command": "apply" if case.get("applies") else "plan"}},
    }


def plain(text):
    """Without line breaks, which Terraform sets where it likes."""
    return " ".join(text.split())


def expect(name, refused, printed, says):
    if not refused:
        raise Finding(f"{name}: was not refused")
    if plain(says) not in plain(printed):
        raise Finding(f"{name}: was refused, but not with {says!r}:\n{printed}")


if __name__ == "__main__":
    sys.exit(main())
