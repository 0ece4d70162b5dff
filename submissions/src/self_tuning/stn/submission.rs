//! What races, and what is claimed of it.

use super::response::{Responses, numbers};
use super::tuned::{Knob, Sets, Tuning};
use super::{Plan, SelfTuning};
use crate::bowl;
use crate::common::{PRETRAIN, checked, fraction, non_negative, positive, switch, whole};
use crate::flat;
use crate::optimizers::adamw::AdamW;
use crate::schedules::WarmupCosine;
use burn::tensor::{Device, Tensor, TensorData};
use velodrome_harness::contract::{
    Algorithm, Claim, Description, ParamInfo, ParamKind, Point, SearchSpace, StartContext,
    Submission, SubmissionError, Trainee,
};

/// Name, upper end of the range and start of each tuned hyperparameter.
const KNOBS: [(&str, Sets, f64, f64); 3] = [
    ("dropout", Sets::Dropout, 0.9, 0.05),
    ("label_smoothing", Sets::LabelSmoothing, 0.5, 0.05),
    ("l2", Sets::L2, 0.01, 1e-4),
];

/// A small layer of three parameters, their values, and responses to two hyperparameters.
fn layer() -> (Vec<Tensor<1>>, Responses, Tensor<1>) {
    let device = bowl::trainee(&[0.0]).device();
    let info = |index: usize, kind: ParamKind, shape: &[usize], fan_in_axis| ParamInfo {
        index,
        kind,
        shape: shape.to_vec(),
        layer: 0,
        block: None,
        fan_in_axis,
        tokens: None,
        trainable: true,
    };
    let params = [
        info(0, ParamKind::Matrix, &[2, 3], Some(0)),
        info(1, ParamKind::Bias, &[3], None),
        info(2, ParamKind::Convolution, &[2, 2, 1, 2], Some(1)),
    ];
    let wave = |p: &ParamInfo| (0..p.len()).map(|n| (0.7 * n as f32).sin()).collect();
    let own = params.iter().map(|p| flat_tensor(wave(p), &device));
    let responses = Responses::new(&params, 2, 3, &device);
    (
        own.collect(),
        responses,
        flat_tensor(vec![-1.5, 0.5], &device),
    )
}

fn flat_tensor(x: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = x.len();
    Tensor::from_data(TensorData::new(x, [n]), device)
}

fn entries(x: &Tensor<1>) -> Vec<f64> {
    let data = x.clone().into_data().convert::<f32>();
    data.iter::<f32>().map(f64::from).collect()
}

/// Gradients behind the responses against differences of `sum((v + 0.3)^2 / 2)` over the effective
/// values `v`. Each number enters that sum as a square at most, so that wide differences are exact.
fn chain_rule() -> Result<(bool, String), SubmissionError> {
    let (own, responses, h) = layer();
    let loss = |responses: &Responses, own: &[Tensor<1>], h: &Tensor<1>| -> f64 {
        let values = responses.values(own, h).into_iter().flatten();
        let entries: Vec<f64> = values.flat_map(|v| entries(&v)).collect();
        entries.iter().map(|v| (v + 0.3) * (v + 0.3) / 2.0).sum()
    };
    let mut behind = responses.nothing();
    let mut at_values = Vec::new();
    for (index, value) in responses.values(&own, &h).into_iter().enumerate() {
        if let Some(value) = value {
            let g = value + 0.3;
            responses.chain(&mut behind, index, &own[index], &g, &h);
            at_values.push((index, g));
        }
    }
    // In the order of the tensors that are moved below: h, own values, responses.
    let mut found: Vec<Tensor<1>> = Vec::new();
    found.extend(responses.at_hyperparameters(at_values));
    found.extend(behind.own.into_iter().flatten());
    for (branch, gates) in behind.branches.into_iter().zip(behind.gates) {
        found.extend(branch.into_iter().chain(gates));
    }
    found.extend(behind.scales.into_iter().flatten());

    let (mut apart, mut largest, mut compared) = (0f64, 0f64, 0);
    for (place, gradient) in found.iter().enumerate() {
        for (entry, g) in entries(gradient).into_iter().enumerate() {
            let at = |by: f32| {
                let (mut own, mut responses, mut h) = (own.clone(), responses.clone(), h.clone());
                let held = responses.tensors_mut().step_by(3);
                let mut all = std::iter::once(&mut h).chain(&mut own).chain(held);
                if let Some(tensor) = all.nth(place) {
                    let mut moved: Vec<f32> = entries(tensor).iter().map(|x| *x as f32).collect();
                    moved[entry] += by;
                    *tensor = flat_tensor(moved, &tensor.device());
                }
                drop(all);
                loss(&responses, &own, &h)
            };
            apart = apart.max((at(0.5) - at(-0.5) - g).abs());
            largest = largest.max(g.abs());
            compared += 1;
        }
    }
    let held: usize = responses.tensors().step_by(3).map(|t| t.dims()[0]).sum();
    let expected = held + 2 + own.iter().map(|t| t.dims()[0]).sum::<usize>();
    let holds = apart < 2e-5 && largest > 0.1 && compared == expected;
    Ok((
        holds,
        format!("{compared} of {expected} apart by {apart:.1e} at most"),
    ))
}

