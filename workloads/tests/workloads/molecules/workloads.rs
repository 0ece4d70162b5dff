//! The workloads of the kind: sizes, variants, first weights, splits.

use super::*;

/// By AlgoPerf's code: Dense layers with biases, layer norms with scale and shift, the graph's state
/// starting with a zero for each of 128 outputs.
#[test]
fn official_sizes() {
    let _lock = lock();
    let dense = |from: usize, to: usize| from * to + to;
    let update = |from: usize| dense(from, 256) + 512;
    let embeddings = |latent| dense(9, latent) + dense(3, latent);
    let later = 2 * update(4 * 256) + update(3 * 256);
    let base = embeddings(256)
        + 2 * update(3 * 256 + 128)
        + update(2 * 256 + 128)
        + 4 * later
        + dense(256, 128);
    assert_eq!(base, 3_554_176);
    let second = 9 * (dense(256, 256) + 512);
    let small = embeddings(128)
        + update(3 * 128 + 128)
        + update(128 + 2 * 256 + 128)
        + update(2 * 256 + 128)
        + 2 * later
        + second
        + dense(256, 128);
    for (name, expected) in [
        ("ogbg_gnn", base),
        ("ogbg_gnn_gelu", base),
        ("ogbg_gnn_silu", base),
        ("ogbg_gnn_model_size", small),
    ] {
        let workload = registry().workload(name).unwrap();
        let spec = workload.spec();
        assert_eq!(spec.parameters, expected, "{name}");
        assert_eq!((spec.size, spec.hints.batch_size), (Size::Algoperf, 512));
        let model = build(&*workload, 1);
        let count: usize = model.params().iter().map(|p| p.len()).sum();
        assert_eq!(count, expected, "{name}");
    }
    let folder = std::env::temp_dir().join("velodrome-no-such-folder");
    let missing = velodrome_workloads::data::Molpcba::open("ogbg_gnn", &folder);
    let error = missing.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("velodrome-no-such-folder"), "{error}");
}

/// A step of the official model on generated graphs of the official shape: about 26 atoms and 28
/// bonds each (here a smaller batch than 512).
#[test]
fn the_official_model_takes_a_step() {
    let _lock = lock();
    let device = training_device();
    let workload = registry().workload("ogbg_gnn").unwrap();
    let mut model = build(&*workload, 1);
    let mut graphs = Graphs::new(Coding::Numbers(9), Coding::Numbers(3), 128);
    for graph in 0..16u16 {
        let atoms = 20 + graph % 13;
        let numbers = |n: u16, width: u16| -> Vec<u8> {
            (0..n * width)
                .map(|i| ((i * 7 + graph * 3 + i / width) % 6) as u8)
                .collect()
        };
        let ring = [atoms - 1, 0];
        let links: Vec<[u16; 2]> = (1..atoms).map(|a| [a - 1, a]).chain([ring]).collect();
        let label = |task: u16| [(-1i8), 0, 1][usize::from((task * 5 + graph) % 3)];
        let labels: Vec<i8> = (0..128).map(label).collect();
        let bonds = links.len() as u16;
        graphs
            .push(&numbers(atoms, 9), &numbers(bonds, 3), &links, &labels)
            .unwrap();
    }
    let split = GraphSplit::new(Arc::new(graphs), (0..16).collect());
    let ids: Vec<usize> = (0..16).collect();
    let batch = batch(&split, &ids, &device);
    let options = PassOptions {
        dropout: Some(0.0),
        ..PassOptions::default()
    };
    let mut optimizer = burn::optim::AdamWConfig::new().init();
    let first = model.pass(&batch, &options).unwrap();
    let before = numbers(first.loss)[0];
    // The output of a fresh network is small, so that the loss is not far from that of a coin.
    assert!((before - 2f32.ln()).abs() < 0.5, "{before}");
    model.step(&mut optimizer, 1e-3.into(), first.gradients.into_burn());
    let after = numbers(model.pass(&batch, &options).unwrap().loss)[0];
    assert!(after < before, "{before} {after}");
}

