//! The smallest comparison there is, with real processes: does every part of it work together?

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The router that was built with this test. `cargo test -p bench` alone does not build it.
fn highwater() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("highwater");
    path.exists().then_some(path)
}

#[test]
fn a_short_comparison_is_made_of_valid_samples() {
    let directory = tempfile::tempdir().expect("a directory");
    let (json, page) = (directory.path().join("result.json"), directory.path().join("result.html"));
    let targets = match highwater() {
        Some(_) => "direct,highwater-off,highwater",
        None => {
            println!("SKIPPED in part: the highwater program is not built, so that only `direct` is run");
            "direct"
        }
    };
    let workloads = "simple/4,extended/4,prepared/4/4,unseen/200/2,connect/trust/2,idle/20";
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["compare", "--rounds", "1", "--seconds", "0.2", "--base", "highwater-off"])
        .args(["--targets", targets, "--workload", workloads, "--json"])
        .arg(&json)
        .arg("--html")
        .arg(&page)
        .output()
        .expect("the bench starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let text = std::fs::read_to_string(&json).expect("the result was written");
    let report: Value = serde_json::from_str(&text).expect("it is JSON");
    let samples = report["samples"].as_array().expect("there are samples");
    let idle = if targets == "direct" { 0 } else { 2 };
    assert_eq!(samples.len(), 5 * targets.split(',').count() + idle, "{said}");
    for sample in samples {
        assert_eq!(sample["void"], Value::Null, "{sample}");
        let is_proxy = sample["target"] != "direct";
        let figure = |name: &str| sample["figures"][name].as_f64();
        if sample["workload"] == "idle/20" {
            assert!(figure("pss_kib") > Some(100.0), "{sample}");
        } else {
            assert!(figure("per_second") > Some(0.0), "{sample}");
            assert!(figure("p50_us") <= figure("p99_us"), "{sample}");
            assert_eq!(figure("cpu_us").is_some_and(|us| us > 0.0), is_proxy, "{sample}");
        }
    }
    assert!(std::fs::read_to_string(&page).expect("the page was written").contains("<svg") || idle == 0);
}
