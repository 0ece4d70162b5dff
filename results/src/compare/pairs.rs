//! Which trials stand against which.

use super::CompareOptions;
use super::drift::wander;
use super::ride::{Ride, rides};
use crate::assemble::{Value, machine_fields, setting_fields};
use crate::record::{Status, TrialRecord};
use crate::run::Run;
use crate::trace::Evaluation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Why two runs cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CompareError {
    /// A setting of the comparison.
    #[error("option `{option}` is {found}; it must be {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        found: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// Trials whose files are damaged.
    #[error("{count} damaged trials, the first: {first}; a verdict needs all of them")]
    Damaged {
        /// How many.
        count: usize,
        /// The first error.
        first: String,
    },
    /// The runs do not race the same things.
    #[error("{workload}: field `{field}` is {base}, but {candidate}")]
    Settings {
        /// The workload.
        workload: String,
        /// The field.
        field: String,
        /// Its value in the base, and the file.
        base: String,
        /// Its value in the candidate, and the file.
        candidate: String,
    },
    /// The runs come from different machines.
    #[error(
        "field `{field}` is {base}, but {candidate}; with --allow-mixed learning and memory are \
         compared, and speed is not"
    )]
    Machine {
        /// The field.
        field: String,
        /// One value, and the file.
        base: String,
        /// The other value, and the file.
        candidate: String,
    },
    /// Two trials of one run that have everything in common.
    #[error("trials {first} and {second} of {run} have the same point and the same seeds")]
    Duplicate {
        /// The run.
        run: String,
        /// A trial.
        first: String,
        /// The other.
        second: String,
    },
    /// Records from which no comparison can be simulated.
    #[error("the records have no trial that reached its target, or no row with three step times")]
    NoTimes,
    /// No workload, submission and point in common.
    #[error(
        "{base} and {candidate} have no workload, submission and hyperparameter point in common"
    )]
    NothingInCommon {
        /// The base.
        base: String,
        /// The candidate.
        candidate: String,
    },
}

/// Something that a reader of a verdict must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Stable short name, for example `missing_pair`.
    pub code: String,
    /// One sentence.
    pub message: String,
}

impl Note {
    pub(super) fn new(code: &str, message: String) -> Self {
        Self {
            code: code.into(),
            message,
        }
    }
}

/// Base and candidate with the same seeds.
pub(super) type Pair<'a> = (Ride<'a>, Ride<'a>);

/// The trials of one workload, submission and point.
#[derive(Clone)]
pub(super) struct Group<'a> {
    pub workload: String,
    pub submission: String,
    pub point: BTreeMap<String, f64>,
    /// Trials whose seeds both sides share.
    pub pairs: Vec<Pair<'a>>,
    /// All finished trials of the two sides, where no seeds are shared.
    pub apart: (Vec<Ride<'a>>, Vec<Ride<'a>>),
}

impl<'a> Group<'a> {
    /// All trials of both sides.
    pub fn trials(&self) -> impl Iterator<Item = Ride<'a>> {
        let paired = self.pairs.iter().flat_map(|(a, b)| [*a, *b]);
        let apart = self.apart.0.iter().chain(&self.apart.1);
        paired.chain(apart.copied())
    }
}

pub(super) struct Paired<'a> {
    pub groups: Vec<Group<'a>>,
    /// Rows of the base that the candidate lacks.
    pub missing_rows: usize,
    /// Whether the runs come from one machine.
    pub same_machine: bool,
    /// The share by which the machine may have drifted.
    pub drift: f64,
    pub notes: Vec<Note>,
}

/// Workload, submission and point; the numbers of a point by their bits.
type Key<'a> = (&'a str, &'a str, Vec<(&'a str, u64)>);
/// Seeds of data, model and algorithm.
type SeedKey = [u64; 3];
/// The trials that count, by row and seeds.
type Rows<'a> = BTreeMap<Key<'a>, BTreeMap<SeedKey, Ride<'a>>>;

fn key(record: &TrialRecord) -> Key<'_> {
    let point = record.point.iter().map(|(k, v)| (k.as_str(), v.to_bits()));
    (&record.workload, &record.submission, point.collect())
}

fn seeds(record: &TrialRecord) -> SeedKey {
    let seeds = record.seeds;
    [seeds.data, seeds.model, seeds.algorithm]
}

/// The trials that count, by row.
fn rows<'a, E: Evaluation>(
    run: &'a Run<E>,
    side: &str,
    notes: &mut Vec<Note>,
) -> Result<Rows<'a>, CompareError> {
    if let Some((_, first)) = run.damaged.first() {
        return Err(CompareError::Damaged {
            count: run.damaged.len(),
            first: first.to_string(),
        });
    }
    if !run.missing.is_empty() {
        notes.push(Note::new(
            "not_raced",
            format!(
                "{} planned trials of the {side} have no record, {} among them",
                run.missing.len(),
                run.missing[0]
            ),
        ));
    }
    let mut rows = Rows::new();
    for trial in rides(run) {
        match trial.record.status {
            Status::Skipped => continue,
            Status::Running => {
                let id = &trial.record.id;
                let message = format!("trial {id} of the {side} has not ended and is left out");
                notes.push(Note::new("not_ended", message));
                continue;
            }
            _ => {}
        }
        let row = rows.entry(key(trial.record)).or_default();
        if let Some(twin) = row.insert(seeds(trial.record), trial) {
            return Err(CompareError::Duplicate {
                run: run.path.display().to_string(),
                first: twin.record.id.clone(),
                second: trial.record.id.clone(),
            });
        }
    }
    Ok(rows)
}

