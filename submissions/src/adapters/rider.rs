//! Adapters in a race: a method on every hidden matrix, AdamW on what it trains.
//!
//! The head is trained too where it has outputs to learn that the weights do not know
//! ([`Trainee::new_head`]); everything else is frozen. The adapted weights, all decompositions of the
//! start included, are made on the clock. Every layer's factors are drawn from the trial's seed and the
//! layer's number.
//!
//! # Hyperparameters
//! `learning_rate`, and the method's size (`rank`, `block`, …), both with the method's own ranges;
//! `beta1` 0.9, `beta2` 0.999, `epsilon` 1e-8, `weight_decay` 0 and `warmup_factor` 0.05 of a cosine
//! schedule are fixed, as are `label_smoothing` 0 and `dropout` 0. Method, PEFT's other defaults and
//! sources stand in the method's file.
//!
//! # State
//! 8 bytes for each trained element.

use super::selection::heads;
use super::{Adapted, Draw, Drawn, Entry, Method, MethodError, Options, Shape};
use crate::common::whole;
use crate::flat::bytes_per_entry;
use crate::fused::Fused;
use crate::optimizers::adamw::AdamW;
use crate::scheduled::ScheduledOptimizer;
use burn::tensor::Tensor;
use rand::Rng;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use velodrome_harness::contract::{
    Adapter, Algorithm, Batch, Description, ParamInfo, ParamKind, Point, Ruleset, SearchSpace,
    StartContext, State, StepContext, Submission, SubmissionError, Track, Trainee,
};

/// What a method needs to race.
pub struct Race {
    /// One sentence.
    pub summary: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// Name of its size, and what it may be, the default first; empty where it has none.
    pub size: (&'static str, &'static [f64]),
    /// Its options for a weight.
    pub options: fn(&Site) -> Value,
    /// Learning rate: the ends of the search, and the default.
    pub learning_rate: [f64; 3],
}

impl Race {
    /// The learning rates of methods that train matrices.
    pub const MATRICES: [f64; 3] = [5e-4, 5e-2, 5e-3];
    /// Those of methods that train a few numbers which scale or choose.
    pub const NUMBERS: [f64; 3] = [2e-3, 0.2, 2e-2];
    /// The size of most: a rank.
    pub const RANK: (&'static str, &'static [f64]) = ("rank", &[8.0, 4.0, 16.0]);
    /// No size.
    pub const SIZELESS: (&'static str, &'static [f64]) = ("", &[]);
}

/// A weight that is to be adapted.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// Its shape.
    pub shape: Shape,
    /// The size that the point asks for; 0 where the method has none.
    pub size: usize,
    /// A seed for constants, the same for all weights; below 2^31, as PEFT's are.
    pub seed: u64,
}

impl Site {
    /// The size as a rank: at most the shorter side.
    pub fn rank(&self) -> usize {
        self.size.clamp(1, self.shape.short().max(1))
    }

    /// The largest power of two up to the size that divides both sides.
    pub fn block(&self) -> usize {
        self.shared_block(self.size)
    }

    /// The largest power of two up to `most` that divides both sides.
    pub fn shared_block(&self, most: usize) -> usize {
        let divides =
            |b: usize| self.shape.d_in.is_multiple_of(b) && self.shape.d_out.is_multiple_of(b);
        let powers = (0..usize::BITS).map(|i| 1usize << i);
        powers
            .take_while(|b| *b <= most.max(1))
            .filter(|b| divides(*b))
            .last()
            .unwrap_or(1)
    }
}

/// A line of the table as a submission.
pub struct Rider {
    entry: &'static Entry,
    race: &'static Race,
}

impl Rider {
    /// The submission of a method that can race.
    pub fn of(entry: &'static Entry) -> Option<Self> {
        let race = entry.race?;
        Some(Self { entry, race })
    }

