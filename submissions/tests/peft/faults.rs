//! What is damaged, missing, left over or of another model is refused by name.

use super::support::{Copy, again};
use serde_json::json;
use std::fs;
use velodrome_submissions::adapters::interchange::{InterchangeError, MODEL, Stored};

const A: &str = "base_model.model.up.lora_A.weight";

#[test]
fn a_changed_value_is_off() {
    let case = Copy::of("lora");
    case.tensors(|t| {
        let stored = &t.held[A];
        let mut values = stored.values().unwrap();
        values[5] += 0.01;
        let changed = Stored::floats(&values, stored.shape());
        t.held.insert(A.into(), changed);
    });
    let replay = again(case.path()).unwrap();
    let miss = replay.first_miss.unwrap();
    assert!(miss.contains("`merged.up.weight` is off by"), "{miss}");
    assert!(replay.max_error > 1e-4, "{}", replay.max_error);
}

#[test]
fn a_value_that_is_no_number_is_off() {
    let case = Copy::of("lora");
    case.tensors(|t| {
        let stored = &t.held[A];
        let mut values = stored.values().unwrap();
        values[0] = f32::NAN;
        let changed = Stored::floats(&values, stored.shape());
        t.held.insert(A.into(), changed);
    });
    let replay = again(case.path()).unwrap();
    assert!(replay.max_error.is_infinite() && replay.first_miss.is_some());
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let case = Copy::of("lora");
    case.tensors(|t| {
        let values = t.held[A].values().unwrap();
        t.held.insert(A.into(), Stored::floats(&values, &[12, 4]));
    });
    let error = again(case.path()).unwrap_err();
    assert!(matches!(error, InterchangeError::Shape { .. }), "{error}");
    let message = error.to_string();
    for part in [MODEL, A, "[12, 4]", "[4, 12]"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_rank_that_the_tensors_do_not_have_is_named() {
    let case = Copy::of("lora");
    case.option("r", json!(3));
    let message = case.error();
    assert!(
        message.contains("[4, 8]") && message.contains("[3, 8]"),
        "{message}"
    );
}

#[test]
fn a_missing_tensor_is_named_with_its_shape() {
    let case = Copy::of("dora");
    let name = "base_model.model.down.lora_magnitude_vector";
    case.tensors(|t| {
        t.held.remove(name).unwrap();
    });
    let error = again(case.path()).unwrap_err();
    assert!(matches!(error, InterchangeError::Missing { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains(name) && message.contains("[8]"),
        "{message}"
    );
}

#[test]
fn an_extra_tensor_is_named_with_its_shape() {
    let case = Copy::of("lora");
    let name = "base_model.model.up.lora_C.weight";
    case.tensors(|t| {
        t.held
            .insert(name.into(), Stored::floats(&[1.0, 2.0], &[2]));
    });
    let error = again(case.path()).unwrap_err();
    assert!(
        matches!(error, InterchangeError::Unexpected { .. }),
        "{error}"
    );
    let message = error.to_string();
    assert!(
        message.contains(name) && message.contains("[2]"),
        "{message}"
    );
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let case = Copy::of("lora");
    let name = "base_model.model.layers.0.q_proj.lora_A.weight";
    case.tensors(|t| {
        t.held
            .insert(name.into(), Stored::floats(&[1.0, 2.0], &[2, 1]));
    });
    let error = again(case.path()).unwrap_err();
    assert!(
        matches!(error, InterchangeError::OtherModel { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(name), "{error}");

    let case = Copy::of("lora");
    case.option("target_modules", json!(["q_proj"]));
    let error = again(case.path()).unwrap_err();
    assert!(
        matches!(error, InterchangeError::OtherModel { .. }),
        "{error}"
    );
    let message = error.to_string();
    assert!(
        message.contains("q_proj") && message.contains("`down`, `up`"),
        "{message}"
    );
}

#[test]
fn a_place_outside_of_the_weight_is_named() {
    let case = Copy::of("shira");
    let name = "base_model.model.up.shira_indices";
    case.tensors(|t| {
        let stored = &t.held[name];
        let mut values = stored.values().unwrap();
        values[3] = 8.0;
        let changed = Stored::floats(&values, stored.shape());
        t.held.insert(name.into(), changed);
    });
    let message = again(case.path()).unwrap_err().to_string();
    for part in [MODEL, name, "holds 8", "an axis of 8"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    for (name, option, value, wanted) in [
        (
            "c3a",
            "block_size",
            json!(3),
            ["`block_size` is 3", "does not divide 8"],
        ),
        ("bone", "r", json!(5), ["`r` is 5", "does not divide 8"]),
        ("miss", "r", json!(9), ["`r` is 9", "allows at most 8"]),
        (
            "road",
            "group_size",
            json!(6),
            ["`group_size` is 6", "outputs"],
        ),
        (
            "boft",
            "boft_block_size",
            json!(3),
            ["`boft_block_size` is 3", "inputs"],
        ),
        (
            "gralora",
            "gralora_k",
            json!(3),
            ["`r` is 4", "divisible by `gralora_k`"],
        ),
        ("shira", "r", json!(5), ["`r` is 5", "allows at most 4"]),
        (
            "fourierft",
            "n_frequency",
            json!(1000),
            ["`n_frequency` is 1000", "at most 64"],
        ),
        ("lora", "r", json!(0), ["`r` is 0", "at least 1"]),
        (
            "lora",
            "use_qalora",
            json!(true),
            ["`use_qalora` is true", "not supported"],
        ),
        (
            "lora",
            "init_lora_weights",
            json!("corda"),
            ["\"corda\"", "`pissa`"],
        ),
    ] {
        let case = Copy::of(name);
        case.option(option, value);
        let error = again(case.path()).unwrap_err();
        let message = error.to_string();
        assert!(
            matches!(error, InterchangeError::Method { .. }),
            "{message}"
        );
        assert!(message.contains("module `down`"), "{message}");
        assert!(wanted.iter().all(|w| message.contains(w)), "{message}");
    }
}

#[test]
fn damaged_files_are_named() {
    let case = Copy::of("lora");
    case.option("peft_type", json!("LARA"));
    let message = case.error();
    assert!(
        message.contains("`LARA`") && message.contains("ADALORA"),
        "{message}"
    );

    let file = case.path().join(MODEL);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 4]).unwrap();
    let message = case.error();
    assert!(
        message.contains(MODEL) && message.contains("safetensors"),
        "{message}"
    );

    fs::write(case.config(), "{").unwrap();
    assert!(case.error().contains("is not JSON"));
    fs::remove_file(case.config()).unwrap();
    assert!(case.error().contains("adapter_config.json: cannot be read"));
}
