//! How golden trajectories are computed: for each name of an optimizer in golden files the
//! hyperparameters that such a file may hold, their defaults in the named reference, and the
//! algorithm at a constant learning rate.
//!
//! The algorithm is the code that races, save where the reference computes another form of the rule
//! (`lamb`, `mars`, `adafactor`); the submission's file then computes both. To add an optimizer, add
//! a [`Reference`] to [`all`]: its name, its hyperparameters by the names of golden files with the
//! reference's defaults, whether the reference tells the two axes of a matrix apart, and a function
//! that starts the algorithm from a point that has all of these hyperparameters. Then copy its
//! golden file to `tests/goldens` and add it to [`GOLDENS`].

use crate::averaging::schedule_free::{Form as Free, ScheduleFree, ScheduleFreeAdamW};
use crate::common::{checked, non_negative, positive};
use crate::fused::{Elementwise, Fused};
use crate::optimizers::adabelief::AdaBelief;
use crate::optimizers::adafactor::Adafactor;
use crate::optimizers::adamg::AdamG;
use crate::optimizers::adamw::AdamW;
use crate::optimizers::adan::Adan;
use crate::optimizers::ademamix::AdEmaMix;
use crate::optimizers::amos::paper::{PaperAmos, PaperAmosRace};
use crate::optimizers::heavy_ball::HeavyBall;
use crate::optimizers::lamb::{Form, Lamb};
use crate::optimizers::lion::Lion;
use crate::optimizers::mars::Mars;
use crate::optimizers::muon::Muon;
use crate::optimizers::nadamw::NAdamW;
use crate::optimizers::nesterov::Nesterov;
use crate::optimizers::prodigy::{Prodigy, ProdigyRace};
use crate::optimizers::radam::RAdam;
use crate::optimizers::soap::{Beginning, Soap};
use crate::scheduled::ScheduledOptimizer;
use crate::schedules::Constant;
use burn::optim::ModuleOptimizer;
use velodrome_harness::conformance::golden::{Golden, Reference, Started, Turns};
use velodrome_harness::contract::{Hints, PassOptions, Point, SubmissionError, Trainee};

/// What starts an algorithm.
type Start = Result<Started, SubmissionError>;

/// No reference depends on hints.
const HINTS: Hints = Hints {
    steps: 0,
    batch_size: 1,
};

/// Trajectories that come with this crate, by optimizer, as the text of the golden file.
pub const GOLDENS: [(&str, &str); 18] = [
    ("adamw", include_str!("../tests/goldens/adamw.json")),
    ("nadamw", include_str!("../tests/goldens/nadamw.json")),
    ("nesterov", include_str!("../tests/goldens/nesterov.json")),
    (
        "heavy_ball",
        include_str!("../tests/goldens/heavy_ball.json"),
    ),
    ("lion", include_str!("../tests/goldens/lion.json")),
    (
        "schedule_free_adamw",
        include_str!("../tests/goldens/schedule_free_adamw.json"),
    ),
    ("lamb", include_str!("../tests/goldens/lamb.json")),
    ("adabelief", include_str!("../tests/goldens/adabelief.json")),
    ("radam", include_str!("../tests/goldens/radam.json")),
    ("ademamix", include_str!("../tests/goldens/ademamix.json")),
    ("adan", include_str!("../tests/goldens/adan.json")),
    ("mars", include_str!("../tests/goldens/mars.json")),
    ("adafactor", include_str!("../tests/goldens/adafactor.json")),
    ("muon", include_str!("../tests/goldens/muon.json")),
    ("prodigy", include_str!("../tests/goldens/prodigy.json")),
    ("adamg", include_str!("../tests/goldens/adamg.json")),
    ("amos", include_str!("../tests/goldens/amos.json")),
    ("soap", include_str!("../tests/goldens/soap.json")),
];

