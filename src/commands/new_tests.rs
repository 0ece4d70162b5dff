use super::*;

fn project(name: &str, checkout: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join(name);
    write(&project, name, checkout).unwrap();
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
    let (_folder, project) = project("fast_rider2", Path::new(CHECKOUT));
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
fn without_a_checkout_the_dependency_is_the_repository() {
    let nowhere = tempfile::tempdir().unwrap();
    let (_folder, project) = project("rider", nowhere.path());
    let manifest: toml::Table = read(project.join("Cargo.toml")).parse().unwrap();
    let url = manifest["dependencies"]["velodrome"]["git"].as_str();
    assert_eq!(url, Some(env!("CARGO_PKG_REPOSITORY")));
    assert!(!project.join("Cargo.lock").exists());
}

#[test]
fn nothing_is_overwritten() {
    let (_folder, project) = project("rider", Path::new(CHECKOUT));
    let main = project.join("src/main.rs");
    std::fs::write(&main, "mine").unwrap();
    let error = write(&project, "rider", Path::new(CHECKOUT)).unwrap_err();
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
