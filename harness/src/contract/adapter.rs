//! Adapters: initial factors plus a pure function of (base weight, factors).

use super::params::ParamInfo;
use burn::module::{Module, Param, ParamId, Reparameterization, Reparameterizer};
use burn::tensor::Tensor;
use std::sync::Arc;

/// Chooses the adapter of a parameter, given its information and flat value; `None` leaves the
/// parameter as it is.
pub type Attach<'a> = dyn FnMut(&ParamInfo, Tensor<1>) -> Option<Adapter> + 'a;

/// The recipe: (base weight, factors) to effective weight, both of rank 2 for matrices. Other
/// ranks arrive as `[shape[0], rest]`.
pub type Recipe = dyn Fn(Tensor<2>, &[Tensor<2>]) -> Tensor<2> + Send + Sync;

/// Named factors and a recipe: the one module type that lets a submission define any weight
/// adapter. The factors are trainable parameters; the base is frozen by the submission.
#[derive(Module)]
pub struct Adapter {
    factors: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    recipe: SharedRecipe,
}

/// A shared recipe (a wrapper, since a module's fields must print).
#[derive(Clone)]
struct SharedRecipe(Arc<Recipe>);

impl std::fmt::Debug for SharedRecipe {
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
            recipe: SharedRecipe(Arc::new(recipe)),
        }
    }
}

impl Reparameterization for Adapter {
    const NAME: &'static str = "adapter";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let shape = base.dims();
        let rows = shape.first().copied().unwrap_or(1);
        let rest = shape.iter().skip(1).product::<usize>();
        let factors: Vec<Tensor<2>> = self.factors.iter().map(Param::val).collect();
        (self.recipe.0)(base.reshape([rows, rest]), &factors).reshape(shape)
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