/// The table of references.
pub fn all() -> Vec<Reference> {
    vec![
        reference(
            "adamw",
            &[
                ("learning_rate", 1e-3),
                ("beta1", 0.9),
                ("beta2", 0.999),
                ("epsilon", 1e-8),
                ("weight_decay", 0.01),
            ],
            |point, _, _| constant(Fused(AdamW::from_point(point)?), point),
        ),
        reference(
            "nadamw",
            &[
                ("learning_rate", 1e-3),
                ("beta1", 0.9),
                ("beta2", 0.999),
                ("epsilon", 1e-8),
                ("weight_decay", 0.01),
            ],
            |point, _, _| constant(Fused(NAdamW::from_point(point)?), point),
        ),
        reference(
            "nesterov",
            &[
                ("learning_rate", 1e-3),
                ("momentum", 0.9),
                ("weight_decay", 0.0),
            ],
            |point, _, _| constant(Fused(Nesterov::new(point, &HINTS)?), point),
        ),
        reference(
            "heavy_ball",
            &[
                ("learning_rate", 1e-3),
                ("momentum", 0.9),
                ("weight_decay", 0.0),
            ],
            |point, _, _| constant(Fused(HeavyBall::new(point, &HINTS)?), point),
        ),
        reference(
            "lion",
            &[
                ("learning_rate", 1e-4),
                ("beta1", 0.9),
                ("beta2", 0.99),
                ("weight_decay", 0.0),
            ],
            |point, _, _| constant(Fused(Lion::new(point, &HINTS)?), point),
        ),
        reference(
            "schedule_free_adamw",
            &[
                ("learning_rate", 0.0025),
                ("beta1", 0.9),
                ("beta2", 0.999),
                ("epsilon", 1e-8),
                ("weight_decay", 0.0),
                ("warmup_steps", 0.0),
                ("r", 0.0),
                ("weight_lr_power", 2.0),
            ],
            schedule_free,
        ),
        reference(
            "lamb",
            &[
                ("learning_rate", 1e-3),
                ("beta1", 0.9),
                ("beta2", 0.999),
                ("epsilon", 1e-6),
                ("weight_decay", 0.0),
            ],
            |point, _, _| constant(Lamb::from_point(point, Form::RateCorrected)?, point),
        ),
        reference(
            "adabelief",
            &[
                ("learning_rate", 1e-3),
                ("beta1", 0.9),
                ("beta2", 0.999),
                ("epsilon", 1e-16),
                ("weight_decay", 0.0),
                ("rectify", 0.0),
            ],
            |point, _, _| constant(Fused(AdaBelief::from_point(point)?), point),
        ),
        reference(
            "radam",
            &[
                ("learning_rate", 1e-3),
                ("beta1", 0.9),
                ("beta2", 0.999),
                ("epsilon", 1e-8),
                ("weight_decay", 0.0),
            ],
            |point, _, _| constant(Fused(RAdam::from_point(point)?), point),
        ),
        reference(
            "ademamix",
            &[
                ("learning_rate", 1e-3),
                ("beta1", 0.9),
                ("beta2", 0.999),
                ("beta3", 0.9999),
                ("alpha", 5.0),
                ("epsilon", 1e-8),
                ("weight_decay", 0.0),
            ],
            |point, _, _| constant(Fused(AdEmaMix::from_point(point, 0)?), point),
        ),
        reference(
            "adan",
            &[
                ("learning_rate", 1e-3),
                ("beta1", 0.98),
                ("beta2", 0.92),
                ("beta3", 0.99),
                ("epsilon", 1e-8),
                ("weight_decay", 0.0),
                ("no_prox", 0.0),
            ],
            |point, _, _| constant(Fused(Adan::new(point, &HINTS)?), point),
        ),
        reference(
            "mars",
            &[
                ("learning_rate", 3e-3),
                ("beta1", 0.95),
                ("beta2", 0.99),
                ("gamma", 0.025),
                ("epsilon", 1e-8),
                ("weight_decay", 0.0),
                ("optimize_1d", 0.0),
                ("lr_1d", 3e-3),
                ("beta1_1d", 0.9),
                ("beta2_1d", 0.95),
                ("weight_decay_1d", 0.1),
            ],
            mars,
        ),
        reference(
            "adafactor",
            &[
                ("learning_rate", 1e-2),
                ("beta2_decay", -0.8),
                ("epsilon1", 1e-30),
                ("epsilon2", 1e-3),
                ("clip_threshold", 1.0),
                ("weight_decay", 0.0),
            ],
            |point, _, _| constant(Adafactor::original(point)?, point),
        ),
        Reference {
            turns: Turns::TwoAxes,
            ..reference(
                "muon",
                &[
                    ("learning_rate", 1e-3),
                    ("momentum", 0.95),
                    ("weight_decay", 0.1),
                ],
                |point, _, _| constant(Muon::from_point(point)?, point),
            )
        },
        Reference {
            optional: &["beta3", "growth_rate"],
            ..reference(
                "prodigy",
                &[
                    ("learning_rate", 1.0),
                    ("beta1", 0.9),
                    ("beta2", 0.999),
                    ("epsilon", 1e-8),
                    ("weight_decay", 0.0),
                    ("d0", 1e-6),
                    ("d_coef", 1.0),
                    ("use_bias_correction", 0.0),
                    ("safeguard_warmup", 0.0),
                    ("decouple", 1.0),
                    ("slice_p", 1.0),
                ],
                prodigy,
            )
        },
        reference(
            "adamg",
            &[
                ("learning_rate", 1.0),
                ("beta1", 0.95),
                ("beta2", 0.999),
                ("beta3", 0.95),
                ("p", 0.2),
                ("q", 0.24),
                ("epsilon", 1e-8),
                ("weight_decay", 0.0),
                ("weight_decouple", 0.0),
                ("fixed_decay", 0.0),
            ],
            |point, _, _| constant(Fused(AdamG::package(point)?), point),
        ),
        Reference {
            turns: Turns::TwoAxes,
            ..reference(
                "amos",
                &[
                    ("learning_rate", 1e-3),
                    ("beta", 0.999),
                    ("momentum", 0.0),
                    ("extra_l2", 0.0),
                    ("c", 0.25),
                    ("d", 0.25),
                    ("epsilon", 1e-18),
                ],
                amos,
            )
        },
        reference(
            "soap",
            &[
                ("learning_rate", 3e-3),
                ("beta1", 0.95),
                ("beta2", 0.95),
                ("epsilon", 1e-8),
                ("weight_decay", 0.01),
                ("precondition_frequency", 10.0),
            ],
            soap,
        ),
    ]
}

