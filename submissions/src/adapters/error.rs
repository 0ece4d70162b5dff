//! Why a method cannot adapt a weight.

use super::Shape;

/// An error of a method: an option, or a size that does not fit the weight.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MethodError {
    /// An option is missing, or is not what it should be.
    #[error("`{option}` is {value}; it must be {wanted}")]
    Option {
        /// Its name.
        option: String,
        /// Its value, as JSON.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// An option asks for something that is not done here.
    #[error("`{option}` is {value}, which is not supported")]
    Unsupported {
        /// Its name.
        option: String,
        /// Its value, as JSON.
        value: String,
    },
    /// A rank or number that the weight is too small for.
    #[error("`{option}` is {size}, but a weight with {shape} allows at most {limit}")]
    TooLarge {
        /// The option.
        option: &'static str,
        /// Its value.
        size: usize,
        /// The largest that fits.
        limit: usize,
        /// The weight.
        shape: Shape,
    },
    /// Blocks that do not fill an axis.
    #[error("`{option}` is {size}, which does not divide {length}, the number of {axis}")]
    Indivisible {
        /// The option.
        option: &'static str,
        /// Its value.
        size: usize,
        /// What the axis is: `inputs` or `outputs`.
        axis: &'static str,
        /// Its length.
        length: usize,
    },
    /// A factor of another shape.
    #[error("`{name}` has shape {found:?}, expected is {expected:?}")]
    Factor {
        /// Its name.
        name: &'static str,
        /// Its shape.
        found: [usize; 2],
        /// The declared shape.
        expected: [usize; 2],
    },
    /// Too many or too few factors.
    #[error("{found} factors were given, expected are {expected}")]
    Count {
        /// As many were given.
        found: usize,
        /// As many are declared.
        expected: usize,
    },
    /// The weight cannot be decomposed.
    #[error("the weight has no {0}: an entry is not finite, or it is singular")]
    Decomposition(&'static str),
}
