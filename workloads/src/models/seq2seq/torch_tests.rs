//! Logits, losses and gradients against PyTorch 2.15.0 (in 64 bits): the same model from
//! `scaled_dot_product_attention` with boolean masks, `layer_norm` and `cross_entropy` with
//! `ignore_index=0` and `label_smoothing=0.1`. Every parameter is `0.4 sin(1.3 k + 0.7 i)` at element
//! `i` of the `k`-th parameter, plus 1 for the scales of norms.

use super::*;
use velodrome_harness::contract::{
    HostBatch, HostField, HostValues, Model, ParamKind, PassOptions, Trained,
};

/// What PyTorch gives.
struct Case {
    name: &'static str,
    loss: f64,
    /// Logits of the first example's second position (its source is padded).
    first: &'static [f64],
    /// Logits of the second example's fourth position.
    second: &'static [f64],
    /// Norm of the gradient of each parameter.
    gradients: &'static [f64],
}

const CASES: [Case; 3] = [
    Case {
        name: "pre",
        loss: 2.063836556,
        first: &[
            -0.3034320, 0.2215908, 0.6471486, 0.7822219, 0.5661806, 0.0959988, -0.4172738,
        ],
        second: &[
            -0.9586338, -0.7654996, -0.2287569, 0.4106674, 0.8657562, 0.9322346, 0.5802624,
        ],
        gradients: &[
            0.3909207, 0.0396375, 0.0424200, 0.0445078, 0.0093844, 0.0119530, 0.0963157, 0.1206734,
            0.0238901, 0.0245240, 0.0702498, 0.0210856, 0.0070901, 0.0194565, 0.0191129, 0.0256969,
            0.0013473, 0.0013994, 0.0430117, 0.0490643, 0.0193694, 0.0214035, 0.0345653, 0.0145784,
            0.0042506, 0.0123697, 0.1319034, 0.1175361, 0.1257949, 0.0380774, 0.0666078, 0.0517221,
            0.1506616, 0.1905537, 0.0013917, 0.0026079, 0.0032925, 0.0035185, 0.1554597, 0.2068008,
            0.0313293, 0.0278232, 0.0739811, 0.0333333, 0.0539127, 0.0370885, 0.0894663, 0.0831554,
            0.0601455, 0.0676386, 0.1165288, 0.1567639, 0.0021635, 0.0010412, 0.0056935, 0.0051517,
            0.2025685, 0.2057349, 0.0403951, 0.0582452, 0.0856306, 0.0417437, 0.0225962, 0.0369770,
            0.1131567, 0.0383344,
        ],
    },
    Case {
        name: "post, hot",
        loss: 2.038807847,
        first: &[
            -0.1864926, -0.4133765, -0.4547088, -0.2919368, 0.0018764, 0.2948473, 0.4554706,
        ],
        second: &[
            0.1033504, -0.1906701, -0.3991048, -0.4283941, -0.2653909, 0.0167379, 0.2913536,
        ],
        gradients: &[
            0.1817603, 0.0501607, 0.0581298, 0.0530860, 0.0115048, 0.0073536, 0.0730061, 0.0782406,
            0.0248919, 0.0462705, 0.0935243, 0.0254449, 0.0137108, 0.0304284, 0.1751826, 0.1364715,
            0.0025546, 0.0030435, 0.0574052, 0.1711662, 0.1086289, 0.1030932, 0.2084978, 0.0758151,
            0.0116298, 0.0669351, 0.0377517, 0.0375961, 0.0001340, 0.0001124, 0.0079029, 0.0463188,
            0.1004212, 0.1057622, 0.0003704, 0.0003640, 0.0046821, 0.1106400, 0.1246490, 0.1089804,
            0.0215653, 0.0068894, 0.0560177, 0.1086323, 0.1196734, 0.1148171, 0.0001712, 0.0003211,
            0.0025481, 0.3550358, 0.1235052, 0.1424726, 0.0029717, 0.0027481, 0.1369047, 0.3058938,
            0.1158678, 0.1101605, 0.2215039, 0.0870293, 0.0874026, 0.0702556,
        ],
    },
    Case {
        name: "gated, shared",
        loss: 2.494986459,
        first: &[
            0.6089543, 0.9347655, 0.8409902, 0.3697211, -0.2675041, -0.7846551, -0.9495994,
            -0.6882987, -0.1180425,
        ],
        second: &[
            0.5722469, 0.8942285, 0.8148194, 0.3696637, -0.2414223, -0.7441415, -0.9128392,
            -0.6717924, -0.1291993,
        ],
        gradients: &[
            0.4750462, 0.1118644, 0.1150931, 0.0203329, 0.0261147, 0.2268503, 0.2593315, 0.0140648,
            0.0178599, 0.0984178, 0.0438499, 0.0994403, 0.0442645, 0.0851552, 0.0544565, 0.1036461,
            0.1155804, 0.0006736, 0.0015717, 0.2590531, 0.2586224, 0.0210495, 0.0203927, 0.0569785,
            0.0244333, 0.0622080, 0.0265139, 0.0152286, 0.0475407, 0.0673175, 0.0856630, 0.0403221,
            0.0602166, 0.0036752, 0.0050395, 0.1225499, 0.1306399, 0.0013771, 0.0011850, 0.0026882,
            0.0029033, 0.1029185, 0.0994841, 0.0050525, 0.0047644, 0.0098172, 0.0039854, 0.0128319,
            0.0048591, 0.0010935, 0.0221364, 0.0784809, 0.0756850, 0.0018467, 0.0018052, 0.1646565,
            0.1507707, 0.0084407, 0.0066554, 0.0185933, 0.0185810, 0.1601854, 0.1335062, 0.0024317,
            0.0019940, 0.0134839, 0.0054809, 0.0167221, 0.0067535, 0.0013946, 0.0313560, 0.1526981,
            0.1414673,
        ],
    },
];

