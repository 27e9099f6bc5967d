//! The Kubernetes manifests: kustomize builds them, and a validator holds them to the API's own schema, strictly.
//!
//! No cluster is asked. That the probes ask for what the router serves, and that its file is one it takes, is tested end to end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use super::tool::{self, Answer};

/// The oldest release whose schema is held to: the first in which all that is used is on by default.
const RELEASE: &str = "1.33";

/// Directories that kustomize builds. Kinds of the Prometheus operator are not Kubernetes's, and have no schema here.
const BUILT: [(&str, &str); 3] = [
    ("base", "deploy/kubernetes/base"),
    ("monitoring", "deploy/kubernetes/monitoring"),
    ("prometheus", "deploy/prometheus"),
];
const OPERATORS_KINDS: &str = "monitoring.coreos.com/";

/// Files that are used as they are.
const PLAIN: [&str; 2] =
    ["deploy/kubernetes/examples/secret.yaml", "deploy/kubernetes/examples/sidecar.yaml"];

/// Builds and validates.
pub(crate) fn check(root: &Path) -> io::Result<Answer> {
    let folder = tool::target(root).join("kubernetes");
    fs::create_dir_all(&folder)?;
    let mut manifests = Vec::new();
    for (name, source) in BUILT {
        let text = match build(root, source)? {
            Built::Text(text) => text,
            Built::Not(answer) => return Ok(answer),
        };
        let known = text.split("---\n").filter(|part| !part.contains(OPERATORS_KINDS)).collect::<Vec<_>>();
        let path = folder.join(format!("{name}.yaml"));
        fs::write(&path, known.join("---\n"))?;
        manifests.push(path);
    }
    manifests.extend(PLAIN.map(|path| root.join(path)));
    let validator = match validator(root, &folder)? {
        Validator::At(path) => path,
        Validator::Not(answer) => return Ok(answer),
    };
    let mut command = Command::new(validator);
    command.args(["--kubernetes-version", RELEASE, "--strict", "--quiet"]).args(manifests);
    let passed = command.stdin(Stdio::null()).status()?.success();
    Ok(if passed { Answer::Good } else { Answer::Bad })
}

enum Built {
    Text(String),
    Not(Answer),
}

fn build(root: &Path, source: &str) -> io::Result<Built> {
    let mut command = Command::new("kubectl");
    command.args(["kustomize", source]).current_dir(root).stdin(Stdio::null());
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => {
            Ok(Built::Text(String::from_utf8_lossy(&output.stdout).into_owned()))
        }
        Ok(_) => Ok(Built::Not(Answer::Bad)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(Built::Not(tool::skipped("kubectl is not installed (https://kubernetes.io/docs/tasks/tools)")))
        }
        Err(error) => Err(error),
    }
}

enum Validator {
    At(PathBuf),
    Not(Answer),
}

/// The validator in a virtual environment below the build directory, made anew when the pinned packages have changed.
fn validator(root: &Path, folder: &Path) -> io::Result<Validator> {
    let requirements = root.join("deploy/kubernetes/requirements.txt");
    let (home, pinned) = (folder.join("venv"), fs::read(&requirements)?);
    let program = home.join("bin/kubernetes-validate");
    let made_from = home.join("made-from.txt");
    if fs::read(&made_from).is_ok_and(|bytes| bytes == pinned) && program.exists() {
        return Ok(Validator::At(program));
    }
    let python = std::env::var_os("HIGHWATER_TEST_PYTHON").unwrap_or_else(|| OsString::from("python3"));
    let mut venv = Command::new(python);
    venv.args(["-m", "venv", "--clear"]).arg(&home);
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--require-hashes", "-r"]).arg(requirements);
    for command in [&mut venv, &mut pip] {
        if !command.stdin(Stdio::null()).status().is_ok_and(|status| status.success()) {
            let why = "kubernetes-validate can't be installed (needs python3-venv, pip and PyPI)";
            return Ok(Validator::Not(tool::skipped(why)));
        }
    }
    fs::write(made_from, pinned)?;
    Ok(Validator::At(program))
}
