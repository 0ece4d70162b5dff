//! Sizes: the official ones, those that are counted by formula, and those that are refused.

use super::*;

#[test]
fn formulas_count_what_is_built() {
    let _lock = lock();
    let device = training_device();
    let count = |model: &dyn Model| model.params().iter().map(|p| p.len()).sum::<usize>();
    for (name, config) in vits() {
        let model = Trained::new(Vit::new(&config, &device).unwrap());
        assert_eq!(count(&model), config.parameters(), "{name}");
    }
    for bottleneck in [false, true] {
        for preactivation in [false, true] {
            let config = ResNetConfig {
                preactivation,
                stages: vec![(8, 2), (16, 1)],
                ..tiny_resnet(bottleneck)
            };
            let model = Trained::new(ResNet::new(&config, &device));
            assert_eq!(count(&model), config.parameters());
        }
    }
}

/// Counts of AlgoPerf's own models (commit 2c90454), built under PyTorch 2.15.
const OFFICIAL: [(&str, usize); 8] = [
    ("imagenet_resnet", 25_557_032),
    ("imagenet_resnet_silu", 25_557_032),
    ("imagenet_resnet_gelu", 25_557_032),
    ("imagenet_resnet_large_bn_init", 25_557_032),
    ("imagenet_vit", 22_122_472),
    ("imagenet_vit_glu", 50_452_456),
    ("imagenet_vit_post_ln", 22_121_704),
    ("imagenet_vit_map", 23_896_552),
];

#[test]
fn the_official_models_have_the_official_sizes() {
    let registry = crate::common::registry();
    for (name, parameters) in OFFICIAL {
        let spec = registry.workload(name).unwrap().spec();
        assert_eq!(spec.parameters, parameters, "{name}");
        assert_eq!((spec.size, spec.hints.batch_size), (Size::Algoperf, 1024));
    }
}

/// Builds the model of a workload and takes a gradient at a batch of one or two examples.
fn one_step(name: &str, side: usize, channels: usize, labels: &[i32]) {
    let workload = crate::common::registry().workload(name).unwrap().clone();
    let mut model = crate::common::build(&*workload, 1);
    let count: usize = model.params().iter().map(|p| p.len()).sum();
    assert_eq!(count, workload.spec().parameters, "{name}");
    let (loss, gradient) = loss_and_gradient(&mut *model, &images([channels, side, side], labels));
    assert!(
        loss.is_finite() && gradient > 1e-3,
        "{name}: {loss} {gradient}"
    );
}

#[test]
fn official_bases_take_a_step_at_full_size() {
    let _lock = lock();
    one_step("imagenet_vit", 224, 3, &[999]);
    one_step("imagenet_resnet", 224, 3, &[0, 999]);
}

#[test]
#[ignore = "takes minutes: all official variants at full size"]
fn official_variants_take_a_step_at_full_size() {
    let _lock = lock();
    for (name, _) in OFFICIAL {
        one_step(name, 224, 3, &[0, 999]);
    }
}

#[test]
fn sizes_that_do_not_go_together_are_refused() {
    let device = Device::flex();
    for (field, config) in [
        (
            "patches of 5",
            VitConfig {
                patch: 5,
                ..tiny_vit()
            },
        ),
        (
            "patches of 0",
            VitConfig {
                patch: 0,
                ..tiny_vit()
            },
        ),
        (
            "a width of 4",
            VitConfig {
                width: 4,
                ..tiny_vit()
            },
        ),
        (
            "a width of 18",
            VitConfig {
                width: 18,
                ..tiny_vit()
            },
        ),
        (
            "3 heads",
            VitConfig {
                heads: 3,
                ..tiny_vit()
            },
        ),
        (
            "0 heads",
            VitConfig {
                heads: 0,
                ..tiny_vit()
            },
        ),
    ] {
        let error = Vit::new(&config, &device).err().unwrap().to_string();
        assert!(error.contains(field), "{error}");
    }
}