    /// The line of the table.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// Adapts the model. Gives what was adapted, with the method's options for it.
    pub fn attach(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Vec<WithOptions>, SubmissionError> {
        let size = match self.race.size {
            (_, []) => 0,
            (name, _) => whole(&context.point, name)?,
        };
        let seed = context.seed & 0x7fff_ffff;
        let mut options = Vec::new();
        let started = adapt(trainee, context.seed, |shape, largest| {
            let site = Site { shape, size, seed };
            let values = match (self.race.options)(&site) {
                Value::Object(values) => values,
                _ => Map::new(),
            };
            options.push(values.clone());
            self.method(&site, largest, &values)
        })?;
        Ok(started.into_iter().zip(options).collect())
    }

    /// The method for a weight, at a point.
    fn method(
        &self,
        site: &Site,
        largest: Shape,
        values: &Map<String, Value>,
    ) -> Result<Arc<dyn Method>, MethodError> {
        let mut options = Options::new(values, site.shape);
        options.largest = largest;
        Ok((self.entry.build)(&options, site.shape)?.into())
    }
}

impl Submission for Rider {
    fn describe(&self) -> Description {
        Description {
            name: self.entry.name,
            summary: self.race.summary,
            paper: self.race.paper,
            reference: match self.entry.peft_type {
                "" => "the paper's equations",
                _ => "Hugging Face PEFT 0.21.2",
            },
            ..FINETUNE
        }
    }

    fn search_space(&self) -> SearchSpace {
        let space = rates(self.race.learning_rate);
        match self.race.size {
            (_, []) => space,
            (name, sizes @ [default, ..]) => space.choice(name, sizes, *default),
        }
    }

