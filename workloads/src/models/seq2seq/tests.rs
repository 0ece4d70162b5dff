use super::*;
use burn::tensor::Tensor;
use velodrome_harness::contract::{HostBatch, HostField, HostValues};

pub(super) fn tiny() -> Seq2SeqConfig {
    Seq2SeqConfig {
        source_vocabulary: 9,
        target_vocabulary: 7,
        shared_embedding: false,
        max_length: 10,
        width: 8,
        heads: 2,
        layers: 2,
        feed_forward: 12,
        activation: Activation::Relu,
        gated: false,
        norm: NormPlace::Pre,
        attention_temperature: 1.0,
        dropout: 0.0,
        search: Search {
            beam: 1,
            length_penalty: 0.0,
            max_length: 6,
        },
        scoring: Scoring::EditRate("phoneme_error_rate"),
    }
}

fn tokens(name: &'static str, rows: &[&[i32]]) -> HostField {
    HostField {
        name,
        shape: vec![rows.len(), rows[0].len()],
        values: HostValues::Int(rows.concat()),
    }
}

fn batch_of(fields: Vec<HostField>, device: &Device) -> Batch {
    let examples = fields[0].shape[0];
    let host = HostBatch {
        fields,
        examples,
        units: examples,
    };
    Batch::from_host(host, (0..examples).collect(), device)
}

fn pair(source: &[&[i32]], target: &[&[i32]], device: &Device) -> Batch {
    batch_of(
        vec![tokens("source", source), tokens("target", target)],
        device,
    )
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Logits of each target position.
fn logits(model: &Transformer, batch: &Batch) -> Vec<Vec<f32>> {
    let encoded = model.encode(batch, 0.0).unwrap();
    let logits = model.predict(batch, &encoded, 0.0).unwrap();
    let [_, classes] = logits.dims();
    values(logits)
        .chunks(classes)
        .map(<[f32]>::to_vec)
        .collect()
}

fn close(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    a.len() == b.len() && pairs.fold(true, |all, (x, y)| all && (x - y).abs() < 1e-5)
}

fn models() -> Vec<Transformer> {
    let device = Device::flex();
    device.seed(3);
    [NormPlace::Pre, NormPlace::Post]
        .into_iter()
        .map(|norm| {
            let model = Transformer::new(&Seq2SeqConfig { norm, ..tiny() }, &device).unwrap();
            // Lazy parameters are drawn at their first use.
            logits(&model, &pair(&[&[3, 2]], &[&[3, 2]], &device));
            model
        })
        .collect()
}

#[test]
fn a_later_target_token_changes_no_earlier_prediction() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    for model in models() {
        let source: &[i32] = &[3, 7, 5, 2];
        let target = [4, 6, 3, 5, 2];
        let before = logits(&model, &pair(&[source], &[&target], &device));
        for changed in 0..target.len() {
            let mut other = target;
            other[changed] = if other[changed] == 6 { 5 } else { 6 };
            let after = logits(&model, &pair(&[source], &[&other], &device));
            for position in 0..target.len() {
                // A token is read one position after its own.
                let same = before[position] == after[position];
                assert_eq!(same, position <= changed, "{changed} {position}");
            }
        }
        // The last token of the source is seen from everywhere.
        let after = logits(&model, &pair(&[&[3, 7, 4, 2]], &[&target], &device));
        assert!(before.iter().zip(&after).all(|(a, b)| a != b));
    }
}

