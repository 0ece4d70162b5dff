//! Rules that hold state for a part of the parameters: what is active, what it costs, and that nothing
//! else moves.

use crate::memory::by_name;
use crate::probe;
use crate::resume::context;
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use std::collections::BTreeMap;
use velodrome_harness::contract::{
    Algorithm, Batch, HostBatch, HostField, HostValues, ModelError, Network, ParamKind, Pass,
    PassOptions, State, StepContext, Trained, Trainee,
};
use velodrome_submissions::fused::Fused;
use velodrome_submissions::optimizers::adamw::AdamW;
use velodrome_submissions::scheduled::ScheduledOptimizer;
use velodrome_submissions::schedules::Constant;
use velodrome_submissions::subspaces::frugal::{self, Frugal, Inactive, Selection};
use velodrome_submissions::subspaces::lisa::{self, Lisa};

const RATE: f64 = 0.01;
const ADAMW: AdamW = AdamW {
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.1,
};
const KEEP: f32 = 1.0 - (RATE * 0.1) as f32;

/// One of the repeated parts of a [`Stack`].
#[derive(Module, Debug)]
struct Floor {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

/// A network with an embedding, repeated parts and a head, whose gradients are given as those of
/// [`probe::Probe`] are.
#[derive(Module, Debug)]
struct Stack {
    embedding: Param<Tensor<2>>,
    floors: Vec<Floor>,
    head: Param<Tensor<2>>,
}

/// Shapes of a floor's parameters.
const FLOOR: [usize; 2] = [8, 6];

fn name(index: usize) -> &'static str {
    Box::leak(format!("g{index}").into_boxed_str())
}

impl Network for Stack {
    fn losses(&self, batch: &Batch, _pass: &mut Pass) -> Result<Tensor<1>, ModelError> {
        let mut flat = vec![self.embedding.val().flatten::<1>(0, 1)];
        for floor in &self.floors {
            flat.extend([floor.weight.val().flatten::<1>(0, 1), floor.bias.val()]);
        }
        flat.push(self.head.val().flatten::<1>(0, 1));
        let mut total: Option<Tensor<1>> = None;
        for (index, p) in flat.into_iter().enumerate() {
            let g = batch.float::<2>(name(index))?.flatten::<1>(0, 1);
            let term = (p * Tensor::from_inner(g)).sum();
            total = Some(total.map_or(term.clone(), |sum| sum + term));
        }
        Ok(total.unwrap())
    }

    fn evaluate(
        &self,
        _batches: &mut dyn Iterator<Item = Batch>,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        Ok(BTreeMap::new())
    }

    fn kind_of(path: &str) -> Option<ParamKind> {
        match path.rsplit('.').next()? {
            "embedding" => Some(ParamKind::Embedding),
            "head" => Some(ParamKind::Head),
            "weight" => Some(ParamKind::Matrix),
            "bias" => Some(ParamKind::Bias),
            _ => None,
        }
    }
}

fn trainee(floors: usize) -> Trainee {
    let device = Device::flex().autodiff();
    fn ones<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
        Param::initialized(ParamId::new(), Tensor::ones(shape, device).require_grad())
    }
    let floor = |_| Floor {
        weight: ones(FLOOR, &device),
        bias: ones([FLOOR[1]], &device),
    };
    let stack = Stack {
        embedding: ones([5, 3], &device),
        floors: (0..floors).map(floor).collect(),
        head: ones([4, 3], &device),
    };
    let mut trainee = Trainee::new(Box::new(Trained::new(stack)), device, 1);
    let start = probe::stream(0, &shapes(&trainee));
    let device = Device::flex();
    let values = start
        .iter()
        .map(|v| Tensor::from_data(v.as_slice(), &device));
    trainee.set_values(&values.collect::<Vec<_>>()).unwrap();
    trainee
}

fn shapes(trainee: &Trainee) -> Vec<Vec<usize>> {
    trainee.params().iter().map(|p| p.shape.clone()).collect()
}

/// The gradients of a step.
fn gradients(step: u64, trainee: &Trainee) -> Vec<Vec<f32>> {
    probe::stream(step + 1, &shapes(trainee))
}

