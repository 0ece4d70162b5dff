//! How often verdicts err, in small: `examples/verdict_rates.rs` has the large numbers.

use std::path::Path;
use velodrome_results::archive;
use velodrome_results::compare::CompareOptions;
use velodrome_results::compare::simulate::{Rates, Setting, simulate};
use velodrome_results::run::Run;

fn rates(setting: Setting, comparisons: usize) -> Rates {
    let board = |name: &str| -> Run {
        let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
        archive::read(&boards.join(name).join("records.parquet")).unwrap()
    };
    let records = [board("external-digits"), board("external-quick")];
    let found = simulate(
        &records,
        &setting,
        &CompareOptions::default(),
        comparisons,
        1,
    )
    .unwrap();
    let all = found.regressed + found.improved + found.same + found.inconclusive;
    assert_eq!(all, comparisons);
    found
}

const TWO: Setting = Setting {
    rows: 6,
    studies: 10,
    race: false,
    other_seeds: false,
    sittings: 0.1,
    scatter: 0.1,
    step: 1.0,
    steps: 1.0,
    state: 1.0,
};
const RACE: Setting = Setting {
    race: true,
    studies: 40,
    ..TWO
};

#[test]
fn the_default_setting_is_the_one_of_the_table() {
    assert_eq!(Setting::default(), TWO);
}

#[test]
fn unchanged_programs_are_hardly_ever_called_worse() {
    for setting in [
        TWO,
        Setting {
            other_seeds: true,
            ..TWO
        },
        RACE,
    ] {
        let found = rates(setting, 200);
        assert!(found.regressed <= 4, "{setting:?} {found:?}");
        assert!(found.improved <= 4, "{setting:?} {found:?}");
    }
}

#[test]
fn what_is_worse_is_found() {
    for setting in [
        Setting { step: 1.05, ..RACE },
        Setting { steps: 1.1, ..RACE },
        Setting { steps: 1.1, ..TWO },
        Setting { step: 1.3, ..TWO },
    ] {
        let found = rates(setting, 100);
        assert!(found.regressed >= 95, "{setting:?} {found:?}");
    }
    for setting in [TWO, RACE] {
        let found = rates(
            Setting {
                state: 1.2,
                ..setting
            },
            20,
        );
        assert_eq!(found.regressed, 20, "{setting:?} {found:?}");
    }
}

/// A simulation that could not tell a change would pass the first test.
#[test]
fn the_simulation_sees_improvements_too() {
    let found = rates(Setting { steps: 0.8, ..TWO }, 50);
    assert!(found.improved >= 45 && found.regressed == 0, "{found:?}");
}
