//! Adapters: initial factors plus a pure function of (base weight, factors).

use super::params::ParamInfo;
use burn::module::{Module, Param, ParamId, Reparameterization, Reparameterizer};
use burn::nn::Linear;
use burn::tensor::Tensor;
use std::sync::Arc;
use velodrome_kernels::linear;

/// Chooses the adapter of a parameter, given its information and flat value; `None` leaves the
/// parameter as it is.
pub type Attach<'a> = dyn FnMut(&ParamInfo, Tensor<1>) -> Option<Adapter> + 'a;

/// The recipe: (base weight, factors) to effective weight, both of rank 2 for matrices. Other
/// ranks arrive as `[shape[0], rest]`.
pub type Recipe = dyn Fn(Tensor<2>, &[Tensor<2>]) -> Tensor<2> + Send + Sync;

/// The recipe by activations: (inputs `[rows, d_in]`, base weight `[d_in, d_out]`, bias `[d_out]`,
/// factors) to outputs `[rows, d_out]`.
pub type Activations =
    dyn Fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>, &[Tensor<2>]) -> Tensor<2> + Send + Sync;

/// More tokens: (what came out of the layer, `[examples, tokens, width]`, factors) to the same behind
/// further tokens, `[examples, more + tokens, width]`. The layer's own tokens stay the last ones.
pub type Lengthening = dyn Fn(Tensor<3>, &[Tensor<2>]) -> Tensor<3> + Send + Sync;

/// Named factors and a recipe: the one module type that lets a submission define any weight
/// adapter. The factors are trainable parameters; the base is frozen by the submission.
#[derive(Module)]
pub struct Adapter {
    factors: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    recipe: Shared<Recipe>,
    #[module(skip)]
    activations: Option<Shared<Activations>>,
    #[module(skip)]
    lengthening: Option<Shared<Lengthening>>,
}

/// A shared recipe (a wrapper, since a module's fields must print).
struct Shared<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("recipe")
    }
}

impl std::fmt::Debug for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Adapter({} factors)", self.factors.len())
    }
}

impl Adapter {
    /// An adapter with initial `factors` (on the device without autodiff) and a `recipe`.
    pub fn new(
        factors: Vec<Tensor<2>>,
        recipe: impl Fn(Tensor<2>, &[Tensor<2>]) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        let factors = factors
            .into_iter()
            .map(|f| {
                let tensor = Tensor::from_inner(f).require_grad();
                Param::initialized(ParamId::new(), tensor)
            })
            .collect();
        Self {
            factors,
            recipe: Shared(Arc::new(recipe)),
            activations: None,
            lengthening: None,
        }
    }

    /// With a cheaper way through a layer than to build its weight: the result must be the same up to
    /// rounding. [`apply_linear`] takes it.
    pub fn with_activations(
        mut self,
        activations: impl Fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>, &[Tensor<2>]) -> Tensor<2>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.activations = Some(Shared(Arc::new(activations)));
        self
    }

    /// With tokens to put in front of those that come out of the layer, for a weight whose
    /// [`ParamInfo::tokens`] says that the model takes them (by [`lengthen`]).
    pub fn with_lengthening(
        mut self,
        lengthening: impl Fn(Tensor<3>, &[Tensor<2>]) -> Tensor<3> + Send + Sync + 'static,
    ) -> Self {
        self.lengthening = Some(Shared(Arc::new(lengthening)));
        self
    }

    /// Trained `vectors`, `[more, width]`, in front of the tokens that come out of the layer, whose weight
    /// stays as it is.
    pub fn in_front(vectors: Tensor<2>) -> Self {
        Self::new(vec![vectors], |weight, _| weight).with_lengthening(|x, factors| {
            match factors.first() {
                Some(vectors) => behind(vectors.clone(), x),
                None => x,
            }
        })
    }

    fn values(&self) -> Vec<Tensor<2>> {
        self.factors.iter().map(Param::val).collect()
    }
}

/// `x` of shape `[…, d_in]` through a layer, `[…, d_out]`: by its adapter's way where one is attached
/// that has its own. Models call this in the place of the layer's `forward`.
pub fn apply_linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    let adapter = layer.weight.reparameterization::<Adapter>();
    let Some((adapter, activations)) = adapter.and_then(|a| Some((a, a.activations.as_ref()?)))
    else {
        return linear(x, layer.weight.val(), layer.bias.as_ref().map(Param::val));
    };
    let base = layer.weight.base();
    let [d_in, d_out] = base.dims();
    let mut shape = x.dims();
    let rows = shape.iter().product::<usize>() / d_in.max(1);
    let bias = layer.bias.as_ref().map(Param::val);
    let y = (activations.0)(x.reshape([rows, d_in]), base, bias, &adapter.values());
    if let Some(last) = shape.last_mut() {
        *last = d_out;
    }
    y.reshape(shape)
}

/// `x` of shape `[examples, tokens, width]`, which came out of the layer of `weight`, behind the tokens that
/// an attached adapter puts in front; `x` itself where there is none. A model that calls this says so by
/// [`Network::tokens_of`](super::Network::tokens_of), lets its own tokens attend to those in front, and
/// gives outputs for its own alone.
pub fn lengthen<const D: usize>(weight: &Param<Tensor<D>>, x: Tensor<3>) -> Tensor<3> {
    let adapter = weight.reparameterization::<Adapter>();
    match adapter.and_then(|a| Some((a, a.lengthening.as_ref()?))) {
        Some((adapter, lengthening)) => (lengthening.0)(x, &adapter.values()),
        None => x,
    }
}

/// `x`, `[examples, tokens, width]`, behind `front`, `[more, width]`, the same in every example.
pub fn behind(front: Tensor<2>, x: Tensor<3>) -> Tensor<3> {
    let [examples, _, width] = x.dims();
    let [more, _] = front.dims();
    let front = front.reshape([1, more, width]).repeat_dim(0, examples);
    Tensor::cat(vec![front, x], 1)
}

impl Reparameterization for Adapter {
    const NAME: &'static str = "adapter";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let shape = base.dims();
        let rows = shape.first().copied().unwrap_or(1);
        let rest = shape.iter().skip(1).product::<usize>();
        (self.recipe.0)(base.reshape([rows, rest]), &self.values()).reshape(shape)
    }
}

/// Burn's reparameterizer over a choosing function.
pub(crate) struct Attacher<'a> {
    pub(crate) choose: &'a mut dyn FnMut(ParamId, Tensor<1>) -> Option<Adapter>,
}

impl Reparameterizer for Attacher<'_> {
    type Reparam = Adapter;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Adapter>) {
        let base = param.base();
        let n = base.dims().iter().product::<usize>();
        let plain = if base.device().is_autodiff() {
            base.inner()
        } else {
            base
        };
        let adapter = (self.choose)(param.id, plain.reshape([n]));
        (param, adapter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn what_stands_in_front_is_the_same_in_every_example() {
        let device = Device::flex();
        let front = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
        let x = Tensor::<3>::from_data([[[5.0, 6.0]], [[7.0, 8.0]]], &device);
        let longer = behind(front, x);
        assert_eq!(longer.dims(), [2, 3, 2]);
        let values: Vec<f32> = longer.into_data().try_to_vec().unwrap();
        assert_eq!(
            values,
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0, 2.0, 3.0, 4.0, 7.0, 8.0]
        );
    }
}