#[test]
fn padding_changes_nothing() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    for model in models() {
        let short = pair(&[&[3, 7, 2]], &[&[4, 6, 2]], &device);
        let alone = logits(&model, &short);
        // The second example is longer on both sides.
        let long = pair(
            &[&[3, 7, 2, 0, 0, 0], &[5, 6, 7, 8, 3, 2]],
            &[&[4, 6, 2, 0, 0], &[3, 4, 5, 6, 2]],
            &device,
        );
        let padded = logits(&model, &long);
        assert!(close(&alone, &padded[..3]), "{alone:?} {padded:?}");
        let second = pair(&[&[5, 6, 7, 8, 3, 2]], &[&[3, 4, 5, 6, 2]], &device);
        assert!(close(&logits(&model, &second), &padded[5..]));

        // Losses: tokens weigh alike, padding nothing.
        let sums = |batch: &Batch| {
            let encoded = model.encode(batch, 0.0).unwrap();
            let (losses, real) = model.token_losses(batch, &encoded, 0.0, 0.0).unwrap();
            (sum(losses).unwrap(), sum(real).unwrap())
        };
        let ((a, n), (b, m), (both, all)) = (sums(&short), sums(&second), sums(&long));
        assert_eq!((n, m, all), (3.0, 5.0, 8.0));
        assert!((a + b - both).abs() < 1e-5);
        let units = model.unit_losses(&long, &mut Pass::evaluation()).unwrap();
        let examples = values(units.per_example());
        assert!((f64::from(examples[0]) - a / 4.0).abs() < 1e-5);
        assert!((f64::from(examples[1]) - b / 4.0).abs() < 1e-5);

        // The same sequences come out of both batches.
        let decoded = |batch: &Batch| {
            let encoded = model.encode(batch, 0.0).unwrap();
            let search = model.search;
            model.decode(encoded.memory, encoded.mask, &search).unwrap()
        };
        let (one, two) = (decoded(&short), decoded(&second));
        assert_eq!(decoded(&long), [one[0].clone(), two[0].clone()]);
    }
}

#[test]
fn packed_rows_are_their_pairs() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    for model in models() {
        let packed = batch_of(
            vec![
                tokens("source", &[&[3, 7, 2, 5, 6, 8, 2, 0]]),
                tokens("source_segment", &[&[1, 1, 1, 2, 2, 2, 2, 0]]),
                tokens("source_position", &[&[0, 1, 2, 0, 1, 2, 3, 0]]),
                tokens("target", &[&[4, 6, 2, 3, 5, 2]]),
                tokens("target_segment", &[&[1, 1, 1, 2, 2, 2]]),
                tokens("target_position", &[&[0, 1, 2, 0, 1, 2]]),
            ],
            &device,
        );
        let packed = logits(&model, &packed);
        let first = logits(&model, &pair(&[&[3, 7, 2]], &[&[4, 6, 2]], &device));
        assert!(close(&first, &packed[..3]), "{first:?} {packed:?}");
        // As in AlgoPerf, the second pair starts from the end of the first, not from the start: so its
        // predictions differ, but do not depend on the first pair's other tokens.
        let second = logits(&model, &pair(&[&[5, 6, 8, 2]], &[&[3, 5, 2]], &device));
        assert!(!close(&second, &packed[3..]));
        let other = batch_of(
            vec![
                tokens("source", &[&[8, 4, 2, 5, 6, 8, 2, 0]]),
                tokens("source_segment", &[&[1, 1, 1, 2, 2, 2, 2, 0]]),
                tokens("source_position", &[&[0, 1, 2, 0, 1, 2, 3, 0]]),
                tokens("target", &[&[3, 3, 2, 3, 5, 2]]),
                tokens("target_segment", &[&[1, 1, 1, 2, 2, 2]]),
                tokens("target_position", &[&[0, 1, 2, 0, 1, 2]]),
            ],
            &device,
        );
        let other = logits(&model, &other);
        assert!(close(&other[3..], &packed[3..]));
        assert!(!close(&other[..3], &packed[..3]));
    }
}

