//! Reference trajectories: what a reference computed from given gradients, replayed through an
//! algorithm.
//!
//! The format, `optimizer-trajectory/1`, is a JSON object of `format`, `optimizer`,
//! `hyperparameters`, `parameters` (`kind`, `shape`, `initial`), `steps` (`gradients`, `values` and,
//! where the weights to be evaluated are others, `eval_values`) and `tolerance` (`relative`,
//! `absolute`). Matrices are `[fan_out, fan_in]` there, `[fan_in, fan_out]` here.

use super::given::{self, GivenModel, Parameter, kind_named};
use crate::contract::{Algorithm, ParamKind, Point, StepContext, SubmissionError, Trainee};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

/// The format that is read.
pub const FORMAT: &str = "optimizer-trajectory/1";

/// How the trajectories of one optimizer are computed.
#[derive(Clone, Copy)]
pub struct Reference {
    /// The name in golden files.
    pub optimizer: &'static str,
    /// The hyperparameters that golden files may hold, with the reference's defaults.
    pub hyperparameters: &'static [(&'static str, f64)],
    /// Further ones, which the reference does without where a file does not hold them.
    pub optional: &'static [&'static str],
    /// Which tensors have their axes swapped for the replay.
    pub turns: Turns,
    /// Starts the algorithm at a constant learning rate. The point has all of `hyperparameters`,
    /// and those of `optional` that the file holds.
    pub start: fn(&Point, &Trainee, &Golden) -> Result<Started, SubmissionError>,
}

/// An algorithm at its start.
pub struct Started {
    /// The algorithm.
    pub algorithm: Box<dyn Algorithm>,
    /// What was taken from the trajectory because the rule leaves it undetermined (the basis of a
    /// null space, for example), to be shown beside the result.
    pub notes: Vec<String>,
}

impl<A: Algorithm + 'static> From<A> for Started {
    fn from(algorithm: A) -> Self {
        Self {
            algorithm: Box::new(algorithm),
            notes: Vec::new(),
        }
    }
}

/// What a golden file says of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// Its shape, as in the file.
    pub shape: Vec<usize>,
    /// For each step the gradient and the value after it, flat (row-major).
    pub steps: Vec<(Vec<f64>, Vec<f64>)>,
}

/// Golden files hold matrices as `[fan_out, fan_in]`, trainees as `[fan_in, fan_out]`. To most rules
/// that is all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// No tensor is turned.
    Nothing,
    /// Matrices are: the rule looks at the axis of the inputs.
    Matrices,
    /// All tensors of two axes are: the rule tells the axes apart, but not embeddings from matrices.
    TwoAxes,
}

/// One golden file.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// Name of the optimizer.
    pub optimizer: String,
    hyperparameters: Vec<(String, f64)>,
    parameters: Vec<Parameter>,
    steps: Vec<Step>,
    relative: f64,
    absolute: f64,
}

#[derive(Debug, Clone, PartialEq)]
struct Step {
    gradients: Vec<Vec<f64>>,
    values: Vec<Vec<f64>>,
    eval_values: Option<Vec<Vec<f64>>>,
}

/// How a replay went.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Largest distance from the reference, over all steps and entries.
    pub max_error: f64,
    /// Largest share of the tolerance that was used; at most 1 where the replay passed.
    pub share_of_tolerance: f64,
    /// Where the tolerance was first exceeded.
    pub first_miss: Option<String>,
    /// What was taken from the trajectory; see [`Started::notes`].
    pub notes: Vec<String>,
}

/// A value at a path of the file, which faults are reported with.
struct At<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> At<'a> {
    fn fault(&self, what: &str) -> String {
        format!("`{}` {what}", self.path)
    }

    fn field(&self, name: &str) -> Result<At<'a>, String> {
        let path = if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        };
        match self.value.get(name) {
            Some(value) => Ok(At { path, value }),
            None => Err(format!("`{path}` is missing")),
        }
    }

    fn text(&self) -> Result<&'a str, String> {
        let text = self.value.as_str();
        text.ok_or_else(|| self.fault("is not a text"))
    }

    fn number(&self) -> Result<f64, String> {
        let number = self.value.as_f64().filter(|x| x.is_finite());
        number.ok_or_else(|| self.fault("is not a finite number"))
    }

    fn items(&self) -> Result<Vec<At<'a>>, String> {
        let list = self.value.as_array();
        let list = list.ok_or_else(|| self.fault("is not a list"))?;
        let item = |(i, value)| At {
            path: format!("{}[{i}]", self.path),
            value,
        };
        Ok(list.iter().enumerate().map(item).collect())
    }

    fn numbers(&self, expected: usize) -> Result<Vec<f64>, String> {
        let numbers: Vec<f64> = self
            .items()?
            .iter()
            .map(At::number)
            .collect::<Result<_, _>>()?;
        if numbers.len() == expected {
            return Ok(numbers);
        }
        Err(self.fault(&format!(
            "holds {} numbers, the parameter has {expected}",
            numbers.len()
        )))
    }

    /// One list of numbers per parameter.
    fn tensors(&self, parameters: &[Parameter]) -> Result<Vec<Vec<f64>>, String> {
        let items = self.items()?;
        if items.len() != parameters.len() {
            return Err(self.fault(&format!(
                "holds {} tensors, there are {} parameters",
                items.len(),
                parameters.len()
            )));
        }
        let pairs = items.iter().zip(parameters);
        pairs.map(|(at, p)| at.numbers(p.values.len())).collect()
    }
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