/// The layer with its gates closed, at two places of the hyperparameters.
fn closed_gates() -> Result<(bool, String), SubmissionError> {
    let (own, mut responses, h) = layer();
    let differ = |responses: &Responses, h: &Tensor<1>| -> usize {
        let values = responses.values(&own, h);
        let pairs = values.iter().zip(&own);
        let differ = |(v, w): (&Option<Tensor<1>>, &Tensor<1>)| {
            v.as_ref().is_none_or(|v| entries(v) != entries(w))
        };
        pairs.filter(|pair| differ(*pair)).count()
    };
    let open = differ(&responses, &h);
    responses.close_gates();
    let closed = differ(&responses, &h) + differ(&responses, &h.mul_scalar(-7.0));
    Ok((
        open == own.len() && closed == 0,
        format!("differing: {open} open, {closed} closed"),
    ))
}

/// The hyperparameters that do not start at 0.
fn knobs(point: &Point) -> Result<Vec<Knob>, SubmissionError> {
    let mut knobs = Vec::new();
    for (name, sets, high, _) in KNOBS {
        let must_be = format!("at least 0 and below {high}");
        let start = checked(point, name, &must_be, |x| (0.0..high).contains(&x))?;
        if start > 0.0 {
            knobs.push(Knob { sets, high, start });
        }
    }
    if knobs.is_empty() {
        return Err(SubmissionError::Hyperparameter {
            name: KNOBS[0].0.into(),
            message: "is 0 as the others are: there is nothing to tune".into(),
        });
    }
    Ok(knobs)
}

/// The submission `stn`.
#[derive(Debug, Clone, Copy)]
pub struct StnSubmission;

impl Submission for StnSubmission {
    fn describe(&self) -> Description {
        Description {
            name: "stn",
            summary: "self-tuning networks: weights respond to regularisation, which is tuned on held-back examples",
            paper: "arXiv 1903.03088",
            reference: "asteroidhouse/self-tuning-networks; closed forms and finite differences",
            ..PRETRAIN
        }
    }

    fn search_space(&self) -> SearchSpace {
        let mut space = SearchSpace::new()
            .log_uniform("learning_rate", 1e-4, 1e-2, 6e-3)
            .one_minus_log_uniform("beta1", 0.02, 0.5, 0.9)
            .fixed("beta2", 0.999)
            .fixed("epsilon", 1e-8)
            .fixed("warmup_factor", 0.05)
            .log_uniform("hyper_learning_rate", 3e-3, 0.1, 1e-2)
            .log_uniform("perturbation", 0.25, 1.0, 0.5)
            .choice("learn_scale", &[0.0, 1.0], 1.0)
            .log_uniform("entropy", 1e-5, 1e-2, 1e-3)
            .choice("draws", &[1.0, 2.0, 4.0], 2.0)
            .fixed("train_steps", 2.0)
            .fixed("settle_factor", 0.05)
            .fixed("held_share", 0.2);
        for (name, _, _, start) in KNOBS {
            space = space.fixed(name, start);
        }
        space
    }

    fn state_bytes(&self, params: &[ParamInfo], point: &Point) -> Option<u64> {
        let responses = 4 * numbers(params, knobs(point).ok()?.len());
        Some(flat::bytes_per_entry(params, 2) + responses)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![
            Claim {
                statement: "the gradients behind the responses are those of finite differences",
                check: chain_rule,
            },
            Claim {
                statement: "with closed gates the weights are the model's own at all hyperparameters",
                check: closed_gates,
            },
        ]
    }

    fn start(
        &self,
        trainee: &mut Trainee,
        context: &StartContext,
    ) -> Result<Box<dyn Algorithm>, SubmissionError> {
        let point = &context.point;
        let plan = Plan {
            rule: AdamW {
                beta1: fraction(point, "beta1")?,
                beta2: fraction(point, "beta2")?,
                epsilon: non_negative(point, "epsilon")?,
                weight_decay: 0.0,
            },
            tuning: Tuning {
                learning_rate: non_negative(point, "hyper_learning_rate")?,
                scale: positive(point, "perturbation")?,
                learn_scale: switch(point, "learn_scale")?,
                entropy: non_negative(point, "entropy")?,
            },
            held_share: fraction(point, "held_share")?,
            draws: whole(point, "draws")?,
            train_steps: whole(point, "train_steps")? as u64,
            settle: (fraction(point, "settle_factor")? * context.hints.steps as f64) as u64,
            seed: context.seed,
        };
        let schedule = WarmupCosine::start(context)?;
        Ok(Box::new(SelfTuning::new(
            trainee,
            knobs(point)?,
            plan,
            schedule,
        )))
    }
}