fn stands_in(value: impl Display, trial: &Ride<'_>) -> String {
    format!("{value} in {}", trial.file().display())
}

/// The same rules on both sides?
fn check_settings(base: &Ride<'_>, candidate: &Ride<'_>) -> Result<(), CompareError> {
    let (a, b) = (base.record, candidate.record);
    let fields = setting_fields(a).into_iter().zip(setting_fields(b));
    let mut others = fields.filter(|(a, b)| a != b);
    let other = others.next().map(|((field, a), (_, b))| (field, a, b));
    // A model of another size is another workload, whatever its name.
    let (size, other_size) = (a.outcome.parameters, b.outcome.parameters);
    let resized = size > 0 && other_size > 0 && size != other_size;
    let resized = resized.then_some(("outcome.parameters", size.into(), other_size.into()));
    match other.or(resized) {
        Some((field, in_base, in_candidate)) => Err(CompareError::Settings {
            workload: a.workload.clone(),
            field: field.into(),
            base: stands_in(in_base, base),
            candidate: stands_in(in_candidate, candidate),
        }),
        None => Ok(()),
    }
}

/// The first field in which the machines differ; versions of the programs may.
fn other_machine<'a>(
    base: &Ride<'a>,
    candidate: &Ride<'a>,
) -> Option<(&'static str, Value<'a>, Value<'a>)> {
    let fields = |t: &Ride<'a>| machine_fields(&t.record.fingerprint);
    let mut pairs = fields(base).into_iter().zip(fields(candidate));
    let other = pairs.find(|((field, a), (_, b))| a != b && !field.contains("versions"));
    other.map(|((field, a), (_, b))| (field, a, b))
}

pub(super) fn pair<'a, E: Evaluation>(
    base: &'a Run<E>,
    candidate: &'a Run<E>,
    options: &CompareOptions,
) -> Result<Paired<'a>, CompareError> {
    let mut notes = Vec::new();
    let of_base = rows(base, "base", &mut notes)?;
    let mut of_candidate = rows(candidate, "candidate", &mut notes)?;
    let mut groups = Vec::new();
    let (mut missing_rows, mut same_machine) = (0, true);
    let name = |(workload, submission, point): &Key<'_>| {
        let point = point
            .iter()
            .map(|(k, v)| format!("{k} {}", f64::from_bits(*v)));
        let point: Vec<String> = point.collect();
        format!("{submission} on {workload} ({})", point.join(", "))
    };
    for (key, ours) in of_base {
        let Some(theirs) = of_candidate.remove(&key) else {
            missing_rows += 1;
            let message = format!("the candidate has no trial of {}", name(&key));
            notes.push(Note::new("missing_row", message));
            continue;
        };
        let mut all = ours.values().chain(theirs.values());
        let Some(first) = all.next() else { continue };
        for other in all {
            check_settings(first, other)?;
            let Some((field, a, b)) = other_machine(first, other) else {
                continue;
            };
            if !options.allow_mixed {
                return Err(CompareError::Machine {
                    field: field.into(),
                    base: stands_in(a, first),
                    candidate: stands_in(b, other),
                });
            }
            if same_machine {
                same_machine = false;
                let message = format!("field `{field}` differs ({a}, {b}): speed is not judged");
                notes.push(Note::new("other_machine", message));
            }
        }
        let partner = |(s, t): (&SeedKey, &Ride<'a>)| Some((*t, *theirs.get(s)?));
        let pairs: Vec<_> = ours.iter().filter_map(partner).collect();
        let single = ours.len() + theirs.len() - 2 * pairs.len();
        let row = name(&key);
        if pairs.is_empty() {
            let message =
                format!("{row}: the sides share no seeds; they are compared as two samples");
            notes.push(Note::new("other_seeds", message));
        } else if single > 0 {
            let message = format!("{row}: {single} trials have no partner with their seeds");
            notes.push(Note::new("missing_pair", message));
        }
        groups.push(Group {
            workload: key.0.into(),
            submission: key.1.into(),
            point: first.record.point.clone(),
            apart: if pairs.is_empty() {
                let side = |row: BTreeMap<SeedKey, Ride<'a>>| row.into_values().collect();
                (side(ours), side(theirs))
            } else {
                Default::default()
            },
            pairs,
        });
    }
    for key in of_candidate.keys() {
        let message = format!("the base has no trial of {}", name(key));
        notes.push(Note::new("new_row", message));
    }
    if groups.is_empty() {
        return Err(CompareError::NothingInCommon {
            base: base.path.display().to_string(),
            candidate: candidate.path.display().to_string(),
        });
    }
    let mut drift = options.drift;
    // Interleaved trials (no drift) share what the machine does.
    let wandered = wander(base, candidate, &groups);
    if same_machine && drift > 0.0 && wandered > drift {
        drift = wandered;
        let per_cent = |share: f64| format!("{:.1} %", 100.0 * share);
        let message = format!(
            "step times of like trials wandered by {} within the runs, more than the accepted drift \
             of {}: a change of speed counts beyond that",
            per_cent(wandered),
            per_cent(options.drift)
        );
        notes.push(Note::new("wandered", message));
    }
    Ok(Paired {
        groups,
        missing_rows,
        same_machine,
        drift,
        notes,
    })
}
