//! Block-wise 8-bit states: storage, and the pass that reads, updates and writes it.
//!
//! A state tensor, flattened, is cut into blocks of consecutive entries. Each entry is one byte, a
//! code of a dynamic [`Book`], and each block has one 32-bit scale, its largest absolute value. A step
//! decodes a block, updates it in 32 bits, moves the parameter by the states as they are before they
//! are encoded again, and encodes them. An outlier touches its own block alone.
//!
//! The blocks of a parameter are shared among threads; the result does not depend on how many there
//! are. The states live in host memory on every device.

use super::codebook::Book;
use crate::common::checked;
use crate::fused::{Entry, EntryRule, Now, Rule, entries};
use crate::{RecordState, StateSink, StateSource};
use burn::optim::{ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};
use burn_pack::Scalar;
use rayon::prelude::*;
use velodrome_harness::contract::{
    ParamInfo, ParamKind, Point, SearchSpace, SubmissionError, Trainee,
};

/// Entries that a thread takes at a time, at least.
const SHARE: usize = 1 << 13;
/// A rule whose states can be stored in 8 bits.
pub trait BlockRule<const S: usize>: Rule<S> {
    /// The code book of each state.
    const BOOKS: [Book; S];
}

/// What is stored in 8 bits, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Entries per block.
    pub block: usize,
    /// Parameters with fewer entries keep 32-bit states.
    pub least: usize,
}

impl Layout {
    /// From `block_size` and `min_8bit_size`.
    pub fn from_point(point: &Point) -> Result<Self, SubmissionError> {
        let whole = |name, least: f64| {
            checked(point, name, "a whole number of its range", |x| {
                x.fract() == 0.0 && (least..=1e15).contains(&x)
            })
        };
        Ok(Self {
            block: whole("block_size", 1.0)? as usize,
            least: whole("min_8bit_size", 0.0)? as usize,
        })
    }

    /// The same, with 32-bit states for all.
    fn full(self) -> Self {
        Self {
            least: usize::MAX,
            ..self
        }
    }

    /// Bytes of `states` state tensors of so many entries.
    pub fn bytes(&self, entries: usize, states: usize) -> u64 {
        let one = if entries < self.least {
            4 * entries
        } else {
            entries + 4 * entries.div_ceil(self.block)
        };
        (states * one) as u64
    }
}

/// State of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot<const S: usize> {
    time: usize,
    store: Store,
}

#[derive(Debug, Clone, PartialEq)]
enum Store {
    /// `S` tensors in 32 bits, one behind the other.
    Full(Vec<f32>),
    /// Per block: the codes of its `S` states, one behind the other; and their `S` scales.
    Eight { codes: Vec<u8>, scales: Vec<f32> },
}

impl<const S: usize> Slot<S> {
    /// Bytes of the states.
    pub fn bytes(&self) -> u64 {
        match &self.store {
            Store::Full(values) => 4 * values.len() as u64,
            Store::Eight { codes, scales } => (codes.len() + 4 * scales.len()) as u64,
        }
    }

    /// Steps taken.
    pub fn time(&self) -> usize {
        self.time
    }

    /// The codes, block by block, each block state by state; empty for 32-bit states.
    pub fn codes(&self) -> &[u8] {
        match &self.store {
            Store::Full(_) => &[],
            Store::Eight { codes, .. } => codes,
        }
    }
}

/// Names of the entries in a record; they tell rules with different numbers of states apart.
fn leaf(name: &str, states: usize) -> String {
    format!("{name}_{states}")
}

impl<const S: usize> RecordState for Slot<S> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "time", Scalar::from(self.time));
        match &self.store {
            Store::Full(values) => {
                let data = TensorData::new(values.clone(), [values.len()]);
                out.push_tensor(prefix, &leaf("full", S), data);
            }
            Store::Eight { codes, scales } => {
                let data = TensorData::new(codes.clone(), [codes.len()]);
                out.push_tensor(prefix, &leaf("codes", S), data);
                let data = TensorData::new(scales.clone(), [scales.len()]);
                out.push_tensor(prefix, &leaf("scales", S), data);
            }
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, _device: &Device) -> Option<Self> {
        let time = usize::try_from(src.take_scalar(prefix, "time")?).ok()?;
        let store = match src.take_tensor(prefix, &leaf("full", S)) {
            Some(data) => Store::Full(data.try_into_vec().ok()?),
            None => Store::Eight {
                codes: src
                    .take_tensor(prefix, &leaf("codes", S))?
                    .try_into_vec()
                    .ok()?,
                scales: src
                    .take_tensor(prefix, &leaf("scales", S))?
                    .try_into_vec()
                    .ok()?,
            },
        };
        Some(Self { time, store })
    }
}