fn step(algorithm: &mut dyn Algorithm, trainee: &mut Trainee, n: u64) {
    let fields = gradients(n, trainee)
        .into_iter()
        .enumerate()
        .map(|(index, g)| HostField {
            name: name(index),
            shape: vec![1, g.len()],
            values: HostValues::Float(g),
        });
    let host = HostBatch {
        fields: fields.collect(),
        examples: 1,
        units: 1,
    };
    let batch = Batch::from_host(host, vec![0], &Device::flex());
    let context = StepContext::new(n, 7);
    algorithm.update(trainee, &batch, &context).unwrap();
}

fn bytes(algorithm: &dyn Algorithm) -> u64 {
    let mut state = State::new();
    algorithm.save(&mut state).unwrap();
    state.tensor_bytes()
}

fn frugal(selection: Selection, density: f64) -> Frugal {
    Frugal {
        adamw: ADAMW,
        selection,
        density,
        update_gap: 200,
        inactive: Inactive::Sign,
        inactive_scale: 1.0,
        proj_lr_scale: 1.0,
    }
}

fn riding(rule: Frugal, trainee: &Trainee) -> frugal::Riding {
    frugal::Riding::new(rule, Constant(RATE), PassOptions::default(), trainee)
}

fn lisa(active_blocks: usize, period: usize, keep_state: bool) -> Lisa {
    Lisa {
        adamw: ADAMW,
        active_blocks,
        period,
        keep_state,
    }
}

fn at_home(rule: Lisa, trainee: &Trainee) -> lisa::Riding {
    lisa::Riding::new(rule, Constant(RATE), PassOptions::default(), trainee)
}

/// AdamW's values after so many steps.
fn adamw(floors: usize, steps: u64) -> Vec<Vec<f32>> {
    let mut trainee = trainee(floors);
    let mut algorithm = ScheduledOptimizer::new(Fused(ADAMW), Constant(RATE));
    for n in 0..steps {
        step(&mut algorithm, &mut trainee, n);
    }
    probe::values(&trainee)
}

#[test]
fn blocks_are_numbered_along_lists() {
    let found: Vec<_> = trainee(3).params().iter().map(|p| p.block).collect();
    let floor = |i| [Some(i), Some(i)];
    let expected = [[None].as_slice(), &floor(0), &floor(1), &floor(2), &[None]].concat();
    assert_eq!(found, expected);
}

#[test]
fn all_active_is_adamw_bit_for_bit() {
    let expected = probe::bits(&adamw(3, 12));
    for selection in [Selection::Blocks, Selection::Columns] {
        let mut trainee = trainee(3);
        let mut algorithm = riding(frugal(selection, 1.0), &trainee);
        for n in 0..12 {
            step(&mut algorithm, &mut trainee, n);
        }
        assert!(
            probe::bits(&probe::values(&trainee)) == expected,
            "{selection:?}"
        );
    }
    // A shorter gap drops averages.
    let mut other = trainee(3);
    let rule = Frugal {
        update_gap: 5,
        ..frugal(Selection::Blocks, 1.0)
    };
    let mut algorithm = riding(rule, &other);
    for n in 0..12 {
        step(&mut algorithm, &mut other, n);
    }
    assert!(probe::bits(&probe::values(&other)) != expected);

    let mut trainee = trainee(3);
    let mut algorithm = at_home(lisa(3, 5, true), &trainee);
    for n in 0..12 {
        step(&mut algorithm, &mut trainee, n);
    }
    assert!(probe::bits(&probe::values(&trainee)) == expected);
}

#[test]
fn nothing_active_is_the_sign_or_stands_still() {
    let mut moved = trainee(3);
    let before = probe::values(&moved);
    let mut algorithm = riding(frugal(Selection::Columns, 0.0), &moved);
    step(&mut algorithm, &mut moved, 0);
    let params = moved.params();
    let (after, g) = (probe::values(&moved), gradients(0, &moved));
    for info in params.iter().filter(|p| Frugal::projects(p)) {
        let i = info.index;
        for j in 0..info.len() {
            let expected = KEEP * before[i][j] - RATE as f32 * g[i][j].signum();
            assert!((after[i][j] - expected).abs() < 1e-6);
        }
    }
    assert_eq!(params.iter().filter(|p| Frugal::projects(p)).count(), 3);
}

