//! Elementwise functions, each with its derivative in one pass.

use crate::pass;
use crate::scalar::{normal_density, normal_share, sigmoid, sigmoid_and_slope, tanh};
use burn::tensor::{Tensor, activation};

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `x Phi(x)`, exact (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    Gelu,
    /// The same with `Phi` approximated through a hyperbolic tangent.
    GeluTanh,
    /// `x / (1 + e^-x)` (Elfwing, Uchibe and Doya 2017, arXiv 1702.03118).
    Silu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0.2 x)` (Maas, Hannun and Ng 2013), with the slope of U-Nets for MRI.
    LeakyRelu,
}

/// The slope of [`Function::LeakyRelu`] below 0.
const LEAK: f32 = 0.2;

/// `sqrt(2 / pi)`.
const GELU_SCALE: f32 = 0.797_884_6;
const GELU_CUBE: f32 = 0.044_715;

/// `2 u` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`: the approximation of `Phi`, `1/2 (1 + tanh u)`, is its
/// sigmoid.
#[inline(always)]
fn twice_inner(x: f32) -> f32 {
    2.0 * GELU_SCALE * x * (1.0 + GELU_CUBE * (x * x))
}

impl Function {
    /// Whether the derivative is a function of the value; of the argument otherwise.
    pub(crate) fn by_value(self) -> bool {
        matches!(
            self,
            Function::Sigmoid | Function::Tanh | Function::Relu | Function::LeakyRelu
        )
    }

    pub(crate) fn values(self, x: &[f32]) -> Vec<f32> {
        match self {
            Function::Gelu => pass::map(
                x,
                #[inline(always)]
                |x| x * normal_share(x),
            ),
            Function::GeluTanh => pass::map(
                x,
                #[inline(always)]
                |x| x * sigmoid(twice_inner(x)),
            ),
            Function::Silu => pass::map(
                x,
                #[inline(always)]
                |x| x * sigmoid(x),
            ),
            Function::Sigmoid => pass::map(x, sigmoid),
            Function::Tanh => pass::map(x, tanh),
            // Comparisons this way round let what is no number through.
            Function::Relu => pass::map(
                x,
                #[inline(always)]
                |x| if x < 0.0 { 0.0 } else { x },
            ),
            Function::LeakyRelu => pass::map(
                x,
                #[inline(always)]
                |x| if x < 0.0 { LEAK * x } else { x },
            ),
        }
    }

    /// Multiplies `gradient` by the derivative at `kept`: the value or the argument (see
    /// [`Self::by_value`]).
    pub(crate) fn backward(self, gradient: &mut [f32], kept: &[f32]) {
        match self {
            Function::Gelu => pass::update(
                gradient,
                kept,
                #[inline(always)]
                |g, x| g * (normal_share(x) + x * normal_density(x)),
            ),
            Function::GeluTanh => pass::update(
                gradient,
                kept,
                #[inline(always)]
                |g, x| {
                    let (s, slope) = sigmoid_and_slope(twice_inner(x));
                    let inner = 2.0 * GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * (x * x));
                    g * (s + x * slope * inner)
                },
            ),
            Function::Silu => pass::update(
                gradient,
                kept,
                #[inline(always)]
                |g, x| {
                    let (s, slope) = sigmoid_and_slope(x);
                    g * (s + x * slope)
                },
            ),
            Function::Sigmoid => pass::update(
                gradient,
                kept,
                #[inline(always)]
                |g, y| g * (y * (1.0 - y)),
            ),
            Function::Tanh => pass::update(
                gradient,
                kept,
                #[inline(always)]
                |g, y| g * (1.0 - y * y),
            ),
            Function::Relu => pass::update(
                gradient,
                kept,
                #[inline(always)]
                |g, y| if y > 0.0 { g } else { 0.0 },
            ),
            Function::LeakyRelu => pass::update(
                gradient,
                kept,
                #[inline(always)]
                |g, y| if y > 0.0 { g } else { LEAK * g },
            ),
        }
    }

    /// By burn's own operations.
    pub fn plain<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Function::Gelu => activation::gelu(x),
            Function::GeluTanh => {
                // By products: powers are slow.
                let inner = (x.clone() * x.clone())
                    .mul_scalar(GELU_CUBE)
                    .add_scalar(1.0)
                    .mul(x.clone())
                    .mul_scalar(GELU_SCALE);
                (x * activation::tanh(inner).add_scalar(1.0)).mul_scalar(0.5)
            }
            Function::Silu => activation::silu(x),
            Function::Sigmoid => activation::sigmoid(x),
            Function::Tanh => activation::tanh(x),
            Function::Relu => activation::relu(x),
            Function::LeakyRelu => activation::leaky_relu(x, f64::from(LEAK)),
        }
    }
}