/// A reference that does not tell the axes of a matrix apart.
fn reference(
    optimizer: &'static str,
    hyperparameters: &'static [(&'static str, f64)],
    start: fn(&Point, &Trainee, &Golden) -> Start,
) -> Reference {
    Reference {
        optimizer,
        hyperparameters,
        optional: &[],
        turns: Turns::Nothing,
        start,
    }
}

/// A burn optimizer at the point's learning rate.
fn constant(rule: impl Into<ModuleOptimizer>, point: &Point) -> Start {
    let rate = Constant(non_negative(point, "learning_rate")?);
    Ok(ScheduledOptimizer::new(rule, rate).into())
}

fn schedule_free(point: &Point, trainee: &Trainee, _golden: &Golden) -> Start {
    checked(point, "warmup_steps", "a whole number of at least 0", |x| {
        (0.0..1e9).contains(&x) && x.fract() == 0.0
    })?;
    let rule = ScheduleFreeAdamW::reference(point, Free::Package)?;
    let options = PassOptions::default();
    Ok(ScheduleFree::new(rule, options, trainee).into())
}

/// The reference states the rate for tensors of one axis, the rule its share of the other rate.
fn mars(point: &Point, _trainee: &Trainee, _golden: &Golden) -> Start {
    let share = non_negative(point, "lr_1d")? / positive(point, "learning_rate")?;
    let mut own = point.clone();
    own.0.insert("lr_1d_ratio".into(), share);
    let rule = Mars {
        early_epsilon: true,
        ..Mars::from_point(&own)?
    };
    constant(rule, point)
}

fn amos(point: &Point, trainee: &Trainee, _golden: &Golden) -> Start {
    let rate = Constant(non_negative(point, "learning_rate")?);
    let rule = PaperAmos::from_point(point)?;
    let options = PassOptions::default();
    Ok(PaperAmosRace::new(rule, rate, options, trainee).into())
}

/// Where the first gradient leaves a part of a basis undetermined, that part is the file's.
fn soap(point: &Point, _trainee: &Trainee, golden: &Golden) -> Start {
    let rate = non_negative(point, "learning_rate")?;
    let mut own = point.clone();
    own.0
        .entry("max_precondition_dim".into())
        .or_insert(10_000.0);
    let beginnings: Vec<Beginning> = golden
        .trajectories()
        .into_iter()
        .map(|t| Beginning {
            shape: t.shape,
            steps: t.steps,
        })
        .collect();
    let (rule, notes) = Soap::from_point(&own)?.starting_as(rate, &beginnings)?;
    Ok(Started {
        notes,
        ..ScheduledOptimizer::new(rule, Constant(rate)).into()
    })
}

