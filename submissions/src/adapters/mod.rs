//! Adapters: a frozen matrix and a few trained factors that change it. Mathematics alone; no model,
//! no data and no optimizer.
//!
//! A method says which factors it trains ([`Parts`]) and what the matrix becomes ([`Method`]). Each
//! is one file, whose documentation is its manual, and one line in the table [`METHODS`]. Low-rank
//! methods only say what their two matrices are ([`Pair`]); [`Added`] and [`Multiplied`] do the rest.
//!
//! Weights are `[d_in, d_out]` here, as burn's `Linear` stores them: `y = x W + b`. Every factor is a
//! matrix. Hugging Face PEFT stores weights as `[d_out, d_in]` and factors of any rank: [`layout`]
//! is the one place where the two meet, and [`interchange`] reads and writes its files.
//!
//! A method that freezes something else than the given weight says so in [`Parts::frozen`]; constants
//! that follow from the weight or from a seed come from [`Parts::derive`]. So an adapter is wholly
//! described by its options, the weight, and the trained factors.

pub mod adalora;
pub mod allora;
pub mod bat;
pub mod boft;
pub mod c3a;
pub mod checks;
pub mod delora;
pub mod dora;
pub mod draw;
pub mod dsee;
pub mod dylora;
mod error;
pub mod eva;
pub mod flora;
pub mod fourierft;
pub mod gralora;
pub mod hira;
pub mod hra;
pub mod hydra;
pub mod ia3;
pub mod interchange;
pub mod layout;
pub mod loha;
pub mod lokr;
pub mod loldu;
pub mod lora;
pub mod lora_fa;
pub mod miss;
pub mod monarch;
pub mod mosl;
pub mod oft;
mod options;
pub mod randlora;
mod rider;
pub mod road;
mod rotations;
pub mod s2ft;
pub mod selection;
pub mod shira;
pub mod spectral;
mod table;
mod torch_random;
pub mod vera;

pub use draw::Draw;
pub use dylora::Active;
pub use error::MethodError;
pub use layout::{Factor, Shape};
pub use options::Options;
pub use rider::{
    FINETUNE, Race, Rider, Site, Started, WithOptions, adapt, attach, drawing, factors, freeze,
    hidden, is_factor, rates, something_trains,
};
pub use table::{Begins, Entry, METHODS, entry};

use burn::tensor::Tensor;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use velodrome_harness::contract::Adapter;

/// What a method is made of. `factors` is everywhere the trained ones and then the constants, each of
/// the shape that it was declared with; [`Adapted`] sees to that.
pub trait Parts: Debug + Send + Sync {
    /// The factors that training changes.
    fn trained(&self) -> Vec<Factor>;

    /// Further matrices that the method needs and that never change.
    fn constants(&self) -> Vec<Factor> {
        Vec::new()
    }

    /// Initial values of the trained factors for this weight, on its device.
    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError>;

    /// The constants for this weight: a function of the weight and the method alone, so that a file
    /// need not hold them.
    fn derive(&self, _base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        Ok(Vec::new())
    }

    /// What is frozen in the place of `base`: the weight itself, unless the initial factors already
    /// hold a part of it.
    fn frozen(&self, base: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        Ok(base)
    }

    /// The bias of the adapted layer, shape `[d_out]`.
    fn bias(&self, bias: Tensor<1>, _factors: &[Tensor<2>]) -> Tensor<1> {
        bias
    }
}

/// A pure, differentiable function of a frozen weight and its factors.
pub trait Method: Parts {
    /// The effective weight, shape `[d_in, d_out]`, from the frozen one.
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2>;

    /// What each training step draws, where the method has something to draw.
    fn drawn(&self) -> Option<Drawn> {
        None
    }

    /// `x` of shape `[rows, d_in]` times the effective weight. Methods with a cheaper way than to
    /// build the weight take it; the result is the same up to rounding.
    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        x.matmul(self.materialize(frozen, factors))
    }
}

/// Two matrices whose product is what the method learns.
pub trait Pair: Parts {
    /// `[d_in, k]` and `[k, d_out]`, with all scales in them.
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>);

    /// As [`Method::drawn`].
    fn drawn(&self) -> Option<Drawn> {
        None
    }
}