    fn state_bytes(&self, params: &[ParamInfo], _point: &Point) -> Option<u64> {
        Some(bytes_per_entry(params, 2))
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let started = self.attach(trainee, context)?;
        let methods = started.iter().map(|(s, _)| s.adapted.method());
        let drawn: Vec<Drawn> = methods.filter_map(|m| m.drawn()).collect();
        let optimizer = Fused(AdamW::from_point(&context.point)?);
        let inner = ScheduledOptimizer::cosine(optimizer, context)?;
        Ok(drawing(inner, drawn))
    }
}

/// A weight with its adapter as it starts.
pub struct Started {
    /// The parameter's place among the model's own.
    pub index: usize,
    /// The adapter.
    pub adapted: Adapted,
}

/// An adapter as it starts, with its method's options.
pub type WithOptions = (Started, Map<String, Value>);

/// Description of a submission that fine-tunes; a file fills in the rest.
pub const FINETUNE: Description = Description {
    name: "",
    summary: "",
    paper: "",
    reference: "",
    track: Track::Finetune,
    rulesets: &[Ruleset::External, Ruleset::SelfTuning],
    version: "1",
};

/// The hyperparameters of all: AdamW under a cosine, without decay or regularisation.
pub fn rates([low, high, default]: [f64; 3]) -> SearchSpace {
    SearchSpace::new()
        .log_uniform("learning_rate", low, high, default)
        .fixed("beta1", 0.9)
        .fixed("beta2", 0.999)
        .fixed("epsilon", 1e-8)
        .fixed("weight_decay", 0.0)
        .fixed("warmup_factor", 0.05)
        .fixed("label_smoothing", 0.0)
        .fixed("dropout", 0.0)
}

/// Adapts every hidden matrix that the workload lets train, by what `method` gives for its shape and the
/// longest sides among all of them, and freezes everything else but a new head. Gives the adapters as
/// they start, in the order of the parameters.
pub fn adapt(
    trainee: &mut Trainee,
    seed: u64,
    mut method: impl FnMut(Shape, Shape) -> Result<Arc<dyn Method>, MethodError>,
) -> Result<Vec<Started>, SubmissionError> {
    let sites = hidden(trainee);
    let longest = |side: fn(&[usize; 2]) -> usize| {
        let sides = sites.iter().map(|(_, base)| side(&base.dims()));
        sides.max().unwrap_or(0)
    };
    let largest = Shape::new(longest(|d| d[0]), longest(|d| d[1]));
    let mut frozen: BTreeMap<usize, Tensor<1>> = BTreeMap::new();
    let mut adapters: BTreeMap<usize, Adapter> = BTreeMap::new();
    let mut started = Vec::new();
    for (param, base) in sites {
        let fault = |e: MethodError| SubmissionError::Other(format!("layer {}: {e}", param.layer));
        let mut draw = Draw::of(seed, param.index);
        let method = method(Shape::of(&base), largest).map_err(fault)?;
        let adapted = Adapted::start(method, base, &mut draw).map_err(fault)?;
        frozen.insert(param.index, adapted.frozen().clone().reshape([param.len()]));
        adapters.insert(param.index, adapted.clone().attach());
        let index = param.index;
        started.push(Started { index, adapted });
    }
    trainee.map(|info, value| frozen.remove(&info.index).unwrap_or(value));
    attach(trainee, adapters, |_| false)?;
    Ok(started)
}

/// The hidden matrices that the workload lets train, `[d_in, d_out]`, in the order of the parameters.
pub fn hidden(trainee: &Trainee) -> Vec<(ParamInfo, Tensor<2>)> {
    let mut found = Vec::new();
    for (param, value) in trainee.params().iter().zip(trainee.values()) {
        if let (ParamKind::Matrix, true, [d_in, d_out]) =
            (param.kind, param.trainable, param.shape.as_slice())
        {
            found.push((param.clone(), value.reshape([*d_in, *d_out])));
        }
    }
    found
}

/// Attaches adapters by the places of their parameters, and freezes everything else but what `keep` keeps
/// and a new head. An error where nothing is left to train.
pub fn attach(
    trainee: &mut Trainee,
    mut adapters: BTreeMap<usize, Adapter>,
    keep: impl Fn(&ParamInfo) -> bool,
) -> Result<(), SubmissionError> {
    freeze(trainee, keep);
    trainee.attach(&mut |info, _| adapters.remove(&info.index))?;
    something_trains(trainee)
}

/// An error where nothing is left to train.
pub fn something_trains(trainee: &Trainee) -> Result<(), SubmissionError> {
    if trainee.trainable_parameters() > 0 {
        return Ok(());
    }
    let message = "the model has no hidden matrix that could be adapted";
    Err(SubmissionError::Other(message.into()))
}

/// Freezes everything but what `keep` keeps, and a new head. What is frozen already stays frozen.
pub fn freeze(trainee: &mut Trainee, keep: impl Fn(&ParamInfo) -> bool) {
    let (heads, new_head) = (heads(&trainee.params()), trainee.new_head());
    trainee.set_trainable(|p| p.trainable && (keep(p) || new_head && heads.contains(&p.layer)));
}

/// The factors of the attached adapters, in the order of the parameters that they belong to: what was not
/// there before.
pub fn factors(params: &[ParamInfo]) -> Vec<ParamInfo> {
    params.iter().filter(|p| is_factor(p)).cloned().collect()
}

/// Factors are what trains and has no place in the model.
pub fn is_factor(param: &ParamInfo) -> bool {
    param.trainable && param.kind == ParamKind::Other
}

/// `inner`, with what each step draws.
pub fn drawing(inner: Box<dyn Algorithm>, drawn: Vec<Drawn>) -> Box<dyn Algorithm> {
    match drawn.is_empty() {
        true => inner,
        false => Box::new(Drawing { inner, drawn }),
    }
}

/// An algorithm whose method draws a number in every step.
struct Drawing {
    inner: Box<dyn Algorithm>,
    drawn: Vec<Drawn>,
}

impl Algorithm for Drawing {
    fn update(
        &mut self,
        trainee: &mut Trainee,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<(), SubmissionError> {
        let chance = (context.rng().next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        for drawn in &self.drawn {
            // One draw for all layers, whatever the number of choices in each.
            let count = drawn.choices.len();
            let place = ((chance * count as f64) as usize).min(count.saturating_sub(1));
            drawn.active.set(drawn.choices.start + place);
        }
        let result = self.inner.update(trainee, batch, context);
        for drawn in &self.drawn {
            drawn.active.set(drawn.all);
        }
        result
    }

    fn save(&self, state: &mut State) -> Result<(), SubmissionError> {
        self.inner.save(state)
    }

    fn load(&mut self, state: &State, trainee: &Trainee) -> Result<(), SubmissionError> {
        self.inner.load(state, trainee)
    }
}