/// Greedy decoding one token at a time, with kept keys and values and dropped rows, gives the tokens
/// that the whole model gives when it reads its own output.
#[test]
fn step_by_step_decoding_agrees_with_the_whole_model() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    let search = Search {
        max_length: 9,
        ..tiny().search
    };
    let mut lengths = std::collections::BTreeSet::new();
    for model in models() {
        let sources: Vec<Vec<i32>> = (0..40)
            .map(|n: i32| vec![3 + n % 6, 3 + (n / 2) % 6, 3 + (n / 5) % 6, 2])
            .collect();
        let rows: Vec<&[i32]> = sources.iter().map(Vec::as_slice).collect();
        let none: Vec<&[i32]> = rows.iter().map(|_| &[2][..]).collect();
        let encoded = model.encode(&pair(&rows, &none, &device), 0.0).unwrap();
        let outputs = model.decode(encoded.memory, encoded.mask, &search).unwrap();
        for (source, output) in rows.iter().zip(&outputs) {
            lengths.insert(output.len());
            let mut expected: Vec<i32> = Vec::new();
            while expected.len() < search.max_length {
                let mut target = expected.clone();
                target.push(END);
                let logits = logits(&model, &pair(&[source], &[&target], &device));
                let last = logits.last().unwrap();
                let best = (0..last.len())
                    .max_by(|a, b| last[*a].total_cmp(&last[*b]))
                    .unwrap();
                if best as i32 == END {
                    break;
                }
                expected.push(best as i32);
            }
            assert_eq!(output, &expected);
        }
    }
    // Some end early and some never, or the dropping of rows was not tried.
    assert!(lengths.len() > 1, "{lengths:?}");
}

/// Beam search finds outputs that are at least as probable as the greedy ones, with the log
/// probabilities that the whole model gives them.
#[test]
fn beams_of_the_model_have_the_scores_that_the_model_gives() {
    let _lock = crate::models::test_lock();
    let device = Device::flex();
    let model = models().remove(0);
    let sources: [&[i32]; 4] = [&[3, 4, 2], &[8, 8, 2], &[5, 3, 2], &[6, 7, 2]];
    let encoded = |source: &[i32]| {
        model
            .encode(&pair(&[source], &[&[2]], &device), 0.0)
            .unwrap()
    };
    let probability = |source: &[i32], output: &[i32]| -> f64 {
        let target = [output, &[END]].concat();
        let batch = pair(&[source], &[&target], &device);
        let (losses, _) = model
            .token_losses(&batch, &encoded(source), 0.0, 0.0)
            .unwrap();
        -sum(losses).unwrap()
    };
    for source in sources {
        let run = |beam: usize| {
            let e = encoded(source);
            let search = Search {
                beam,
                length_penalty: 0.0,
                max_length: 8,
            };
            model.decode(e.memory, e.mask, &search).unwrap().remove(0)
        };
        let (greedy, beam) = (run(1), run(5));
        if greedy.len() < 8 && beam.len() < 8 {
            let (a, b) = (probability(source, &greedy), probability(source, &beam));
            assert!(b >= a - 1e-5, "{greedy:?} {a}, {beam:?} {b}");
        }
    }
}

#[test]
fn positions_by_hand() {
    let table = values(Positions::new(3, 4).range(1, 2, &Device::flex()).unwrap());
    // Frequencies 1 and 1e-4.
    let expected = [
        1f64.sin(),
        1e-4f64.sin(),
        1f64.cos(),
        1e-4f64.cos(),
        2f64.sin(),
        2e-4f64.sin(),
        2f64.cos(),
        2e-4f64.cos(),
    ];
    for (found, expected) in table.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{table:?}");
    }
}

#[test]
fn sizes_that_do_not_go_together_and_long_sequences_are_errors() {
    let device = Device::flex();
    for config in [
        Seq2SeqConfig { heads: 3, ..tiny() },
        Seq2SeqConfig { heads: 0, ..tiny() },
        Seq2SeqConfig {
            width: 9,
            heads: 1,
            ..tiny()
        },
        Seq2SeqConfig {
            shared_embedding: true,
            ..tiny()
        },
    ] {
        assert!(Transformer::new(&config, &device).is_err(), "{config:?}");
    }
    let _lock = crate::models::test_lock();
    let model = models().remove(0);
    let long = vec![3; 11];
    for batch in [
        pair(&[&long], &[&[2]], &device),
        pair(&[&[2]], &[&long], &device),
    ] {
        let error = model.unit_losses(&batch, &mut Pass::evaluation());
        assert!(error.unwrap_err().to_string().contains("at most 10"));
    }
}
