use super::*;

fn project(template: &Template, name: &str, checkout: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join(name);
    write(&project, name, template, checkout).unwrap();
    (folder, project)
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn names_are_checked() {
    for good in ["a", "my_optimizer", "adam2"] {
        check_name(good).unwrap();
    }
    let long = "a".repeat(65);
    for bad in [
        "",
        "2fast",
        "My",
        "my-optimizer",
        "_a",
        "a b",
        "é",
        "../a",
        "fn",
        "test",
        "velodrome",
        &long,
    ] {
        let error = check_name(bad).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage, "{bad}");
    }
}

#[test]
fn a_project_carries_its_name_everywhere() {
    let (_folder, project) = project(&SUBMISSION, "fast_rider2", Path::new(CHECKOUT));
    let manifest: toml::Table = read(project.join("Cargo.toml")).parse().unwrap();
    assert_eq!(manifest["package"]["name"].as_str(), Some("fast_rider2"));
    let path = manifest["dependencies"]["velodrome"]["path"].as_str();
    assert_eq!(path, Some(CHECKOUT));
    let main = read(project.join("src/main.rs"));
    assert!(main.contains("struct FastRider2;"));
    assert!(main.contains("name: \"fast_rider2\""));
    for file in ["Cargo.toml", "src/main.rs", "README.md"] {
        let text = read(project.join(file)).to_lowercase();
        assert!(
            !text.contains("mysubmission") && !text.contains("my_submission"),
            "{file}"
        );
    }
    assert_eq!(
        read(project.join("Cargo.lock")),
        read(Path::new(CHECKOUT).join("Cargo.lock"))
    );
}

#[test]
fn a_workloads_project_carries_its_name_and_is_short() {
    // A name that holds the word which it replaces.
    let name = "my_workload2";
    let (_folder, project) = project(&WORKLOAD, name, Path::new(CHECKOUT));
    let manifest: toml::Table = read(project.join("Cargo.toml")).parse().unwrap();
    assert_eq!(manifest["package"]["name"].as_str(), Some(name));
    let main = read(project.join("src/main.rs"));
    assert!(main.contains("base: \"my_workload2\""), "{main}");
    assert!(
        main.contains(".family(&MY_WORKLOAD2)") && !main.contains("22"),
        "{main}"
    );
    let file = "targets/my_workload2.toml";
    assert!(main.contains(&format!("include_str!(\"../{file}\")")));
    let targets = read(project.join(file));
    let tables = velodrome_workloads::targets::Targets::parse(name, &targets).unwrap();
    assert_eq!(
        tables.names().collect::<Vec<_>>(),
        ["my_workload2", "my_workload2_tanh"]
    );
    // What an author writes for a new workload on data that is there.
    let lines = main.lines().count() + targets.lines().count();
    assert!(lines <= 120, "{lines} lines");
}

#[test]
fn without_a_checkout_the_dependency_is_the_repository() {
    let nowhere = tempfile::tempdir().unwrap();
    let (_folder, project) = project(&SUBMISSION, "rider", nowhere.path());
    let manifest: toml::Table = read(project.join("Cargo.toml")).parse().unwrap();
    let url = manifest["dependencies"]["velodrome"]["git"].as_str();
    assert_eq!(url, Some(env!("CARGO_PKG_REPOSITORY")));
    assert!(!project.join("Cargo.lock").exists());
}

#[test]
fn nothing_is_overwritten() {
    let (_folder, project) = project(&SUBMISSION, "rider", Path::new(CHECKOUT));
    let main = project.join("src/main.rs");
    std::fs::write(&main, "mine").unwrap();
    let error = write(&project, "rider", &SUBMISSION, Path::new(CHECKOUT)).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(read(main), "mine");
}

#[test]
fn the_template_is_a_sound_submission() {
    use velodrome_harness::contract::Submission;
    let submission = template::MySubmission;
    assert_eq!(submission.describe().name, "my_submission");
    assert_eq!(submission.search_space().faults(), Vec::<String>::new());
}

#[test]
fn the_template_passes_the_checks_that_its_author_will_run() {
    use burn::tensor::Device;
    let checks =
        velodrome_harness::conformance::check_submission(&template::MySubmission, &Device::flex());
    assert!(!checks.is_empty());
    for check in checks {
        assert!(check.passed, "{}: {}", check.name, check.message);
    }
}

fn templates_workloads() -> Registry {
    let mut registry = Registry::new();
    velodrome_workloads::register_family(&mut registry, &workload_template::MY_WORKLOAD).unwrap();
    registry
}

#[test]
fn the_workload_template_passes_the_checks_that_its_author_will_run() {
    let registry = templates_workloads();
    assert_eq!(registry.workloads().count(), 2);
    for workload in registry.workloads() {
        let checks = crate::commands::verify::workload(&**workload);
        assert!(checks.len() > 3);
        for check in checks {
            assert!(check.passed, "{}: {}", check.name, check.message);
        }
    }
}

#[test]
fn the_workload_template_learns() {
    use velodrome_harness::contract::{Batch, PassOptions, Workload};
    let error_rate = |workload: &dyn Workload, epochs: usize| {
        let spec = workload.spec();
        let device = burn::tensor::Device::flex().autodiff();
        device.seed(1);
        let mut model = workload.build(&device).unwrap();
        let splits = workload.open().unwrap();
        let ids: Vec<usize> = (0..splits.train.len()).collect();
        for _ in 0..epochs {
            for ids in ids.chunks(spec.hints.batch_size) {
                let batch = Batch::from_host(splits.train.batch(ids), ids.to_vec(), &device);
                let output = model.pass(&batch, &PassOptions::default()).unwrap();
                model.map(&mut |param, value| match output.gradients.get(param) {
                    Some(gradient) => value - gradient.mul_scalar(0.3),
                    None => value,
                });
            }
        }
        let ids: Vec<usize> = (0..splits.validation.len()).collect();
        let plain = device.clone().without_autodiff();
        let all = Batch::from_host(splits.validation.batch(&ids), ids, &plain);
        model.evaluate(&mut std::iter::once(all)).unwrap()[&spec.target.metric]
    };
    for workload in templates_workloads().workloads() {
        let (before, after) = (error_rate(&**workload, 0), error_rate(&**workload, 8));
        assert!(before > 0.7 && after < 0.1, "{before} {after}");
    }
}
