//! The verdict as JUnit XML and as charts.

use super::{edited, judged, raced};
use velodrome_results::charts;
use velodrome_results::compare::{Verdict, junit};
use velodrome_results::run::Run;

/// The content of an XML document without its tags; panics where tags do not match.
fn text_of(xml: &str) -> String {
    let mut open: Vec<&str> = Vec::new();
    let mut text = String::new();
    for part in xml.split('<').skip(1) {
        let (tag, after) = part.split_once('>').expect("a tag ends");
        text += after;
        let name = tag.split([' ', '/']).next().unwrap();
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{xml}"),
            None if tag.ends_with('/') || tag.starts_with('?') => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    text
}

#[test]
fn junit_has_a_case_for_every_answer_and_markup_stays_text() {
    let named = |run: Run| edited(run, |r| r.submission = "<script>\u{7} & \"co\"".into());
    let base = named(raced("base", 1, 10, 1.0, 1.0));
    let found = judged(&base, &named(raced("candidate", 2, 10, 1.1, 1.0)));
    let xml = junit(&found);
    let text = text_of(&xml);
    assert!(!xml.contains("<script>") && !xml.contains('\u{7}'), "{xml}");
    assert!(xml.contains("classname=\"&lt;script&gt;  &amp; &quot;co&quot; on digits\""));
    assert!(text.contains("steps to target"), "{text}");
    let answers: usize = found.rows.iter().map(|r| r.answers.len()).sum();
    let count = |part: &str| xml.matches(part).count();
    assert_eq!(count("<testcase "), answers + found.answers.len());
    let regressed = |v: &Verdict| *v == Verdict::Regressed;
    let of_rows = found.rows.iter().flat_map(|r| r.answers.values());
    let failures = of_rows.chain(found.answers.values()).map(|a| a.verdict);
    let failures = failures.filter(regressed).count();
    assert!(failures >= 1);
    assert_eq!(count("<failure "), failures);
    assert!(
        xml.contains(&format!("failures=\"{failures}\" errors=\"0\"")),
        "{xml}"
    );

    // A missing row is no answer, but not nothing either.
    let mut candidate = raced("base", 1, 3, 1.0, 1.0);
    candidate.trials.retain(|t| t.record.workload != "digits");
    let found = judged(&raced("base", 1, 3, 1.0, 1.0), &candidate);
    let xml = junit(&found);
    text_of(&xml);
    assert!(
        xml.contains("<skipped message=\"not everything could be compared\"/>"),
        "{xml}"
    );
}

#[test]
fn changes_are_drawn_for_each_question() {
    let base = raced("base", 1, 10, 1.0, 1.0);
    let found = judged(&base, &raced("candidate", 2, 10, 1.1, 1.3));
    let folder = tempfile::tempdir().unwrap();
    let files = charts::write_changes(&found, folder.path()).unwrap();
    assert_eq!(files.len(), 6);
    let svg = std::fs::read_to_string(folder.path().join("changes.learning.svg")).unwrap();
    for part in ["adamw on digits", "+10.0 % regressed", "right is worse"] {
        assert!(svg.contains(part), "{part}\n{svg}");
    }
    let png = std::fs::read(folder.path().join("changes.speed.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
}
