//! What tells whether two trials went the same way, without what does not.
//!
//! A comparison of thousands of trials reads hundreds of thousands of evaluations and asks one thing of
//! them: are they equal, but for their times? For that a hash of each will do, in a hundredth of the
//! memory.

use crate::measures::{Measures, Real};
use crate::record::EvalRecord;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// An evaluation, whole or as its trace.
pub trait Evaluation: DeserializeOwned + Send + Sync {
    /// A hash of everything but the times.
    fn trace(&self) -> Trace;
}

/// A hash of 64 bits over an evaluation: its number, step, work and measures to the last bit, and not its
/// times. It is read from the text of an evaluation, as [`EvalRecord`] is, and refuses what that refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace(u64);

impl Trace {
    /// One trace of a trial's evaluations, their number and order included.
    pub fn of_all<E: Evaluation>(evals: &[E]) -> Self {
        let traces = evals.iter().map(|e| e.trace().0);
        Self(traces.fold(evals.len() as u64, |hash, trace| mixed(hash ^ trace)))
    }
}

impl Evaluation for Trace {
    fn trace(&self) -> Trace {
        *self
    }
}

impl Evaluation for EvalRecord {
    fn trace(&self) -> Trace {
        // A field that is added must be thought of here, and in `Seen`.
        let EvalRecord {
            n,
            step,
            work,
            clock: _,
            wall: _,
            train,
            validation,
            test,
        } = self;
        let sum = |m: &Measures| Sum(m.iter().fold(0, |sum, (name, x)| added(sum, name, *x)));
        trace([*n, *step, *work], [train, validation, test].map(sum))
    }
}

impl<'de> Deserialize<'de> for Trace {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        /// The fields of [`EvalRecord`].
        #[derive(Deserialize)]
        struct Seen {
            n: u64,
            step: u64,
            work: u64,
            #[serde(rename = "clock")]
            _clock: f64,
            #[serde(rename = "wall")]
            _wall: f64,
            train: Sum,
            validation: Sum,
            test: Sum,
        }
        let seen = Seen::deserialize(d)?;
        Ok(trace(
            [seen.n, seen.step, seen.work],
            [seen.train, seen.validation, seen.test],
        ))
    }
}

fn trace(counts: [u64; 3], measures: [Sum; 3]) -> Trace {
    let words = counts.into_iter().chain(measures.map(|m| m.0));
    Trace(words.fold(0, |hash, word| mixed(hash ^ word)))
}

/// The sum of the hashes of named numbers, which does not depend on their order.
struct Sum(u64);

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Sum;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of measures")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sum, A::Error> {
                let mut sum: u64 = 0;
                while let Some((Name(name), Real(x))) = map.next_entry()? {
                    sum = sum.wrapping_add(entry(name, x));
                }
                Ok(Sum(sum))
            }
        }
        d.deserialize_map(Map)
    }
}

/// The hash of a name, of which no copy is kept.
struct Name(u64);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a measure")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(named(name)))
            }
        }
        d.deserialize_str(Text)
    }
}

fn added(sum: u64, name: &str, x: f64) -> u64 {
    sum.wrapping_add(entry(named(name), x))
}

fn entry(name: u64, x: f64) -> u64 {
    // All NaN are alike in a log, and both zeros are equal.
    let x = if x.is_nan() { f64::NAN } else { x + 0.0 };
    mixed(name ^ mixed(x.to_bits()))
}

/// FNV-1a (Fowler, Noll and Vo).
fn named(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), in which each bit moves half of the others.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log;
    use std::collections::HashSet;

    fn eval() -> EvalRecord {
        let measures = |x: f64| -> Measures {
            [("loss", x), ("accuracy", 0.1 + 0.2), ("é \"quoted\"", x)]
                .map(|(name, x)| (name.to_string(), x))
                .into()
        };
        EvalRecord {
            n: 1,
            step: 20,
            work: 640,
            clock: 0.5,
            wall: 0.75,
            train: measures(f64::NAN),
            validation: measures(f64::INFINITY),
            test: measures(1.0),
        }
    }

    #[test]
    fn an_evaluation_has_the_trace_of_its_text() {
        let line = log::encode(&eval()).unwrap();
        let whole = log::decode(&line).unwrap();
        let trace: Trace = log::decode_as(&line).unwrap();
        assert_eq!(whole.trace(), eval().trace());
        assert_eq!(trace, eval().trace());
    }

    #[test]
    fn everything_but_the_times_leaves_a_trace() {
        let changes: [fn(&mut EvalRecord); 9] = [
            |e| e.n += 1,
            |e| e.step += 1,
            |e| e.work += 1,
            |e| e.train = Measures::new(),
            |e| std::mem::swap(&mut e.validation, &mut e.test),
            |e| e.test.values_mut().for_each(|x| *x = x.next_up()),
            |e| e.test.insert("loss".into(), -1.0).map_or((), drop),
            |e| e.test.insert("losses".into(), 1.0).map_or((), drop),
            |e| e.test.insert("loss".into(), 0.1 + 0.2).map_or((), drop),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let mut other = eval();
            change(&mut other);
            assert_ne!(other.trace(), eval().trace(), "change {i}");
        }
        let [a, b] = [eval(), EvalRecord { n: 2, ..eval() }];
        let of = |evals: &[&EvalRecord]| {
            let traces: Vec<Trace> = evals.iter().map(|e| e.trace()).collect();
            Trace::of_all(&traces)
        };
        let all = [of(&[]), of(&[&a]), of(&[&a, &b]), of(&[&b, &a])];
        assert_eq!(HashSet::from(all).len(), 4);
        let mut later = eval();
        (later.clock, later.wall) = (9.0, 9.0);
        assert_eq!(later.trace(), eval().trace());
    }

    #[test]
    fn what_is_no_evaluation_has_no_trace_and_the_same_error() {
        let text = serde_json::to_string(&eval()).unwrap();
        for field in [
            "n",
            "step",
            "work",
            "clock",
            "wall",
            "train",
            "validation",
            "test",
        ] {
            let without = text.replace(&format!("\"{field}\":"), "\"other\":");
            let whole = serde_json::from_str::<EvalRecord>(&without).unwrap_err();
            let trace = serde_json::from_str::<Trace>(&without).unwrap_err();
            assert_eq!(trace.to_string(), whole.to_string());
            assert!(trace.to_string().contains(field), "{trace}");
        }
    }
}