/// A [`BlockRule`] with its storage: a burn optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EightBit<R, const S: usize> {
    /// The rule.
    pub rule: R,
    /// Its storage.
    pub layout: Layout,
}

impl<R: BlockRule<S>, const S: usize> EightBit<R, S> {
    /// An optimizer for a whole model: 8 bits by [`Layout`], and 32 for embeddings and positions where
    /// `embedding_bits` says so.
    pub fn optimizer(
        rule: R,
        point: &Point,
        trainee: &Trainee,
    ) -> Result<ModuleOptimizer, SubmissionError> {
        let layout = Layout::from_point(point)?;
        let optimizer = ModuleOptimizer::from(Self {
            rule: rule.clone(),
            layout,
        });
        if !wide_embeddings(point)? {
            return Ok(optimizer);
        }
        let wide = Self {
            rule,
            layout: layout.full(),
        };
        Ok(optimizer.with_group(trainee.group(is_embedding), wide, None))
    }

    /// State of a parameter of so many entries, before its first step.
    pub fn fresh(&self, entries: usize) -> Slot<S> {
        let store = if entries < self.layout.least {
            Store::Full(vec![0.0; S * entries])
        } else {
            let zeros = R::BOOKS.map(|book| book.codes().zero());
            let mut codes = Vec::with_capacity(S * entries);
            let mut left = entries;
            while left > 0 {
                let block = left.min(self.layout.block);
                for zero in zeros {
                    codes.resize(codes.len() + block, zero);
                }
                left -= block;
            }
            Store::Eight {
                codes,
                scales: vec![0.0; S * entries.div_ceil(self.layout.block)],
            }
        };
        Slot { time: 0, store }
    }

    /// Whether a state is one for so many entries under this storage.
    fn fits(&self, slot: &Slot<S>, entries: usize) -> bool {
        match &slot.store {
            Store::Full(values) => entries < self.layout.least && values.len() == S * entries,
            Store::Eight { codes, scales } => {
                entries >= self.layout.least
                    && codes.len() == S * entries
                    && scales.len() == S * entries.div_ceil(self.layout.block)
            }
        }
    }

    /// One step on the entries `p` with gradients `g` (as many). A state that belongs to another number
    /// of entries starts again from zero.
    pub fn step(&self, learning_rate: f64, p: &mut [f32], g: &[f32], slot: &mut Slot<S>) {
        if !self.fits(slot, p.len()) {
            *slot = self.fresh(p.len());
        }
        slot.time += 1;
        let now = Now {
            lr: learning_rate,
            time: slot.time,
        };
        let update = guarded(self.rule.rule::<Entry>(now));
        match &mut slot.store {
            Store::Full(values) => {
                let n = p.len().max(1);
                let mut rest = values.chunks_exact_mut(n);
                let states = [(); S].map(|()| rest.next().unwrap_or_default());
                entries(&update, p, g, states);
            }
            Store::Eight { codes, scales } => {
                let block = self.layout.block.min(p.len().max(1));
                p.par_chunks_mut(block)
                    .zip(g.par_chunks(block))
                    .zip(codes.par_chunks_mut(S * block))
                    .zip(scales.par_chunks_mut(S))
                    .with_min_len(SHARE.div_ceil(block))
                    .for_each_init(
                        || vec![0.0; S * block],
                        |scratch, (((p, g), codes), scales)| {
                            let scratch = &mut scratch[..codes.len()];
                            this_block::<R, S>(&update, p, g, codes, scales, scratch);
                        },
                    );
            }
        }
    }
}

/// A gradient that is not finite leaves its entry alone and sets its states to zero, as in the
/// published kernels.
fn guarded<const S: usize>(update: impl EntryRule<S>) -> impl EntryRule<S> {
    move |p: Entry, g: Entry, s: [Entry; S]| {
        let (new_p, new_s) = update(p, g, s);
        let sound = g.0.is_finite();
        (
            if sound { new_p } else { p },
            new_s.map(|x| if sound { x } else { Entry(0.0) }),
        )
    }
}