/// A number that each training step draws, one for all layers: a rank, or a chosen part.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Where the methods read it.
    pub active: Active,
    /// What it may be.
    pub choices: Range<usize>,
    /// What it is outside of training.
    pub all: usize,
}

/// `W + A B`.
#[derive(Debug, Clone)]
pub struct Added<P>(pub P);

/// `W (1 + A B)`, entry by entry.
#[derive(Debug, Clone)]
pub struct Multiplied<P>(pub P);

/// A method around another one: it has the other's parts.
pub trait Wraps: Debug + Send + Sync {
    /// The method inside.
    fn inner(&self) -> &dyn Parts;
}

impl<T: Wraps> Parts for T {
    fn trained(&self) -> Vec<Factor> {
        self.inner().trained()
    }

    fn constants(&self) -> Vec<Factor> {
        self.inner().constants()
    }

    fn initial(&self, base: &Tensor<2>, draw: &mut Draw) -> Result<Vec<Tensor<2>>, MethodError> {
        self.inner().initial(base, draw)
    }

    fn derive(&self, base: &Tensor<2>) -> Result<Vec<Tensor<2>>, MethodError> {
        self.inner().derive(base)
    }

    fn frozen(&self, base: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        self.inner().frozen(base)
    }

    fn bias(&self, bias: Tensor<1>, factors: &[Tensor<2>]) -> Tensor<1> {
        self.inner().bias(bias, factors)
    }
}

impl<P: Parts> Wraps for Added<P> {
    fn inner(&self) -> &dyn Parts {
        &self.0
    }
}

impl<P: Parts> Wraps for Multiplied<P> {
    fn inner(&self) -> &dyn Parts {
        &self.0
    }
}

impl Wraps for Box<dyn Pair> {
    fn inner(&self) -> &dyn Parts {
        self.as_ref()
    }
}

impl Pair for Box<dyn Pair> {
    fn pair(&self, factors: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        self.as_ref().pair(factors)
    }

    fn drawn(&self) -> Option<Drawn> {
        self.as_ref().drawn()
    }
}

impl<P: Pair> Method for Added<P> {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (a, b) = self.0.pair(factors);
        frozen + a.matmul(b)
    }

    fn drawn(&self) -> Option<Drawn> {
        self.0.drawn()
    }

    fn forward(&self, x: Tensor<2>, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (a, b) = self.0.pair(factors);
        x.clone().matmul(frozen) + x.matmul(a).matmul(b)
    }
}

impl<P: Pair> Method for Multiplied<P> {
    fn materialize(&self, frozen: Tensor<2>, factors: &[Tensor<2>]) -> Tensor<2> {
        let (a, b) = self.0.pair(factors);
        frozen.clone() + frozen * a.matmul(b)
    }
}

/// A method with its values for one weight, all of the declared shapes.
#[derive(Debug, Clone)]
pub struct Adapted {
    method: Arc<dyn Method>,
    frozen: Tensor<2>,
    factors: Vec<Tensor<2>>,
    trained: usize,
}

impl Adapted {
    /// A fresh adapter of `base`, shape `[d_in, d_out]`.
    pub fn start(
        method: Arc<dyn Method>,
        base: Tensor<2>,
        draw: &mut Draw,
    ) -> Result<Self, MethodError> {
        let trained = method.initial(&base, draw)?;
        Self::with_trained(method, base, trained)
    }

    /// An adapter of `base` with these trained factors; the constants follow from the weight.
    pub fn with_trained(
        method: Arc<dyn Method>,
        base: Tensor<2>,
        trained: Vec<Tensor<2>>,
    ) -> Result<Self, MethodError> {
        let constants = method.derive(&base)?;
        Self::new(method, base, trained, constants)
    }

    /// An adapter of `base` with these factors. A factor of another shape is an error that names it.
    pub fn new(
        method: Arc<dyn Method>,
        base: Tensor<2>,
        trained: Vec<Tensor<2>>,
        constants: Vec<Tensor<2>>,
    ) -> Result<Self, MethodError> {
        check(&method.trained(), &trained)?;
        check(&method.constants(), &constants)?;
        let count = trained.len();
        let mut factors = trained;
        factors.extend(constants);
        let frozen = method.frozen(base)?;
        Ok(Self {
            method,
            frozen,
            factors,
            trained: count,
        })
    }

