//! What every method promises, checked on a weight of its own: `velodrome verify --adapters`.

use super::layout::values;
use super::table::{Begins, Entry};
use super::{Adapted, Draw, Method, MethodError, Options, Shape};
use burn::tensor::{Device, Tensor};
use serde_json::{Map, Value};
use std::sync::Arc;
use velodrome_harness::conformance::Check;

/// The weight that the counts in the table are of.
const SQUARE: Shape = Shape {
    d_in: 384,
    d_out: 384,
};

/// The weight of the other checks: its sides differ, so that they cannot be mixed up.
const LONG: Shape = Shape {
    d_in: 384,
    d_out: 768,
};

/// The largest distance between two ways to compute the same, over the larger of 1 and the largest
/// entry.
const TOLERANCE: f64 = 1e-5;

/// Steps of the small training.
const STEPS: usize = 50;

/// A check: what was found, or what is wrong.
type Rule = fn(&Lab) -> Result<String, String>;

/// The options as JSON.
pub fn options(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(values)) => values,
        _ => Map::new(),
    }
}

/// Checks a method with the options of its line.
pub fn check(entry: &'static Entry) -> Vec<Check> {
    let lab = match Lab::open(entry) {
        Ok(lab) => lab,
        Err(message) => {
            return vec![Check {
                name: "start",
                passed: false,
                message,
            }];
        }
    };
    let all: [(&'static str, Rule); 5] = [
        ("trained_values", Lab::trained_values),
        ("start", Lab::start),
        ("merged_is_unmerged", Lab::merged_is_unmerged),
        ("gradients", Lab::gradients),
        ("frozen_stays", Lab::frozen_stays),
    ];
    let one = |(name, rule): (&'static str, Rule)| {
        let outcome = rule(&lab);
        Check {
            name,
            passed: outcome.is_ok(),
            message: outcome.unwrap_or_else(|fault| fault),
        }
    };
    all.into_iter().map(one).collect()
}

/// A fresh adapter of a random weight. Some need a decomposition, so that it is made once.
struct Lab {
    entry: &'static Entry,
    base: Tensor<2>,
    fresh: Adapted,
}

fn method(entry: &Entry, shape: Shape) -> Result<Arc<dyn Method>, String> {
    let values = options(entry.example.0);
    let built = (entry.build)(&Options::new(&values, shape), shape);
    built.map(Arc::from).map_err(text)
}

fn text(error: MethodError) -> String {
    error.to_string()
}

impl Lab {
    fn open(entry: &'static Entry) -> Result<Self, String> {
        let device = Device::flex();
        let mut draw = Draw::seeded(11);
        let shape = [LONG.d_in, LONG.d_out];
        let base = draw.normal(shape, 1.0 / (LONG.d_in as f64).sqrt(), &device);
        let fresh = Adapted::start(method(entry, LONG)?, base.clone(), &mut draw);
        Ok(Self {
            entry,
            base,
            fresh: fresh.map_err(text)?,
        })
    }

    /// The same with every factor moved away from its start.
    fn moved(&self) -> Result<Adapted, String> {
        let adapted = &self.fresh;
        let mut draw = Draw::seeded(12);
        let moved = adapted.trained().iter().map(|factor| {
            let noise = draw.normal(factor.dims(), 0.05, &factor.device());
            factor.clone() + noise
        });
        adapted.retrained(moved.collect()).map_err(text)
    }

    fn trained_values(&self) -> Result<String, String> {
        let method = method(self.entry, SQUARE)?;
        let found: usize = method.trained().iter().map(|f| f.len()).sum();
        let stated = self.entry.example.1;
        let message = format!("{found} on 384 by 384 with {}", self.entry.example.0);
        match found == stated {
            true => Ok(message),
            false => Err(format!("{message}; {stated} are stated")),
        }
    }

    fn start(&self) -> Result<String, String> {
        let adapted = &self.fresh;
        let (found, wanted) = (values(adapted.weight()), values(self.base.clone()));
        let equal = found.iter().zip(&wanted).all(|(a, b)| a == b);
        let bias = Draw::seeded(13).normal([1, LONG.d_out], 1.0, &Device::flex());
        let bias = bias.reshape([LONG.d_out]);
        let same_bias = values(adapted.bias(bias.clone())) == values(bias);
        let far = distance(&found, &wanted);
        match self.entry.begins {
            _ if !same_bias => Err("the bias is changed".into()),
            Begins::AtWeight if equal => Ok("the weight itself, bit for bit".into()),
            Begins::NearWeight if far <= TOLERANCE => Ok(format!("off by {far:.1e}")),
            Begins::Elsewhere if far > TOLERANCE => Ok(format!("off by {far:.1e}, by design")),
            _ => Err(format!("off by {far:.1e}")),
        }
    }

    fn merged_is_unmerged(&self) -> Result<String, String> {
        let adapted = self.moved()?;
        let x = Draw::seeded(14).normal([8, LONG.d_in], 1.0, &Device::flex());
        let merged = values(x.clone().matmul(adapted.weight()));
        let far = distance(&values(adapted.forward(x.clone())), &merged);
        let moved = distance(&merged, &values(x.matmul(self.base.clone())));
        match far <= TOLERANCE && moved > 1e-3 {
            true => Ok(format!("off by {far:.1e}")),
            false => Err(format!(
                "off by {far:.1e} where the adapter moves by {moved:.1e}"
            )),
        }
    }

    fn gradients(&self) -> Result<String, String> {
        let moved = self.moved()?;
        for (place, adapted) in [("the start", &self.fresh), ("a point beside it", &moved)] {
            let (_, gradients) = step(adapted);
            let declared = adapted.method().trained();
            let mut reached = 0;
            for (factor, gradient) in declared.iter().zip(&gradients) {
                let gradient = gradient.clone().map(values).unwrap_or_default();
                if gradient.iter().any(|x| !x.is_finite()) {
                    let name = factor.name;
                    return Err(format!("that of `{name}` at {place} is not finite"));
                }
                reached += usize::from(gradient.iter().any(|x| *x != 0.0));
                if place != "the start" && gradient.iter().all(|x| *x == 0.0) {
                    return Err(format!("none reaches `{}`", factor.name));
                }
            }
            if reached == 0 {
                return Err(format!("none reaches any factor at {place}"));
            }
        }
        Ok(String::new())
    }

    fn frozen_stays(&self) -> Result<String, String> {
        let mut adapted = self.fresh.clone();
        let (frozen, constants) = held(&adapted);
        let (first, _) = step(&adapted);
        let mut loss = first;
        for _ in 0..STEPS {
            let (at, gradients) = step(&adapted);
            loss = at;
            // Steps of one length, whatever the scale of the gradients.
            let moved = adapted
                .trained()
                .iter()
                .zip(gradients)
                .map(|(f, gradient)| {
                    let Some(gradient) = gradient else {
                        return f.clone();
                    };
                    let norm = gradient.clone().square().mean().sqrt().clamp_min(1e-12);
                    f.clone() - gradient.div(norm.reshape([1, 1])).mul_scalar(1e-3)
                });
            adapted = adapted.retrained(moved.collect()).map_err(text)?;
        }
        if held(&adapted) != (frozen, constants) {
            return Err(format!("a frozen value differs after {STEPS} steps"));
        }
        match loss < first {
            true => Ok(format!(
                "after {STEPS} steps, the loss from {first:.3} to {loss:.3}"
            )),
            false => Err(format!("the loss goes from {first:.3} to {loss:.3}")),
        }
    }
}

/// The bits of what does not train.
fn held(adapted: &Adapted) -> (Vec<u32>, Vec<Vec<u32>>) {
    let bits = |t: &Tensor<2>| values(t.clone()).iter().map(|x| x.to_bits()).collect();
    let constants = adapted.constants().iter().map(bits).collect();
    (bits(adapted.frozen()), constants)
}

/// The loss of a small regression through the activation path, and the gradients of the trained
/// factors.
fn step(adapted: &Adapted) -> (f32, Vec<Option<Tensor<2>>>) {
    let device = Device::flex();
    let mut draw = Draw::seeded(15);
    let x = draw.normal([16, LONG.d_in], 1.0, &device);
    let wanted = draw.normal([16, LONG.d_out], 1.0, &device);
    let graph = |t: &Tensor<2>| Tensor::<2>::from_inner(t.clone());
    let (factors, trained) = adapted.in_graph();
    let frozen = graph(adapted.frozen());
    let y = adapted.method().forward(graph(&x), frozen, &factors);
    let loss = (y - graph(&wanted)).square().mean();
    let value = values(loss.clone()).first().copied().unwrap_or(f32::NAN);
    let gradients = loss.backward();
    let gradients = trained.iter().map(|t| t.grad(&gradients)).collect();
    (value, gradients)
}

/// The largest distance over the larger of 1 and the largest entry of `wanted`.
fn distance(found: &[f32], wanted: &[f32]) -> f64 {
    let size = wanted
        .iter()
        .map(|x| f64::from(x.abs()))
        .fold(1.0, f64::max);
    let far = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs() / size;
    let worst = |worst: f64, x: f64| {
        if x.is_nan() {
            f64::INFINITY
        } else {
            worst.max(x)
        }
    };
    found.iter().zip(wanted).map(far).fold(0.0, worst)
}