impl Golden {
    /// Reads the text of a golden file. A fault is a sentence that names the field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| format!("is not sound JSON: {e}"))?;
        let root = At {
            path: String::new(),
            value: &value,
        };
        let format = root.field("format")?;
        if format.text()? != FORMAT {
            return Err(format.fault(&format!("is not `{FORMAT}`")));
        }
        let optimizer = root.field("optimizer")?.text()?.to_string();
        let hyperparameters = hyperparameters(&root.field("hyperparameters")?)?;
        let listed = root.field("parameters")?;
        let parameters: Vec<Parameter> = listed
            .items()?
            .iter()
            .map(parameter)
            .collect::<Result<_, _>>()?;
        if parameters.is_empty() {
            return Err(listed.fault("is empty"));
        }
        let listed = root.field("steps")?;
        let step = |at: &At<'_>| -> Result<Step, String> {
            Ok(Step {
                gradients: at.field("gradients")?.tensors(&parameters)?,
                values: at.field("values")?.tensors(&parameters)?,
                eval_values: match at.field("eval_values") {
                    Ok(eval) if !eval.value.is_null() => Some(eval.tensors(&parameters)?),
                    _ => None,
                },
            })
        };
        let steps: Vec<Step> = listed.items()?.iter().map(step).collect::<Result<_, _>>()?;
        if steps.is_empty() {
            return Err(listed.fault("is empty"));
        }
        let tolerance = root.field("tolerance")?;
        let bound = |name: &str| -> Result<f64, String> {
            let at = tolerance.field(name)?;
            let bound = at.number()?;
            if bound < 0.0 {
                return Err(at.fault("is below 0"));
            }
            Ok(bound)
        };
        Ok(Self {
            optimizer,
            hyperparameters,
            relative: bound("relative")?,
            absolute: bound("absolute")?,
            parameters,
            steps,
        })
    }

    /// What the file says of each parameter.
    pub fn trajectories(&self) -> Vec<Trajectory> {
        let of = |(i, p): (usize, &Parameter)| Trajectory {
            shape: p.shape.clone(),
            steps: self
                .steps
                .iter()
                .map(|s| (s.gradients[i].clone(), s.values[i].clone()))
                .collect(),
        };
        self.parameters.iter().enumerate().map(of).collect()
    }

    /// The hyperparameters of the file over the defaults of the reference.
    fn point(&self, reference: &Reference) -> Result<Point, String> {
        let known = reference.hyperparameters;
        let mut point: Point = Point(known.iter().map(|&(n, v)| (n.into(), v)).collect());
        for (name, value) in &self.hyperparameters {
            let optional = reference.optional;
            if !point.0.contains_key(name) && !optional.contains(&name.as_str()) {
                let names = known
                    .iter()
                    .map(|(n, _)| *n)
                    .chain(optional.iter().copied());
                let names: Vec<&str> = names.collect();
                return Err(format!(
                    "`hyperparameters.{name}` is not a hyperparameter of `{}`; known: {}",
                    self.optimizer,
                    names.join(", ")
                ));
            }
            point.0.insert(name.clone(), *value);
        }
        Ok(point)
    }

    /// Takes the file's steps with the algorithm of `reference` on `device` (without autodiff) and
    /// compares all values after each. A fault of the file is a sentence that names the field.
    pub fn replay(&self, reference: &Reference, device: &Device) -> Result<Replay, String> {
        let point = self.point(reference)?;
        let turned: Vec<bool> = self
            .parameters
            .iter()
            .map(|p| {
                let matrix = matches!(p.kind, ParamKind::Matrix | ParamKind::Head);
                p.shape.len() == 2
                    && match reference.turns {
                        Turns::Nothing => false,
                        Turns::Matrices => matrix,
                        Turns::TwoAxes => true,
                    }
            })
            .collect();
        let parameters: Vec<Parameter> = self
            .parameters
            .iter()
            .zip(&turned)
            .map(|(p, &turn)| match (turn, p.shape.as_slice()) {
                (true, &[rows, columns]) => Parameter {
                    kind: p.kind,
                    shape: vec![columns, rows],
                    values: transposed(&p.values, rows, columns),
                },
                _ => p.clone(),
            })
            .collect();
        let given = GivenModel::new(&parameters, &device.clone().autodiff())
            .ok_or("`parameters` holds a tensor of more than five axes")?;
        let order = given.order();
        let mut trainee = Trainee::new(given.model, device.clone(), 1);
        let started = (reference.start)(&point, &trainee, self).map_err(|error| match &error {
            SubmissionError::Hyperparameter { name, message } => {
                format!("`hyperparameters.{name}` {message}")
            }
            other => other.to_string(),
        })?;
        let mut algorithm = started.algorithm;
        let mut tally = Tally {
            golden: self,
            turned: &turned,
            order: &order,
            replay: Replay {
                max_error: 0.0,
                share_of_tolerance: 0.0,
                first_miss: None,
                notes: started.notes,
            },
        };
        for (n, step) in self.steps.iter().enumerate() {
            let run = |e: SubmissionError| format!("step {}: {e}", n + 1);
            let gradients: Vec<Vec<f32>> = step
                .gradients
                .iter()
                .zip(&self.parameters)
                .zip(&turned)
                .map(|((g, p), &turn)| match (turn, p.shape.as_slice()) {
                    (true, &[rows, columns]) => transposed(&single(g), rows, columns),
                    _ => single(g),
                })
                .collect();
            let batch = given::batch(&gradients, &order, 1, device);
            let context = StepContext::new(n as u64, 1);
            algorithm
                .update(&mut trainee, &batch, &context)
                .map_err(run)?;
            let place = format!("step {}", n + 1);
            tally.compare(&trainee, &step.values, &place);
            algorithm.prepare_for_eval(&mut trainee).map_err(run)?;
            let seen = step.eval_values.as_ref().unwrap_or(&step.values);
            tally.compare(&trainee, seen, &format!("{place}, evaluation"));
            algorithm.after_eval(&mut trainee).map_err(run)?;
        }
        Ok(tally.replay)
    }
}