fn batch(target: [[i32; 4]; 2], device: &Device) -> Batch {
    let field = |name, width: usize, values: Vec<i32>| HostField {
        name,
        shape: vec![2, width],
        values: HostValues::Int(values),
    };
    let host = HostBatch {
        fields: vec![
            field("source", 5, vec![3, 4, 5, 2, 0, 6, 8, 7, 3, 2]),
            field("target", 4, target.concat()),
        ],
        examples: 2,
        units: 7,
    };
    Batch::from_host(host, vec![0, 1], device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

#[test]
fn logits_loss_and_gradients_are_those_of_pytorch() {
    let _lock = crate::models::test_lock();
    let device = Device::flex().autodiff();
    for (case, norm, temperature, gated) in [
        (&CASES[0], NormPlace::Pre, 1.0, false),
        (&CASES[1], NormPlace::Post, 4.0, false),
        (&CASES[2], NormPlace::Pre, 1.0, true),
    ] {
        let config = Seq2SeqConfig {
            target_vocabulary: if gated { 9 } else { 7 },
            shared_embedding: gated,
            activation: if gated {
                Activation::Tanh
            } else {
                Activation::Relu
            },
            gated,
            norm,
            attention_temperature: temperature,
            ..super::tests::tiny()
        };
        let mut model = Trained::new(Transformer::new(&config, &device).unwrap());
        model.map(&mut |info, flat| {
            let plus = f64::from(u8::from(info.kind == ParamKind::NormScale));
            let value = |i: usize| {
                let wave = 0.4 * (1.3 * info.index as f64 + 0.7 * i as f64).sin();
                wave as f32 + plus as f32
            };
            let values: Vec<f32> = (0..info.len()).map(value).collect();
            let n = values.len();
            Tensor::from_data(TensorData::new(values, [n]), &flat.device())
        });
        let last = if gated { [4, 6, 8, 2] } else { [4, 6, 3, 2] };
        let batch = batch([[3, 5, 2, 0], last], &device);
        let options = PassOptions {
            label_smoothing: 0.1,
            ..PassOptions::default()
        };
        let output = model.pass(&batch, &options).unwrap();
        let loss = numbers(output.loss)[0];
        assert!((loss - case.loss).abs() < 2e-6, "{}: {loss}", case.name);
        // The losses of the examples have it as their mean.
        let losses = numbers(output.losses);
        assert!((losses.iter().sum::<f64>() / 2.0 - loss).abs() < 1e-6);
        assert_eq!(model.params().len(), case.gradients.len());
        for (param, expected) in model.params().iter().zip(case.gradients) {
            let gradient = numbers(output.gradients.get(param).unwrap());
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!(
                (norm - expected).abs() < 2e-6 + 2e-5 * expected,
                "{} {}: {norm} {expected}",
                case.name,
                param.index
            );
        }

        // The same values in the network itself.
        let saved = model.save().unwrap();
        let record =
            burn::store::ModuleRecord::from_bytes(burn::tensor::Bytes::from_bytes_vec(saved));
        let network = Transformer::new(&config, &device).unwrap();
        let network = network.try_load_record(record.unwrap()).unwrap();
        let encoded = network.encode(&batch, 0.0).unwrap();
        let logits = numbers(network.predict(&batch, &encoded, 0.0).unwrap());
        let rows: Vec<&[f64]> = logits.chunks(config.target_vocabulary).collect();
        for (row, expected) in [(rows[1], case.first), (rows[7], case.second)] {
            assert_eq!(row.len(), expected.len());
            for (found, expected) in row.iter().zip(expected) {
                assert!((found - expected).abs() < 5e-6, "{}: {row:?}", case.name);
            }
        }
    }
}