    /// The same adapter with other trained factors.
    pub fn retrained(&self, trained: Vec<Tensor<2>>) -> Result<Self, MethodError> {
        check(&self.method.trained(), &trained)?;
        let mut factors = trained;
        factors.extend(self.constants().iter().cloned());
        Ok(Self {
            factors,
            ..self.clone()
        })
    }

    /// The method.
    pub fn method(&self) -> &dyn Method {
        self.method.as_ref()
    }

    /// The weight that stays as it is, shape `[d_in, d_out]`.
    pub fn frozen(&self) -> &Tensor<2> {
        &self.frozen
    }

    /// The trained factors.
    pub fn trained(&self) -> &[Tensor<2>] {
        self.factors.get(..self.trained).unwrap_or_default()
    }

    /// The constants.
    pub fn constants(&self) -> &[Tensor<2>] {
        self.factors.get(self.trained..).unwrap_or_default()
    }

    /// Number of trained values.
    pub fn trainable(&self) -> usize {
        self.method.trained().iter().map(Factor::len).sum()
    }

    /// The effective weight, shape `[d_in, d_out]`: what merging writes.
    pub fn weight(&self) -> Tensor<2> {
        self.method.materialize(self.frozen.clone(), &self.factors)
    }

    /// The effective bias, shape `[d_out]`.
    pub fn bias(&self, bias: Tensor<1>) -> Tensor<1> {
        self.method.bias(bias, &self.factors)
    }

    /// `x` of shape `[rows, d_in]` through the adapted layer without its bias.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.method.forward(x, self.frozen.clone(), &self.factors)
    }

    /// All factors in a graph, the trained ones as leaves whose gradients are kept; and those leaves.
    pub fn in_graph(&self) -> (Vec<Tensor<2>>, Vec<Tensor<2>>) {
        let graph = |t: &Tensor<2>| Tensor::<2>::from_inner(t.clone());
        let leaf = |t: &Tensor<2>| graph(t).require_grad();
        let leaves: Vec<Tensor<2>> = self.trained().iter().map(leaf).collect();
        let constants = self.constants().iter().map(graph);
        (leaves.iter().cloned().chain(constants).collect(), leaves)
    }

    /// The adapter as trainees attach it: the trained factors become parameters, the rest is held by
    /// the recipe. The frozen weight must be the parameter's value by then (see [`Parts::frozen`]).
    pub fn attach(self) -> Adapter {
        let constants = self.constants().to_vec();
        let trained = self.trained().to_vec();
        let method = self.method;
        let whole = move |base: &Tensor<2>, trained: &[Tensor<2>]| -> Vec<Tensor<2>> {
            let held = constants.iter().map(|c| beside(c, base));
            trained.iter().cloned().chain(held).collect()
        };
        let (by_activations, all) = (method.clone(), whole.clone());
        Adapter::new(trained, move |base, trained| {
            let factors = whole(&base, trained);
            method.materialize(base, &factors)
        })
        .with_activations(move |x, base, bias, trained| {
            let factors = all(&base, trained);
            let y = by_activations.forward(x, base, &factors);
            match bias {
                Some(bias) => y + by_activations.bias(bias, &factors).unsqueeze(),
                None => y,
            }
        })
    }
}

/// `x W + b`, of the product.
pub(crate) fn biased(product: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    match bias {
        Some(bias) => product + bias.unsqueeze(),
        None => product,
    }
}

/// A constant where `other` is: in its graph, if it has one.
pub(crate) fn beside(constant: &Tensor<2>, other: &Tensor<2>) -> Tensor<2> {
    let (graph, has_one) = (
        other.device().is_autodiff(),
        constant.device().is_autodiff(),
    );
    match graph && !has_one {
        true => Tensor::from_inner(constant.clone()),
        false => constant.clone(),
    }
}

fn check(declared: &[Factor], given: &[Tensor<2>]) -> Result<(), MethodError> {
    if declared.len() != given.len() {
        return Err(MethodError::Count {
            found: given.len(),
            expected: declared.len(),
        });
    }
    for (factor, tensor) in declared.iter().zip(given) {
        if factor.shape() != tensor.dims() {
            return Err(MethodError::Factor {
                name: factor.name,
                found: tensor.dims(),
                expected: factor.shape(),
            });
        }
    }
    Ok(())
}
