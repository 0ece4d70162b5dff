//! Adapters as a user meets them: `verify --peft-goldens`, `verify --adapters`, `adapter merge`.

mod common;

use common::{finish, succeed, velodrome};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use velodrome::submissions::adapters::interchange::{Stored, Tensors};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("submissions/tests/goldens/peft")
}

/// Runs a command that must end with `code`: its output and its messages.
fn fail(command: &mut Command, code: i32) -> (String, String) {
    let (out, err, found) = finish(command);
    assert_eq!(found, code, "{out}\n{err}");
    (out, err)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn goldens_are_rows_and_the_exit_code_says_whether_all_pass() {
    let all = goldens();
    let path = all.to_str().unwrap();
    let rows = json(&succeed(velodrome().args([
        "verify",
        "--peft-goldens",
        path,
        "--format",
        "json",
    ])));
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 21);
    for row in rows {
        assert_eq!(row["passed"], true, "{row}");
        assert!(row["max_error"].as_f64().unwrap() < 1e-5, "{row}");
    }

    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::copy(all.join("lora/case.json"), broken.join("case.json")).unwrap();
    let (out, _) = fail(
        velodrome()
            .args(["verify", "--format", "json", "--peft-goldens"])
            .arg(folder.path()),
        1,
    );
    let row = &json(&out)[0];
    assert_eq!(
        (&row["case"], &row["method"]),
        (&"broken".into(), &"lora".into())
    );
    assert_eq!(
        (&row["passed"], &row["max_error"]),
        (&false.into(), &Value::Null)
    );
    assert!(
        row["message"]
            .as_str()
            .unwrap()
            .contains("case.safetensors"),
        "{row}"
    );
}

#[test]
fn adapters_keep_their_promises() {
    let rows = json(&succeed(velodrome().args([
        "verify",
        "--adapters",
        "lora",
        "oft",
        "--format",
        "json",
    ])));
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 10);
    assert!(
        rows.iter()
            .all(|r| r["passed"] == true && r["kind"] == "adapter")
    );
    let (_, err) = fail(velodrome().args(["verify", "--adapters", "lara"]), 2);
    assert!(err.contains("did you mean `lora`?"), "{err}");
}

#[test]
fn merging_writes_what_peft_writes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let case = Tensors::read(&goldens().join("dora/case.safetensors")).unwrap();
    let mut base = case.under("base.");
    base.held
        .insert("norm.weight".into(), Stored::floats(&[1.5, 2.5], &[2]));
    base.write(&at("base.safetensors")).unwrap();
    let merge = |adapter: &Path| {
        let mut command = velodrome();
        command
            .args(["adapter", "merge"])
            .arg(at("base.safetensors"));
        command.arg(adapter).arg(at("merged.safetensors"));
        command
    };
    succeed(&mut merge(&goldens().join("dora")));
    let merged = Tensors::read(&at("merged.safetensors")).unwrap();
    assert_eq!(merged.held["norm.weight"], base.held["norm.weight"]);
    for (name, wanted) in case.under("merged.").held {
        let (found, wanted) = (
            merged.held[&name].values().unwrap(),
            wanted.values().unwrap(),
        );
        let far = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
        assert!(far.fold(0.0, f32::max) < 1e-5, "{name}");
    }

    // Another model's adapter: nothing is written.
    fs::remove_file(at("merged.safetensors")).unwrap();
    base.held.remove("down.weight");
    base.write(&at("base.safetensors")).unwrap();
    let (_, err) = fail(&mut merge(&goldens().join("dora")), 2);
    assert!(
        err.contains("`base_model.model.down.lora_A.weight`"),
        "{err}"
    );
    assert!(!at("merged.safetensors").exists());
    fail(&mut merge(&at("nowhere")), 7);
}
