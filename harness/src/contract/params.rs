//! How a submission sees the parameters: by kind, shape and order, never by name.

use std::sync::Arc;

/// What a parameter is for. Submissions may treat kinds differently (no decay on norms, a matrix
/// rule for matrices only); they cannot see which model the parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// Hidden linear map, `[fan_in, fan_out]`.
    Matrix,
    /// The linear map that yields the model's outputs, `[fan_in, fan_out]`.
    Head,
    /// Convolution kernel, `[channels_out, channels_in / groups, ...]`.
    Convolution,
    /// Embedding table, `[entries, width]`.
    Embedding,
    /// Learned positions, `[positions, width]`.
    Position,
    /// Bias of a linear map or a convolution.
    Bias,
    /// Scale of a normalisation layer.
    NormScale,
    /// Shift of a normalisation layer.
    NormShift,
    /// Anything else.
    Other,
}

/// What a sequence of tokens is to the model that can take a longer one
/// ([`Adapter::with_lengthening`](super::Adapter::with_lengthening)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tokens {
    /// The embedded input.
    Input,
    /// The keys of an attention; its values must be as many.
    Keys,
    /// The values of an attention.
    Values,
}

/// One parameter, as a submission sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamInfo {
    /// Position in the list of parameters; the identity that is stable over a resume.
    pub index: usize,
    /// What it is for.
    pub kind: ParamKind,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Number of the layer that it belongs to, counted in the model's order from 0.
    pub layer: usize,
    /// Number of the repeated part of the model (element of a list of modules, such as a transformer's
    /// blocks) that it belongs to, counted in the model's order from 0; `None` for what stands outside
    /// of such lists.
    pub block: Option<usize>,
    /// Axis that a sum over inputs runs along: 0 for `[fan_in, fan_out]` matrices, 1 for
    /// convolutions (and all axes behind it), `None` where there is no such axis.
    pub fan_in_axis: Option<usize>,
    /// What the tokens that come out of its layer are, where the model lets an adapter put others in front
    /// of them.
    pub tokens: Option<Tokens>,
    /// Whether a gradient is computed for it.
    pub trainable: bool,
}

impl ParamInfo {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its burn identity. Identities follow the order of the parameters, so that they are the
    /// same in every process that builds the same model.
    pub fn id(&self) -> burn::module::ParamId {
        param_id(self.index)
    }
}

/// The list of parameters, shared.
pub type ParamList = Arc<[ParamInfo]>;

/// Identity of the parameter at `index`. Buffers take identities above [`BUFFER_IDS`].
pub(crate) fn param_id(index: usize) -> burn::module::ParamId {
    burn::module::ParamId::from(index as u64 + 1)
}

/// Identities from here on belong to buffers (normalisation statistics).
pub(crate) const BUFFER_IDS: u64 = 1 << 40;

/// Runs `$body` with the constant `$d` set to the run-time rank `$rank` (0 to 8); other ranks give
/// `$otherwise`.
macro_rules! with_rank {
    ($rank:expr, $d:ident => $body:expr, otherwise $otherwise:expr) => {
        match $rank {
            1 => {
                const $d: usize = 1;
                $body
            }
            2 => {
                const $d: usize = 2;
                $body
            }
            3 => {
                const $d: usize = 3;
                $body
            }
            4 => {
                const $d: usize = 4;
                $body
            }
            5 => {
                const $d: usize = 5;
                $body
            }
            6 => {
                const $d: usize = 6;
                $body
            }
            _ => $otherwise,
        }
    };
}
pub(crate) use with_rank;