/// A first step of Adam moves by the rate, as the sign does; what is inactive has no state.
#[test]
fn every_hidden_entry_moves_by_the_rate_after_a_draw() {
    for selection in [Selection::Blocks, Selection::Columns] {
        let mut trainee = trainee(16);
        let before = probe::values(&trainee);
        let mut algorithm = riding(frugal(selection, 0.25), &trainee);
        step(&mut algorithm, &mut trainee, 0);
        let after = probe::values(&trainee);
        for info in trainee.params().iter() {
            for (x, y) in before[info.index].iter().zip(&after[info.index]) {
                let way = (y - KEEP * x).abs();
                assert!(
                    (way - RATE as f32).abs() < 2e-6,
                    "{selection:?} {info:?}: {way}"
                );
            }
        }
        // 16 tensors: 4 of them are active, or 2 of the 8 columns of each.
        let active = algorithm.active().filter(|(_, part)| !part.is_empty());
        let (tensors, columns) = match selection {
            Selection::Blocks => (4, 8),
            Selection::Columns => (16, 2),
        };
        let parts: Vec<usize> = active.map(|(_, part)| part.len()).collect();
        assert_eq!(parts, vec![columns; tensors]);
        let regular = 15 + 12 + 16 * FLOOR[1];
        let expected = 8 * (regular + tensors * columns * FLOOR[1]) as u64;
        assert_eq!(bytes(&algorithm), expected, "{selection:?}");
        let stated = frugal(selection, 0.25).state_bytes(&trainee.params());
        assert_eq!(stated, Some(expected));
    }
}

/// Active columns go AdamW's way and the others only decay, to the bit.
#[test]
fn active_columns_and_the_others_are_disjoint() {
    let rule = Frugal {
        inactive: Inactive::Nothing,
        ..frugal(Selection::Columns, 0.4)
    };
    let mut trainee = trainee(2);
    let before = probe::values(&trainee);
    let mut algorithm = riding(rule, &trainee);
    for n in 0..6 {
        step(&mut algorithm, &mut trainee, n);
    }
    let (after, full) = (probe::values(&trainee), adamw(2, 6));
    for (index, part) in algorithm.active() {
        assert_eq!(part.len(), 3);
        for row in 0..FLOOR[0] {
            for j in row * FLOOR[1]..(row + 1) * FLOOR[1] {
                let mut expected = before[index][j];
                (0..6).for_each(|_| expected *= (1.0 - RATE * 0.1) as f32);
                if part.contains(&row) {
                    expected = full[index][j];
                }
                assert_eq!(after[index][j], expected, "{index} {row}");
            }
        }
    }
}

/// The decay's rate is the learning rate's, whatever the scale of the step.
#[test]
fn the_scale_of_the_step_does_not_touch_the_decay() {
    let mut trainee = trainee(1);
    let before = probe::values(&trainee);
    let rule = Frugal {
        proj_lr_scale: 0.5,
        ..frugal(Selection::Blocks, 1.0)
    };
    let mut algorithm = riding(rule, &trainee);
    step(&mut algorithm, &mut trainee, 0);
    for (x, y) in before[1].iter().zip(&probe::values(&trainee)[1]) {
        let way = (y - KEEP * x).abs();
        assert!((way - 0.5 * RATE as f32).abs() < 2e-6, "{way}");
    }
}

/// Each part is active about as often as it should be, and the same seed draws the same.
#[test]
fn draws_are_even_and_repeat() {
    let run = || {
        let mut trainee = trainee(8);
        let rule = Frugal {
            update_gap: 2,
            ..frugal(Selection::Blocks, 0.25)
        };
        let mut algorithm = riding(rule, &trainee);
        let mut home = at_home(lisa(2, 2, false), &trainee);
        let mut counts = [vec![0; 8], vec![0; 8]];
        let mut history = Vec::new();
        for n in 0..400 {
            step(&mut algorithm, &mut trainee, n);
            let parts: Vec<bool> = algorithm.active().map(|(_, p)| !p.is_empty()).collect();
            step(&mut home, &mut trainee, n);
            assert_eq!(parts.iter().filter(|x| **x).count(), 2);
            assert_eq!(home.active().len(), 2);
            for (i, active) in parts.iter().enumerate() {
                counts[0][i] += u32::from(*active);
                counts[1][i] += u32::from(home.active().contains(&i));
            }
            // LISA has frozen what FRUGAL projects: free all again for its next step.
            trainee.set_trainable(|_| true);
            home = at_home(lisa(2, 2, false), &trainee);
            history.push(parts);
        }
        (counts, history)
    };
    let (counts, history) = run();
    // 200 draws with probability 1/4 (LISA's starts anew and draws at every step here: 400):
    // 50 periods of two steps give 100, with a standard deviation of 12 (9).
    for count in counts.concat() {
        assert!((50..150).contains(&count), "{counts:?}");
    }
    assert_eq!(history, run().1);
}