#[test]
fn kinds_and_variants() {
    let _lock = lock();
    let registry = registry();
    let kinds = |name: &str| {
        let model = build(&*registry.workload(name).unwrap(), 1);
        let params = model.params().clone();
        let kinds = [
            ParamKind::Matrix,
            ParamKind::Head,
            ParamKind::Bias,
            ParamKind::NormScale,
            ParamKind::NormShift,
        ];
        kinds.map(|kind| params.iter().filter(|p| p.kind == kind).count())
    };
    // Two embeddings, three updates in each of three steps.
    assert_eq!(kinds("pcba_gnn"), [11, 1, 12, 9, 9]);
    assert_eq!(kinds("pcba_gnn_model_size"), [14, 1, 15, 12, 12]);
    let parameters = |name: &str| registry.workload(name).unwrap().spec().parameters;
    assert_eq!(parameters("pcba_gnn"), parameters("pcba_gnn_gelu"));
    assert_eq!(parameters("pcba_gnn"), parameters("pcba_gnn_silu"));
    assert_ne!(parameters("pcba_gnn"), parameters("pcba_gnn_model_size"));
}

/// LeCun's rule: variance `1 / fan_in`, nothing beyond two deviations of the uncut normal.
#[test]
fn initial_weights_are_cut_and_have_the_stated_variance() {
    let _lock = lock();
    let device = Device::flex();
    device.seed(9);
    let config = (velodrome_workloads::pcba_gnn::ALGOPERF.config)();
    let model = Trained::new(Gnn::new(&config, &device).unwrap());
    model.visit(&mut |info, flat| {
        let values = numbers(flat);
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        match info.kind {
            ParamKind::Bias | ParamKind::NormShift => assert_eq!(largest, 0.0),
            ParamKind::NormScale => assert!(values.iter().all(|v| *v == 1.0)),
            _ => {
                let n = values.len() as f64;
                let fan_in = info.shape[0] as f64;
                let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
                let square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
                assert!(
                    (square * fan_in - 1.0).abs() < 6.0 / n.sqrt(),
                    "{info:?} {square}"
                );
                assert!(mean.abs() < 5.0 / (n * fan_in).sqrt());
                assert!(f64::from(largest) <= 2.0 / 0.8796 / fan_in.sqrt() + 1e-6);
            }
        }
    });
}

#[test]
fn molecules_are_in_one_split_only_and_their_graphs_are_sound() {
    let splits = Pcba::open("test").unwrap();
    assert!(splits.skipped.is_empty());
    let mut seen = HashSet::new();
    for split in [&splits.train, &splits.validation, &splits.test] {
        let ids: Vec<usize> = (0..split.len()).collect();
        for ids in ids.chunks(500) {
            let batch = split.batch(ids);
            let values = |at: usize| match &batch.fields[at].values {
                HostValues::Int(values) => values.clone(),
                HostValues::Float(_) => panic!("these are integers"),
            };
            let (counts, labels) = (values(3), values(4));
            assert!(labels.iter().all(|l| (-1..=1).contains(l)));
            assert!(counts.chunks(2).all(|c| c[0] > 0 && c[1] < 2 * c[0]));
            // At least eight of sixteen labels are there.
            for labels in labels.chunks(16) {
                assert!(labels.iter().filter(|l| **l >= 0).count() >= 8);
            }
        }
        for id in 0..split.len() {
            let batch = split.batch(&[id]);
            let key: Vec<u32> = batch
                .fields
                .iter()
                .take(3)
                .flat_map(|field| match &field.values {
                    HostValues::Float(v) => v.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
                    HostValues::Int(v) => v.iter().map(|x| *x as u32).collect(),
                })
                .collect();
            seen.insert(key);
        }
    }
    // Isomers that differ in chirality alone have equal graphs; there are few.
    assert!(seen.len() > 9_900, "{}", seen.len());
}

#[test]
fn a_pass_repeats_itself() {
    let _lock = lock();
    let device = training_device();
    let workload = registry().workload("pcba_gnn").unwrap();
    let train = workload.open().unwrap().train;
    let mut model = build(&*workload, 3);
    let ids: Vec<usize> = (0..32).collect();
    let data = batch(&*train, &ids, &device);
    let mut once = || {
        device.seed(8);
        let output = model.pass(&data, &PassOptions::default()).unwrap();
        let params = model.params().clone();
        let gradients = params
            .iter()
            .map(|p| bits(output.gradients.get(p).unwrap()));
        (bits(output.losses), gradients.collect::<Vec<_>>())
    };
    assert_eq!(once(), once());
}
