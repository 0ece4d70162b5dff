//! What an adapter puts in front of the tokens stands for tokens.

use super::tests::{batch, tiny, tiny_official};
use super::*;
use burn::tensor::TensorData;
use velodrome_harness::contract::{Adapter, Model, PassOptions, Tokens, Trained};

/// Values by place and element, the same for a model of any number of parameters.
fn fill(model: &mut Trained<Gpt>) {
    model.map(&mut |info, flat| {
        let scale = match info.kind {
            // Those in front have no position: tokens that they stand for must have none either.
            ParamKind::Position => 0.0,
            _ => 0.4,
        };
        let plus = f64::from(u8::from(info.kind == ParamKind::NormScale));
        let value = |i: usize| {
            let wave = (1.3 * info.index as f64 + 0.7 * i as f64).sin();
            (scale * wave + plus) as f32
        };
        let values: Vec<f32> = (0..info.len()).map(value).collect();
        let n = values.len();
        Tensor::from_data(TensorData::new(values, [n]), &flat.device())
    });
}

fn model(config: &GptConfig, device: &Device) -> Trained<Gpt> {
    let mut model = Trained::new(Gpt::new(config, device).unwrap());
    fill(&mut model);
    model
}

/// Puts `front` in front of the tokens of a role; `front` gets a parameter's flat value.
fn put(model: &mut Trained<Gpt>, role: Tokens, front: impl Fn(Tensor<1>) -> Tensor<2>) {
    let mut attached = 0;
    model
        .attach(&mut |info, value| {
            (info.tokens == Some(role)).then(|| {
                attached += 1;
                Adapter::in_front(front(value))
            })
        })
        .unwrap();
    assert!(attached > 0, "{role:?}");
}

/// The loss of the last token of `tokens`.
fn last_loss<const N: usize>(model: &mut Trained<Gpt>, tokens: [i32; N], device: &Device) -> f64 {
    let units = N - 1;
    let mut weights = vec![0f32; units];
    weights[units - 1] = units as f32;
    let weights = Tensor::from_data(TensorData::new(weights, [units]), &Device::flex());
    let options = PassOptions {
        unit_weights: Some(weights),
        ..PassOptions::default()
    };
    let output = model.pass(&batch(&[tokens], device), &options).unwrap();
    f64::from(output.loss.into_scalar::<f32>())
}

/// A prompt of the embeddings of tokens is these tokens, where none has a position.
#[test]
fn a_prompt_stands_for_tokens() {
    let _lock = crate::models::test_lock();
    let device = Device::flex().autodiff();
    for norm in [NormPlace::Pre, NormPlace::Post] {
        let config = GptConfig {
            context: 8,
            ..tiny(norm)
        };
        let whole = [4, 6, 1, 4, 2, 6, 0, 3, 5];
        let expected = last_loss(&mut model(&config, &device), whole, &device);
        let tokens = [1, 4, 2, 6, 0, 3, 5];
        let mut prompted = model(&config, &device);
        put(&mut prompted, Tokens::Input, |table| {
            let table = table.reshape([config.vocabulary, config.width]);
            let row = |token| table.clone().narrow(0, token, 1);
            Tensor::cat(vec![row(4), row(6)], 0)
        });
        let found = last_loss(&mut prompted, tokens, &device);
        assert!((found - expected).abs() < 2e-6, "{found} {expected}");
        let without = last_loss(&mut model(&config, &device), tokens, &device);
        assert!((without - expected).abs() > 1e-4, "the prompt does nothing");
    }
}

/// In every kind of model: its keys are attended to, and its values arrive.
#[test]
fn a_prefix_is_attended_to() {
    let _lock = crate::models::test_lock();
    let device = Device::flex().autodiff();
    for config in [tiny(NormPlace::Pre), tiny(NormPlace::Post), tiny_official()] {
        let tokens = [1, 4, 2, 6, 0, 3, 5];
        let width = config.width;
        let plain = last_loss(&mut model(&config, &device), tokens, &device);
        let prefixed = |value: f64| {
            let mut model = model(&config, &device);
            let filled =
                |value: f64, device: &Device| Tensor::ones([3, width], device).mul_scalar(value);
            put(&mut model, Tokens::Keys, |w| filled(0.1, &w.device()));
            put(&mut model, Tokens::Values, |w| filled(value, &w.device()));
            last_loss(&mut model, tokens, &device)
        };
        let (nothing, something) = (prefixed(0.0), prefixed(2.0));
        assert!((nothing - plain).abs() > 1e-4, "{config:?}");
        assert!((something - nothing).abs() > 1e-4, "{config:?}");
    }
}