#[test]
fn frozen_blocks_do_not_change_and_hold_no_state() {
    let mut trainee = trainee(6);
    let mut algorithm = at_home(lisa(2, 4, false), &trainee);
    let mut seen = Vec::new();
    for n in 0..40 {
        let before = probe::values(&trainee);
        step(&mut algorithm, &mut trainee, n);
        let after = probe::values(&trainee);
        let g = gradients(n, &trainee);
        let active = algorithm.active().to_vec();
        assert_eq!(active.len(), 2);
        let last: Vec<usize> = seen.last().cloned().unwrap_or_default();
        for info in trainee.params().iter() {
            let i = info.index;
            let trains = info.block.is_none_or(|b| active.contains(&b));
            assert_eq!(info.trainable, trains);
            assert_eq!(before[i] != after[i], trains, "step {n}: {info:?}");
            // A block that comes back starts with AdamW's first step.
            if n % 4 == 0 && info.block.is_some_and(|b| trains && !last.contains(&b)) {
                for ((x, y), g) in before[i].iter().zip(&after[i]).zip(&g[i]) {
                    let expected = KEEP * x - RATE as f32 * g.signum();
                    assert!((y - expected).abs() < 2e-6);
                }
            }
        }
        if n % 4 == 0 {
            seen.push(active);
        } else {
            assert_eq!(active, last);
        }
        let block = FLOOR[0] * FLOOR[1] + FLOOR[1];
        assert_eq!(bytes(&algorithm), 8 * (15 + 12 + 2 * block) as u64);
    }
    seen.dedup();
    assert!(seen.len() > 5, "{seen:?}");
    let submission = by_name("lisa");
    let point = submission.search_space().default_point();
    let stated = submission.state_bytes(&trainee.params(), &point);
    assert_eq!(stated, Some(bytes(&algorithm)));

    // The other policy keeps what it has visited.
    let mut free = crate::subspaces::trainee(6);
    let mut kept = at_home(lisa(2, 4, true), &free);
    for n in 0..40 {
        step(&mut kept, &mut free, n);
    }
    assert!(bytes(&kept) > bytes(&algorithm));
}

#[test]
fn parts_resume_bit_for_bit() {
    for name in ["frugal", "frugal_columns", "lisa"] {
        let submission = by_name(name);
        let mut context = context(submission.as_ref(), 40);
        for gap in ["update_gap", "period"] {
            if context.point.0.contains_key(gap) {
                context.point.0.insert(gap.into(), 8.0);
            }
        }
        let start = || {
            let mut trainee = trainee(5);
            let algorithm = submission.start(&mut trainee, &context).unwrap();
            (trainee, algorithm)
        };
        // In the middle of a period, and at its end.
        for middle in [11, 16] {
            let (mut trainee, mut algorithm) = start();
            let mut kept = None;
            for n in 0..20 {
                if n == middle {
                    let mut state = State::new();
                    algorithm.save(&mut state).unwrap();
                    kept = Some((state, trainee.values()));
                }
                step(algorithm.as_mut(), &mut trainee, n);
            }
            let straight = probe::bits(&probe::values(&trainee));
            let (state, values) = kept.unwrap();
            let (mut trainee, mut algorithm) = start();
            trainee.set_values(&values).unwrap();
            algorithm.load(&state, &trainee).unwrap();
            for n in middle..20 {
                step(algorithm.as_mut(), &mut trainee, n);
            }
            assert!(probe::bits(&probe::values(&trainee)) == straight, "{name}");
            // Another model's state is refused.
            let mut other = probe::trainee(&[vec![7]], &[vec![0.5; 7]], false);
            let mut algorithm = submission.start(&mut other, &context).unwrap();
            assert!(algorithm.load(&state, &other).is_err(), "{name}");
        }
    }
}