/// Decodes, updates and encodes one block. `scratch` is as long as `codes`.
fn this_block<R: BlockRule<S>, const S: usize>(
    update: &impl EntryRule<S>,
    p: &mut [f32],
    g: &[f32],
    codes: &mut [u8],
    scales: &mut [f32],
    scratch: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        #[allow(unsafe_code)]
        return unsafe { block_avx2::<R, S>(update, p, g, codes, scales, scratch) };
    }
    any_block::<R, S>(update, p, g, codes, scales, scratch);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn block_avx2<R: BlockRule<S>, const S: usize>(
    update: &impl EntryRule<S>,
    p: &mut [f32],
    g: &[f32],
    codes: &mut [u8],
    scales: &mut [f32],
    scratch: &mut [f32],
) {
    any_block::<R, S>(update, p, g, codes, scales, scratch);
}

#[inline(always)]
fn any_block<R: BlockRule<S>, const S: usize>(
    update: &impl EntryRule<S>,
    p: &mut [f32],
    g: &[f32],
    codes: &mut [u8],
    scales: &mut [f32],
    scratch: &mut [f32],
) {
    let n = p.len().max(1);
    let books = R::BOOKS.map(Book::codes);
    let mut rest = scratch.chunks_exact_mut(n);
    let mut states = [(); S].map(|()| rest.next().unwrap_or_default());
    for (k, (states, codes)) in states.iter_mut().zip(codes.chunks_exact(n)).enumerate() {
        for (state, code) in states.iter_mut().zip(codes) {
            *state = books[k].decode(*code) * scales[k];
        }
    }
    entries(update, p, g, states.each_mut().map(|x| &mut **x));
    for (k, (states, codes)) in states.iter().zip(codes.chunks_exact_mut(n)).enumerate() {
        // Magnitudes are ordered as their bits are, and whole numbers have a vector maximum.
        let bits = states.iter().map(|x| x.abs().to_bits());
        let scale = f32::from_bits(bits.fold(0, u32::max));
        scales[k] = scale;
        if scale == 0.0 {
            codes.fill(books[k].zero());
            continue;
        }
        for (state, code) in states.iter().zip(codes) {
            *code = books[k].encode(state / scale);
        }
    }
}

impl<R: BlockRule<S>, const S: usize> Optimizer for EightBit<R, S> {
    type State<const D: usize> = Slot<S>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Slot<S>>,
    ) -> (Tensor<D>, Option<Slot<S>>) {
        let device = tensor.device();
        let dtype = tensor.dtype();
        let mut p = tensor.into_data().convert::<f32>();
        let g = grad.into_data().convert::<f32>();
        let mut slot = state.unwrap_or_else(|| self.fresh(p.num_elements()));
        if let (Ok(p), Ok(g)) = (p.as_mut_slice::<f32>(), g.as_slice::<f32>())
            && p.len() == g.len()
        {
            Self::step(self, learning_rate, p, g, &mut slot);
        }
        let tensor = Tensor::from_data(p.convert_dtype(dtype), &device);
        (tensor, Some(slot))
    }

    fn to_device<const D: usize>(state: Slot<S>, _device: &Device) -> Slot<S> {
        state
    }
}

fn is_embedding(info: &ParamInfo) -> bool {
    matches!(info.kind, ParamKind::Embedding | ParamKind::Position)
}

fn wide_embeddings(point: &Point) -> Result<bool, SubmissionError> {
    let bits = checked(point, "embedding_bits", "8 or 32", |x| {
        x == 8.0 || x == 32.0
    })?;
    Ok(bits == 32.0)
}

/// Adds `block_size`, `min_8bit_size` and `embedding_bits`, with the published library's values.
pub fn with_storage(space: SearchSpace) -> SearchSpace {
    space
        .fixed("block_size", 256.0)
        .fixed("min_8bit_size", 4096.0)
        .fixed("embedding_bits", 32.0)
}

/// Bytes of state of a whole model, as [`EightBit::optimizer`] stores it; `None` where the point is not
/// sound.
pub fn state_bytes(params: &[ParamInfo], point: &Point, states: usize) -> Option<u64> {
    let layout = Layout::from_point(point).ok()?;
    let wide = wide_embeddings(point).ok()?;
    let trainable = params.iter().filter(|p| p.trainable);
    Some(
        trainable
            .map(|p| {
                let full = wide && is_embedding(p);
                let layout = if full { layout.full() } else { layout };
                layout.bytes(p.len(), states)
            })
            .sum(),
    )
}
