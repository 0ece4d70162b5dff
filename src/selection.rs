//! What is raced: the options that `run` and `race` share.

use crate::failure::Failure;
use crate::suites;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use toml::Spanned;
use velodrome_harness::contract::Ruleset;
use velodrome_harness::race::Suite;
use velodrome_harness::registry::Registry;

/// A suite, and what is changed in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// A built-in suite (see `velodrome list suites`) or the path of a suite file [default: quick]
    #[arg(value_name = "SUITE")]
    suite: Option<String>,
    /// The suite, as an option
    #[arg(long = "suite", value_name = "SUITE", conflicts_with = "suite")]
    suite_option: Option<String>,
    /// Race on this workload instead of the suite's; may be repeated
    #[arg(long = "workload", short = 'w', value_name = "NAME")]
    workloads: Vec<String>,
    /// Race this submission instead of the suite's; may be repeated
    #[arg(long = "submission", short = 's', value_name = "NAME")]
    submissions: Vec<String>,
    /// How hyperparameters are chosen
    #[arg(long, value_parser = PossibleValuesParser::new(["external", "self-tuning"]).map(ruleset))]
    ruleset: Option<Ruleset>,
    /// Where to train: flex (CPU), ndarray, cuda or cuda:N, as far as the build has them
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Trials per study (ruleset external)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    trials: Option<u32>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Draw one variant for each data set with this seed, race it too, and count a time only where
    /// the submission solves the drawn variant as well
    #[arg(long, value_name = "SEED")]
    held_out: Option<u64>,
    /// Compute threads of a trial [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
}

fn ruleset(word: String) -> Ruleset {
    if word == Ruleset::External.as_str() {
        Ruleset::External
    } else {
        Ruleset::SelfTuning
    }
}

/// Name of a folder under `runs`: the suite and the beginning of hashes.
pub(crate) fn folder_name(suite: &str, hashes: &[&str]) -> String {
    let safe = |c: char| {
        if c.is_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '_'
        }
    };
    let mut name: String = suite.chars().map(safe).collect();
    for hash in hashes {
        name.push('-');
        name.extend(hash.chars().take(8));
    }
    name
}

impl Selection {
    fn wanted(&self) -> Option<&str> {
        self.suite.as_deref().or(self.suite_option.as_deref())
    }

    /// The command line that selects the same.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.wanted().map(String::from).into_iter().collect();
        let mut option = |name: &str, value: Option<String>| {
            words.extend(value.map(|v| format!("--{name}={v}")));
        };
        for name in &self.workloads {
            option("workload", Some(name.clone()));
        }
        for name in &self.submissions {
            option("submission", Some(name.clone()));
        }
        option("ruleset", self.ruleset.map(|r| r.as_str().into()));
        option("device", self.device.clone());
        option("trials", self.trials.map(|n| n.to_string()));
        option("seed", self.seed.map(|n| n.to_string()));
        option("held-out", self.held_out.map(|n| n.to_string()));
        option("threads", self.threads.map(|n| n.to_string()));
        words
    }

    /// The suite with these options in it, and with `studies` studies where given.
    pub(crate) fn suite(
        &self,
        studies: Option<u32>,
        registry: &Registry,
    ) -> Result<Suite, Failure> {
        let mut suite = suites::load(self.wanted().unwrap_or("quick"))?;
        let named = |names: &[String]| -> Vec<Spanned<String>> {
            names
                .iter()
                .map(|n| Spanned::new(0..0, n.clone()))
                .collect()
        };
        // Checked here, since an error of the plan would name a line of the suite file.
        for name in &self.workloads {
            registry.workload(name)?;
        }
        for name in &self.submissions {
            registry.submission(name)?;
        }
        if !self.workloads.is_empty() {
            suite.workloads = named(&self.workloads);
            // What the suite says of workloads that are left out has no use; a name that does
            // not exist is left for the plan to refuse.
            suite.overrides.retain(|name, _| {
                self.workloads.contains(name.get_ref())
                    || registry.workload(name.get_ref()).is_err()
            });
        }
        if !self.submissions.is_empty() {
            suite.submissions = named(&self.submissions);
            let of_use = |name: &str| {
                self.submissions.iter().any(|s| s == name) || registry.submission(name).is_err()
            };
            suite.points.retain(|name, _| of_use(name.get_ref()));
            suite.spaces.retain(|name, _| of_use(name.get_ref()));
        }
        if let Some(ruleset) = self.ruleset {
            if ruleset == Ruleset::SelfTuning {
                // A suite's number of trials is for its own ruleset.
                suite.trials = 1;
                suite.spaces.clear();
            }
            suite.ruleset = ruleset;
        }
        match self.trials {
            Some(trials) if trials > 1 && suite.ruleset == Ruleset::SelfTuning => {
                return Err(Failure::Usage(format!(
                    "--trials {trials}: a study has one trial under the ruleset self-tuning; add \
                     --ruleset external, or use --studies {trials} for repetitions"
                )));
            }
            Some(trials) => suite.trials = trials,
            None => {}
        }
        suite.device = self
            .device
            .clone()
            .unwrap_or(std::mem::take(&mut suite.device));
        suite.studies = studies.unwrap_or(suite.studies);
        suite.seed = self.seed.unwrap_or(suite.seed);
        suite.held_out = self.held_out.or(suite.held_out);
        suite.threads = self.threads.map(|n| n as usize).or(suite.threads);
        Ok(suite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        selection: Selection,
    }

    fn parse<S: AsRef<str>>(words: &[S]) -> Selection {
        let words = words.iter().map(|w| w.as_ref().to_string());
        Line::try_parse_from(std::iter::once("x".into()).chain(words))
            .unwrap()
            .selection
    }

    #[test]
    fn words_select_the_same() {
        let line = "smoke -w digits_mlp -s lion -s adamw --ruleset external --device ndarray \
                    --trials 3 --seed 7 --held-out 9 --threads 2";
        let given = parse(&line.split_whitespace().collect::<Vec<_>>());
        let again = parse(&given.words());
        assert_eq!(format!("{given:?}"), format!("{again:?}"));
        assert_eq!(given.words().len(), 10);
        assert!(parse::<&str>(&[]).words().is_empty());
        // The option and the argument are one.
        assert_eq!(parse(&["--suite", "smoke"]).words(), ["smoke"]);
    }

    #[test]
    fn folder_names_are_safe() {
        assert_eq!(
            folder_name("my suite", &["0123456789", "ab"]),
            "my_suite-01234567-ab"
        );
    }
}