fn prodigy(point: &Point, trainee: &Trainee, _golden: &Golden) -> Start {
    let rate = Constant(non_negative(point, "learning_rate")?);
    let rule = Prodigy::from_point(point)?;
    let options = PassOptions::default();
    Ok(ProdigyRace::new(rule, rate, options, trainee).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use velodrome_harness::conformance::golden::Golden;

    fn read(name: &str) -> String {
        let goldens = GOLDENS.iter().find(|(other, _)| *other == name);
        goldens.unwrap().1.to_string()
    }

    fn replay(text: &str) -> Result<f64, String> {
        let golden = Golden::parse(text)?;
        let all = all();
        let reference = all.iter().find(|r| r.optimizer == golden.optimizer);
        let replay = golden.replay(reference.unwrap(), &Device::flex())?;
        Ok(replay.share_of_tolerance)
    }

    #[test]
    fn every_reference_has_a_golden_file_and_passes_it() {
        let names: Vec<&str> = all().iter().map(|r| r.optimizer).collect();
        assert_eq!(names, GOLDENS.map(|(name, _)| name));
        for (name, text) in GOLDENS {
            let share = replay(text).unwrap();
            assert!(share <= 1.0, "{name}: {share}");
        }
    }

    /// Hyperparameters whose effect is below the tolerance in these files: Prodigy's decay times its
    /// first steps (1e-6), and the constants of Amos's decay of rates, which has hardly begun.
    const TOO_SMALL: [(&str, &str); 3] =
        [("prodigy", "weight_decay"), ("amos", "c"), ("amos", "d")];

    #[test]
    fn another_value_of_any_hyperparameter_is_seen() {
        for (name, text) in GOLDENS {
            let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
            let held = value["hyperparameters"].as_object().unwrap().clone();
            for key in held.keys() {
                // Far below what a step can show in 32 bits; floors that are not reached.
                let small = key.starts_with("epsilon") || key == "warmup_steps";
                if small || TOO_SMALL.contains(&(name, key)) {
                    continue;
                }
                let old = held[key].as_f64().unwrap();
                value["hyperparameters"][key] = if old == 0.0 {
                    0.3.into()
                } else {
                    (old * 0.7).into()
                };
                let share = replay(&value.to_string()).unwrap();
                assert!(share > 1.0, "{name}.{key}: {share}");
                value["hyperparameters"][key] = old.into();
            }
        }
    }

    #[test]
    fn a_fault_of_a_file_names_the_field() {
        let text = read("adamw");
        let faults: [(&str, &str, &str); 9] = [
            ("\"beta1\":", "\"beta9\":", "`hyperparameters.beta9`"),
            (
                "\"beta1\": 0.9",
                "\"beta1\": 1.5",
                "`hyperparameters.beta1`",
            ),
            (
                "\"beta1\": 0.9",
                "\"beta1\": \"x\"",
                "`hyperparameters.beta1`",
            ),
            (
                "\"kind\": \"bias\"",
                "\"kind\": \"bis\"",
                "`parameters[1].kind`",
            ),
            (
                "\"shape\": [6, 4]",
                "\"shape\": [6, 5]",
                "`parameters[0].initial`",
            ),
            (
                "\"shape\": [6, 4]",
                "\"shape\": [6, -4]",
                "`parameters[0].shape[1]`",
            ),
            ("\"gradients\"", "\"gradient\"", "`steps[0].gradients`"),
            ("\"relative\"", "\"relativ\"", "`tolerance.relative`"),
            ("trajectory/1", "trajectory/2", "`format`"),
        ];
        for (old, new, named) in faults {
            let damaged = text.replacen(old, new, 1);
            assert_ne!(damaged, text, "{old}");
            let error = replay(&damaged).unwrap_err();
            assert!(error.contains(named), "{error} does not name {named}");
        }
        let error = replay(&text[..text.len() / 2]).unwrap_err();
        assert!(error.contains("JSON"), "{error}");
    }
}
