//! Connectionist temporal classification: loss, decoding, measures.

use super::Speech;
use crate::data::fetched::folder;
use crate::data::speech::{Alphabet, LibriSpeech, Pieces};
use crate::metrics::{Transcripts, labels_of};
use burn::tensor::{Int, Tensor};
use velodrome_harness::contract::{Batch, ModelError};
use velodrome_results::measures::Measures;

/// CTC's loss (Graves et al. 2006) of each example through its number of tokens, shape `[examples]`:
/// `-ln p(tokens) / length`, with token 0 as the blank.
///
/// `logits` have the shape `[examples, positions, tokens]`, `positions` and `lengths` tell what is not
/// padding. A mean over examples is PyTorch's reduction `mean`; AlgoPerf divides the sum of a batch's
/// losses by the batch's tokens instead. A transcript that has no alignment (more tokens than positions)
/// has loss 0 and no gradient, as with PyTorch's `zero_infinity`; the data sets leave such ones out.
pub fn ctc_losses(
    logits: Tensor<3>,
    positions: Tensor<1, Int>,
    tokens: Tensor<2, Int>,
    lengths: Tensor<1, Int>,
) -> Tensor<1> {
    let losses = velodrome_kernels::ctc(logits, tokens, positions, lengths.clone());
    losses / lengths.float().clamp_min(1.0)
}

/// The tokens of the most probable path: neighbours that are equal count once, blanks (0) go.
pub fn greedy(path: &[i32]) -> Vec<i32> {
    let mut before = 0;
    let mut tokens = Vec::new();
    for &token in path {
        if token != before && token != 0 {
            tokens.push(token);
        }
        before = token;
    }
    tokens
}

/// How tokens become text when a split is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// By characters.
    Characters(Alphabet),
    /// By the word pieces of the tokeniser in the data folder of this base workload.
    Pieces(&'static str),
}

impl Spelling {
    /// Different tokens, the blank included.
    pub fn classes(&self) -> usize {
        match self {
            Spelling::Characters(alphabet) => alphabet.classes(),
            Spelling::Pieces(_) => LibriSpeech::PIECES,
        }
    }

    fn pieces(&self) -> Result<Option<Pieces>, ModelError> {
        match self {
            Spelling::Characters(_) => Ok(None),
            Spelling::Pieces(base) => LibriSpeech::tokeniser(&folder(base))
                .map(Some)
                .map_err(ModelError::Compute),
        }
    }
}

/// Measures of a recogniser over a split: `cer`, `wer` (by greedy decoding) and `loss`. `predict` gives
/// logits and positions of a batch.
pub(super) fn evaluate(
    batches: &mut dyn Iterator<Item = Batch>,
    mels: usize,
    spelling: Spelling,
    mut predict: impl FnMut(&Speech) -> (Tensor<3>, Tensor<1, Int>),
) -> Result<Measures, ModelError> {
    let pieces = spelling.pieces()?;
    let text = |tokens: &[i32]| match (&pieces, spelling) {
        (Some(pieces), _) => pieces.text(tokens),
        (None, Spelling::Characters(alphabet)) => alphabet.text(tokens),
        (None, Spelling::Pieces(_)) => String::new(),
    };
    let mut transcripts = Transcripts::new();
    for batch in batches {
        let speech = Speech::of(&batch, mels)?;
        let (logits, positions) = predict(&speech);
        let [examples, most, _] = logits.dims();
        let [_, longest] = speech.tokens.dims();
        let paths = labels_of(logits.clone().argmax(2).reshape([examples * most]))?;
        let losses = ctc_losses(
            logits,
            positions.clone(),
            speech.tokens.clone(),
            speech.lengths.clone(),
        );
        let losses: Vec<f32> = losses
            .into_data()
            .convert::<f32>()
            .try_to_vec()
            .map_err(|e| ModelError::Compute(format!("losses: {e}")))?;
        let tokens = labels_of(speech.tokens.reshape([examples * longest]))?;
        let (positions, lengths) = (labels_of(positions)?, labels_of(speech.lengths)?);
        let part = |all: &[i32], example: usize, width: usize, length: i32| -> Vec<i32> {
            let from = example * width;
            let to = from + usize::try_from(length).unwrap_or(0).min(width);
            all.get(from..to).unwrap_or_default().to_vec()
        };
        let sizes = positions.iter().zip(&lengths).zip(&losses);
        for (example, ((position, length), loss)) in sizes.enumerate() {
            let path = part(&paths, example, most, *position);
            let reference = part(&tokens, example, longest, *length);
            transcripts.add(&text(&reference), &text(&greedy(&path)), f64::from(*loss));
        }
    }
    Ok(transcripts.measures())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn paths_lose_repeats_and_blanks() {
        assert_eq!(greedy(&[0, 5, 5, 0, 5, 3, 3, 0, 0, 2]), [5, 5, 3, 2]);
        assert_eq!(greedy(&[]), [0; 0]);
        assert_eq!(greedy(&[0, 0]), [0; 0]);
    }

    /// Logits without a pattern, 3 examples, 6 positions, 5 tokens.
    fn logits(device: &Device) -> Tensor<3> {
        let values: Vec<f32> = (0..90).map(|i| (i as f32 * 1.7).sin() * 2.0).collect();
        Tensor::<1>::from_floats(values.as_slice(), device).reshape([3, 6, 5])
    }

    /// PyTorch 2.15.0: `ctc_loss(log_softmax(x, 2).transpose(0, 1), ..., reduction="none",
    /// zero_infinity=True) / lengths`, and the gradient of its sum. The first transcript has a repeat,
    /// the second one is padded, the third has no alignment (three equal tokens at four positions).
    #[test]
    fn values_and_gradients_of_pytorch() {
        let device = Device::flex().autodiff();
        let x = logits(&device).require_grad();
        let integers = |values: [i32; 3]| Tensor::<1, Int>::from_data(values, &device);
        let tokens = Tensor::<2, Int>::from_data([[1, 1, 3], [4, 2, 0], [2, 2, 2]], &device);
        let losses = ctc_losses(x.clone(), integers([6, 5, 4]), tokens, integers([3, 2, 3]));
        let found: Vec<f32> = losses.clone().into_data().try_to_vec().unwrap();
        for (f, e) in found.iter().zip([2.4538777, 2.8195657, 0.0000000]) {
            assert!((f64::from(*f) - e).abs() < 1e-5, "{found:?}");
        }
        let gradients = losses.sum().backward();
        let gradient: Vec<f32> = x
            .grad(&gradients)
            .unwrap()
            .into_data()
            .try_to_vec()
            .unwrap();
        for (at, expected) in [
            (0, 0.02804383),
            (1, -0.12605800),
            (3, 0.00446851),
            (7, 0.00730098),
            (12, 0.26695871),
            (16, -0.10514348),
            (22, 0.01558741),
            (29, 0.00728987),
            (30, 0.02164777),
            (34, -0.16629898),
            (41, 0.18254248),
            (47, -0.03190925),
            (50, -0.30754493),
            (54, 0.01568597),
        ] {
            assert!(
                (f64::from(gradient[at]) - expected).abs() < 1e-6,
                "{at}: {}",
                gradient[at]
            );
        }
        // Behind the fifth position of the second example, and in all of the third.
        assert!(gradient[55..].iter().all(|g| *g == 0.0));
    }
}
