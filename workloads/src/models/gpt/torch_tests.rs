//! Logits, losses and gradients against PyTorch 2.15.0 (in 64 bits): the same model from
//! `scaled_dot_product_attention` with its causal mask and its `scale`, `layer_norm`, `rms_norm`, complex
//! numbers for rotary positions, and `cross_entropy`. Every parameter is `0.4 sin(1.3 k + 0.7 i)` at
//! element `i` of the `k`-th parameter, plus 1 for the scales of norms and scores.

use super::tests::{batch, tiny, tiny_official};
use super::*;
use burn::tensor::TensorData;
use velodrome_harness::contract::{Model, ParamKind, PassOptions, Trained};

/// What PyTorch gives.
struct Case {
    name: &'static str,
    loss: f64,
    /// Logits of the first example's second position.
    first: &'static [f64],
    /// Logits of the second example's last position.
    second: &'static [f64],
    /// Norm of the gradient of each parameter.
    gradients: &'static [f64],
}

const CASES: [Case; 4] = [
    Case {
        name: "plain",
        loss: 2.005979486,
        first: &[
            1.1112099, 1.0083163, 0.4311958, -0.3487228, -0.9646317, -1.1268592, -0.7591072,
        ],
        second: &[
            0.7903891, 0.4627213, -0.0825716, -0.5890298, -0.8184581, -0.6629527, -0.1956504,
        ],
        gradients: &[
            0.7139697, 0.8054803, 0.1620593, 0.1083853, 0.0874072, 0.0236436, 0.1209003, 0.0000000,
            0.2038288, 0.0841988, 0.4245630, 0.1262817, 0.0923653, 0.1456100, 0.1294508, 0.0663505,
            0.1103111, 0.1679558, 0.1734915, 0.0902496, 0.0499305, 0.0221988, 0.0611968, 0.0000000,
            0.2743688, 0.0762324, 0.8199735, 0.1613893, 0.0520419, 0.0312941, 0.0588879, 0.0177181,
            0.0685859, 0.0729608, 0.1240216, 0.1721988, 0.7803038,
        ],
    },
    Case {
        name: "hot, gated, post",
        loss: 2.434860544,
        first: &[
            -0.6547255, -0.8911645, -0.7084749, -0.1925785, 0.4138906, 0.8257005, 0.8491705,
        ],
        second: &[
            -1.2093861, -1.0135444, -0.3410169, 0.4918961, 1.0934627, 1.1807567, 0.7127224,
        ],
        gradients: &[
            0.6770711, 0.6880016, 0.0697705, 0.1654918, 0.1687514, 0.0541553, 0.1891547, 0.0000000,
            0.1058049, 0.1620603, 0.3286551, 0.5893326, 0.0535450, 0.0775434, 0.1237775, 0.0373524,
            0.1439431, 0.0399549, 0.0404260, 0.0748971, 0.2523971, 0.2283609, 0.0041814, 0.0012891,
            0.0033025, 0.0000000, 0.1020346, 0.0311455, 0.4774591, 0.0625078, 0.4911330, 0.3770740,
            0.1272879, 0.0365858, 0.1271459, 0.0383003, 0.2470812, 0.2810346, 1.4369746,
        ],
    },
    Case {
        name: "official",
        loss: 2.750663513,
        first: &[
            -1.7341949, -0.3029332, 1.2643056, 2.2640377, 2.2475153, 1.2221546, -0.3517925,
        ],
        second: &[
            -2.1976001, -1.4889809, -0.1120054, 1.3152458, 2.1521249, 2.0229835, 0.9857890,
        ],
        gradients: &[
            3.0186049, 1.7272865, 0.3598252, 0.3885791, 2.3286111, 5.3238093, 0.2545091, 1.0505510,
            0.4329695, 1.6743284, 1.0474638, 1.4144621, 0.2935754, 0.4753377, 1.8080753, 4.7054120,
            0.2596100, 0.4622555, 0.1333912, 0.7594184, 0.3625629, 0.5081389,
        ],
    },
    Case {
        name: "official, hot",
        loss: 2.433918974,
        first: &[
            -1.8263160, -0.4357906, 1.1503474, 2.2201310, 2.2933683, 1.3371854, -0.2192175,
        ],
        second: &[
            -2.1614007, -1.6240305, -0.3576846, 1.0692145, 2.0161773, 2.0581420, 1.1762722,
        ],
        gradients: &[
            6.0094897, 1.0580613, 1.8351744, 4.0057441, 1.7468634, 5.6916988, 0.0465403, 0.7749955,
            0.5228257, 1.2095568, 1.1170350, 0.9347001, 0.6470491, 0.4950982, 1.4863437, 4.6429853,
            0.0582263, 0.5218136, 0.1008167, 0.8253200, 0.0856990, 0.4021193,
        ],
    },
];

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

#[test]
fn logits_loss_and_gradients_are_those_of_pytorch() {
    let _lock = crate::models::test_lock();
    let device = Device::flex().autodiff();
    let configs = [
        tiny(NormPlace::Pre),
        GptConfig {
            activation: Activation::Relu,
            gated: true,
            attention_temperature: 4.0,
            ..tiny(NormPlace::Post)
        },
        tiny_official(),
        GptConfig {
            attention_temperature: 4.0,
            ..tiny_official()
        },
    ];
    for (case, config) in CASES.iter().zip(configs) {
        let mut model = Trained::new(Gpt::new(&config, &device).unwrap());
        model.map(&mut |info, flat| {
            let plus = f64::from(u8::from(info.kind == ParamKind::NormScale));
            let value = |i: usize| {
                let wave = 0.4 * (1.3 * info.index as f64 + 0.7 * i as f64).sin();
                (wave + plus) as f32
            };
            let values: Vec<f32> = (0..info.len()).map(value).collect();
            let n = values.len();
            Tensor::from_data(TensorData::new(values, [n]), &flat.device())
        });
        let batch = batch(&[[1, 4, 2, 6, 0, 3, 5], [5, 3, 3, 1, 0, 6, 2]], &device);
        let output = model.pass(&batch, &PassOptions::default()).unwrap();
        let loss = numbers(output.loss)[0];
        assert!((loss - case.loss).abs() < 2e-6, "{}: {loss}", case.name);
        assert_eq!(model.params().len(), case.gradients.len(), "{}", case.name);
        for (param, expected) in model.params().iter().zip(case.gradients) {
            let gradient = numbers(output.gradients.get(param).unwrap());
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!(
                (norm - expected).abs() < 3e-6 + 3e-5 * expected,
                "{} {}: {norm} {expected}",
                case.name,
                param.index
            );
        }

        // The same values in the network itself.
        let saved = model.save().unwrap();
        let record =
            burn::store::ModuleRecord::from_bytes(burn::tensor::Bytes::from_bytes_vec(saved));
        let network = Gpt::new(&config, &device).unwrap();
        let network = network.try_load_record(record.unwrap()).unwrap();
        let (logits, _) = network.predict(&batch, &Pass::evaluation()).unwrap();
        let logits = numbers(logits);
        let rows: Vec<&[f64]> = logits.chunks(config.vocabulary).collect();
        for (row, expected) in [(rows[1], case.first), (rows[11], case.second)] {
            assert_eq!(row.len(), expected.len());
            for (found, expected) in row.iter().zip(expected) {
                assert!((found - expected).abs() < 5e-6, "{}: {row:?}", case.name);
            }
        }
    }
}
