//! The arithmetic that a rule is written in: one entry on the host, or a whole tensor on a device.

use burn::tensor::Tensor;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// What a rule computes with. Scalars of a rule are 64-bit and are rounded once, where they meet a
/// number.
///
/// On the host a number is one 32-bit entry, so that a rule becomes one pass over memory; elsewhere
/// it is a tensor, so that the same text runs on any device.
pub trait Number:
    Clone
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Mul<f64, Output = Self>
{
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// -1, 0 or 1. A NaN stays one: a diverged run must not look sound.
    fn sign(self) -> Self;
    /// 1 where above 0, else 0.
    fn heaviside(self) -> Self;
    /// Not below `low` and not above `high`.
    fn clamp(self, low: f64, high: f64) -> Self;
    /// To a power; the base must not be negative.
    fn powf(self, exponent: f64) -> Self;
    /// The square.
    fn square(self) -> Self {
        self.clone() * self
    }
    /// Exponential moving average: `beta * self + (1 - beta) * value`.
    fn ema(self, value: Self, beta: f64) -> Self {
        self * beta + value * (1.0 - beta)
    }
}

/// One entry of a tensor in host memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry(pub f32);

/// A tensor on any device.
#[derive(Debug, Clone)]
pub(super) struct Whole<const D: usize>(pub Tensor<D>);

macro_rules! operators {
    ($($trait:ident $method:ident $op:tt),*) => { $(
        impl $trait for Entry {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(self.0 $op other.0)
            }
        }
        impl<const D: usize> $trait for Whole<D> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self(self.0 $op other.0)
            }
        }
    )* };
}
operators!(Add add +, Sub sub -, Mul mul *, Div div /);

impl Neg for Entry {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl<const D: usize> Neg for Whole<D> {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.neg())
    }
}

impl Add<f64> for Entry {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: f64) -> Self {
        Self(self.0 + other as f32)
    }
}

impl<const D: usize> Add<f64> for Whole<D> {
    type Output = Self;
    fn add(self, other: f64) -> Self {
        Self(self.0.add_scalar(other))
    }
}

impl Mul<f64> for Entry {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: f64) -> Self {
        Self(self.0 * other as f32)
    }
}

impl<const D: usize> Mul<f64> for Whole<D> {
    type Output = Self;
    fn mul(self, other: f64) -> Self {
        Self(self.0.mul_scalar(other))
    }
}

impl Number for Entry {
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }

    #[inline(always)]
    fn sign(self) -> Self {
        let sign = f32::from(self.0 > 0.0) - f32::from(self.0 < 0.0);
        Self(if self.0.is_nan() { self.0 } else { sign })
    }

    #[inline(always)]
    fn heaviside(self) -> Self {
        Self(f32::from(self.0 > 0.0))
    }

    #[inline(always)]
    fn clamp(self, low: f64, high: f64) -> Self {
        // Not `f32::clamp`: it panics when the bounds are reversed.
        let (low, high) = (low as f32, high as f32);
        let raised = if self.0 < low { low } else { self.0 };
        Self(if raised > high { high } else { raised })
    }

    #[inline(always)]
    fn powf(self, exponent: f64) -> Self {
        Self(self.0.powf(exponent as f32))
    }
}

impl<const D: usize> Number for Whole<D> {
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }

    fn abs(self) -> Self {
        Self(self.0.abs())
    }

    fn sign(self) -> Self {
        // burn's sign of NaN is 0 on some devices.
        let nan = self.0.clone().is_nan();
        Self(self.0.clone().sign().mask_where(nan, self.0))
    }

    fn heaviside(self) -> Self {
        Self(self.0.greater_scalar(0.0).float())
    }

    fn clamp(self, low: f64, high: f64) -> Self {
        Self(self.0.clamp(low, high))
    }

    fn powf(self, exponent: f64) -> Self {
        Self(self.0.powf_scalar(exponent))
    }
}