fn hyperparameters(at: &At<'_>) -> Result<Vec<(String, f64)>, String> {
    let map = at.value.as_object();
    let map = map.ok_or_else(|| at.fault("is not an object"))?;
    let mut all = Vec::new();
    for name in map.keys() {
        let at = at.field(name)?;
        match at.value {
            // Python's `None`: the reference's default.
            Value::Null => {}
            Value::Bool(on) => all.push((name.clone(), f64::from(u8::from(*on)))),
            _ => all.push((name.clone(), at.number()?)),
        }
    }
    Ok(all)
}

fn parameter(at: &At<'_>) -> Result<Parameter, String> {
    let kind = at.field("kind")?;
    let axes = at.field("shape")?;
    let mut shape = Vec::new();
    for axis in axes.items()? {
        let n = axis.value.as_u64().filter(|n| (1..1 << 32).contains(n));
        let n = n.ok_or_else(|| axis.fault("is not a whole number of at least 1"))?;
        shape.push(n as usize);
    }
    let size = shape
        .iter()
        .try_fold(1usize, |n, &axis| n.checked_mul(axis));
    let size = size.ok_or_else(|| axes.fault("is too large"))?;
    Ok(Parameter {
        kind: kind_named(kind.text()?).ok_or_else(|| kind.fault("is not a known kind"))?,
        values: single(&at.field("initial")?.numbers(size)?),
        shape,
    })
}

/// The values of a matrix of `rows` by `columns`, column by column.
fn transposed<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let entry = |i: usize| values[(i % rows) * columns + i / rows];
    (0..values.len()).map(entry).collect()
}

/// The comparison so far.
struct Tally<'a> {
    golden: &'a Golden,
    turned: &'a [bool],
    order: &'a [usize],
    replay: Replay,
}

impl Tally<'_> {
    /// Compares the trainee's values with those of the file (in the file's order and layout).
    fn compare(&mut self, trainee: &Trainee, reference: &[Vec<f64>], place: &str) {
        let values = trainee.values();
        for (tensor, &index) in values.into_iter().zip(self.order) {
            let parameter = &self.golden.parameters[index];
            let mut ours = host(tensor);
            if let (true, &[rows, columns]) = (self.turned[index], parameter.shape.as_slice()) {
                // In the trainee the axes stand the other way round.
                ours = transposed(&ours, columns, rows);
            }
            for (entry, (&x, &y)) in ours.iter().zip(&reference[index]).enumerate() {
                let error = (f64::from(x) - y).abs();
                // Not a number is as far off as can be.
                let error = if error.is_nan() { f64::INFINITY } else { error };
                let allowed = self.golden.absolute + self.golden.relative * y.abs();
                let replay = &mut self.replay;
                replay.max_error = replay.max_error.max(error);
                let share = if error == 0.0 { 0.0 } else { error / allowed };
                replay.share_of_tolerance = replay.share_of_tolerance.max(share);
                if error > allowed && replay.first_miss.is_none() {
                    replay.first_miss = Some(format!(
                        "{place}, parameter {index}, entry {entry}: {x}, not {y}"
                    ));
                }
            }
        }
    }
}

/// A flat tensor's values.
fn host(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter::<f32>().collect()
}
