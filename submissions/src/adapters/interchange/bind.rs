//! An adapter's files tied to the weights of a model.

use super::{Config, InterchangeError, MODEL, Stored, Tensors};
use crate::adapters::layout::{Place, values};
use crate::adapters::options::Saved;
use crate::adapters::table::of_type;
use crate::adapters::{Adapted, Factor, METHODS, MethodError, Options, Shape};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What stands before a module's name.
pub(super) const PREFIX: &str = "base_model.model.";

/// What stands before the name of a tensor that all modules share.
const ROOT: &str = "base_model.";

/// An adapter as its two files hold it.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The configuration.
    pub config: Config,
    /// The tensors.
    pub tensors: Tensors,
}

/// One adapted layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The weight and its factors.
    pub adapted: Adapted,
    /// The layer's bias before the adapter changes it, shape `[d_out]`.
    pub bias: Option<Tensor<1>>,
}

/// An adapter tied to the weights of a model.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The method's name in the table.
    pub method: &'static str,
    /// The adapted layers, by module.
    pub layers: BTreeMap<String, Layer>,
    /// Tensors of the model that the adapter replaces as a whole (`modules_to_save`, `bias`).
    pub replaced: BTreeMap<String, Stored>,
    /// Whether the model's weights are `[d_in, d_out]`.
    pub(super) fan_in_fan_out: bool,
}

impl Layer {
    /// `x` of shape `[rows, d_in]` through the layer, with its bias.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = self.adapted.forward(x);
        match self.merged_bias() {
            Some(bias) => y + bias.unsqueeze_dim::<2>(0),
            None => y,
        }
    }

    /// The bias as merging writes it.
    pub fn merged_bias(&self) -> Option<Tensor<1>> {
        let bias = self.bias.clone()?;
        Some(self.adapted.bias(bias))
    }
}

impl Saved for Tensors {
    fn shape(&self, module: &str, name: &str) -> Option<Vec<usize>> {
        let stored = self.held.get(&format!("{PREFIX}{module}.{name}"))?;
        Some(stored.shape().to_vec())
    }
}

/// The names under which files hold a factor.
pub(super) fn keys(module: &str, factor: &Factor) -> Vec<String> {
    let with_module = || format!("{PREFIX}{module}.{}", factor.name);
    let root = || format!("{ROOT}{}", factor.name);
    match factor.place {
        Place::Module => vec![with_module()],
        Place::Root => vec![root()],
        Place::Everywhere => vec![root(), with_module()],
    }
}

/// The factor as which a model's weight is stored.
fn weight_factor(shape: Shape, fan_in_fan_out: bool) -> Factor {
    match fan_in_fan_out {
        true => Factor::flat("weight", &[shape.d_in, shape.d_out]),
        false => Factor::turned("weight", shape.d_out, shape.d_in),
    }
}

/// The modules with a matrix, and their shapes.
fn modules(weights: &Tensors, fan_in_fan_out: bool) -> BTreeMap<&str, Shape> {
    let held = weights.held.iter();
    held.filter_map(|(name, stored)| {
        let module = name.strip_suffix(".weight")?;
        match *stored.shape() {
            [d_in, d_out] if fan_in_fan_out => Some((module, Shape::new(d_in, d_out))),
            [d_out, d_in] => Some((module, Shape::new(d_in, d_out))),
            _ => None,
        }
    })
    .collect()
}

impl Folder {
    /// Reads `adapter_config.json` and `adapter_model.safetensors`.
    pub fn read(folder: &Path) -> Result<Self, InterchangeError> {
        Ok(Self {
            config: Config::read(folder)?,
            tensors: Tensors::read(&folder.join(MODEL))?,
        })
    }

    /// Ties the adapter to the weights of a model (`MODULE.weight`, `MODULE.bias`).
    pub fn bind(&self, weights: &Tensors, device: &Device) -> Result<Bound, InterchangeError> {
        let fan_in_fan_out = self.config.fan_in_fan_out();
        let modules = modules(weights, fan_in_fan_out);
        let targets = self.targets(&modules)?;
        let shapes = targets.iter().filter_map(|m| modules.get(m));
        let largest = shapes.fold(Shape::new(0, 0), |l, s| {
            Shape::new(l.d_in.max(s.d_in), l.d_out.max(s.d_out))
        });
        let mut binding = Binding {
            folder: self,
            weights,
            device,
            used: BTreeSet::new(),
        };
        let mut bound = Bound {
            method: "",
            layers: BTreeMap::new(),
            replaced: BTreeMap::new(),
            fan_in_fan_out,
        };
        for module in &targets {
            let Some(shape) = modules.get(module).copied() else {
                continue;
            };
            let (method, layer) = binding.layer(module, shape, largest, fan_in_fan_out)?;
            bound.method = method;
            bound.layers.insert(module.to_string(), layer);
        }
        binding.rest(&modules, &mut bound)?;
        Ok(bound)
    }

    /// The modules that are adapted.
    fn targets<'a>(
        &self,
        modules: &BTreeMap<&'a str, Shape>,
    ) -> Result<Vec<&'a str>, InterchangeError> {
        let mut targets = Vec::new();
        let open = self.config.targets_are_open();
        for module in modules.keys() {
            let meant = match open {
                true => {
                    let start = format!("{PREFIX}{module}.");
                    self.tensors.held.keys().any(|k| k.starts_with(&start))
                }
                false => self.config.targets(module)?,
            };
            if meant {
                targets.push(*module);
            }
        }
        if targets.is_empty() {
            let wanted = self.config.values.get("target_modules");
            return Err(InterchangeError::OtherModel {
                file: self.config.file.clone(),
                name: wanted.map(ToString::to_string).unwrap_or_default(),
                known: known(modules),
            });
        }
        Ok(targets)
    }
}

/// The first names, for a message.
fn known(modules: &BTreeMap<&str, Shape>) -> String {
    let mut names: Vec<String> = modules.keys().take(6).map(|m| format!("`{m}`")).collect();
    if modules.len() > names.len() {
        names.push(format!("{} more", modules.len() - names.len()));
    }
    match names.is_empty() {
        true => "none".into(),
        false => names.join(", "),
    }
}

/// The work of tying, and which tensors have been used.
struct Binding<'a> {
    folder: &'a Folder,
    weights: &'a Tensors,
    device: &'a Device,
    used: BTreeSet<String>,
}

impl Binding<'_> {
    /// The layer of a module, and the name of its method.
    fn layer(
        &mut self,
        module: &str,
        shape: Shape,
        largest: Shape,
        fan_in_fan_out: bool,
    ) -> Result<(&'static str, Layer), InterchangeError> {
        let Folder { config, tensors } = self.folder;
        let fault = |source: MethodError| InterchangeError::Method {
            file: config.file.clone(),
            module: module.to_string(),
            source: Box::new(source),
        };
        let bias = self.bias(module, shape)?;
        let options = Options::of_module(&config.values, module, largest, bias.is_some(), tensors);
        let peft_type = config.peft_type()?;
        let Some(entry) = of_type(peft_type, &options) else {
            let mut known: Vec<&str> = METHODS.iter().map(|e| e.peft_type).collect();
            known.retain(|t| !t.is_empty());
            known.dedup();
            let what = format!(
                "`peft_type` is `{peft_type}`, which is not one of {}",
                known.join(", ")
            );
            return Err(InterchangeError::format(&config.file, what));
        };
        let method = (entry.build)(&options, shape).map_err(fault)?;
        let factor = weight_factor(shape, fan_in_fan_out);
        let name = format!("{module}.weight");
        let stored = self.weights.values(&name, factor.stored())?;
        let base = factor.from_stored(stored, self.device);
        let declared = method.trained();
        let trained = declared.iter().map(|f| self.factor(module, f));
        let trained = trained.collect::<Result<Vec<_>, _>>()?;
        let constants = method.constants();
        let missing = |f: &Factor| f.optional && self.key(module, f).is_none();
        let derived = match constants.iter().any(missing) {
            true => method.derive(&base).map_err(fault)?,
            false => Vec::new(),
        };
        let mut held = Vec::with_capacity(constants.len());
        for (i, factor) in constants.iter().enumerate() {
            held.push(match derived.get(i) {
                Some(derived) if self.key(module, factor).is_none() => derived.clone(),
                _ => self.factor(module, factor)?,
            });
        }
        let adapted = Adapted::new(Arc::from(method), base, trained, held).map_err(fault)?;
        Ok((entry.name, Layer { adapted, bias }))
    }

    /// The name under which the file holds a factor, if it does.
    fn key(&self, module: &str, factor: &Factor) -> Option<String> {
        let held = &self.folder.tensors.held;
        keys(module, factor)
            .into_iter()
            .find(|k| held.contains_key(k))
    }

    /// A factor's values. The file's copies of it count as used.
    fn factor(&mut self, module: &str, factor: &Factor) -> Result<Tensor<2>, InterchangeError> {
        let keys = keys(module, factor);
        let held = &self.folder.tensors.held;
        let found = keys.iter().find(|k| held.contains_key(*k));
        let key = found.or(keys.first()).cloned().unwrap_or_default();
        let values = self.folder.tensors.values(&key, factor.stored())?;
        if let Some(what) = factor.fault(&values) {
            let what = format!("tensor `{key}` {what}");
            return Err(InterchangeError::format(&self.folder.tensors.file, what));
        }
        self.used.extend(keys);
        Ok(factor.from_stored(values, self.device))
    }

    /// The bias of a module: the adapter's where it has one, else the model's.
    fn bias(&mut self, module: &str, shape: Shape) -> Result<Option<Tensor<1>>, InterchangeError> {
        let name = format!("{module}.bias");
        if !self.weights.held.contains_key(&name) {
            return Ok(None);
        }
        let (adapter, d_out) = (&self.folder.tensors, shape.d_out);
        let own = [
            format!("{PREFIX}{module}.base_layer.bias"),
            format!("{PREFIX}{name}"),
        ];
        let own = own.into_iter().find(|key| adapter.held.contains_key(key));
        let values = match own {
            Some(key) => {
                let values = adapter.values(&key, &[d_out])?;
                self.used.insert(key);
                values
            }
            None => self.weights.values(&name, &[d_out])?,
        };
        let data = TensorData::new(values, [d_out]);
        Ok(Some(Tensor::from_data(data, self.device)))
    }

    /// The tensors that are no factors: whole tensors of the model, or errors.
    fn rest(
        &self,
        modules: &BTreeMap<&str, Shape>,
        bound: &mut Bound,
    ) -> Result<(), InterchangeError> {
        let tensors = &self.folder.tensors;
        let left = tensors.held.iter().filter(|(k, _)| !self.used.contains(*k));
        for (key, stored) in left {
            let name = key.strip_prefix(PREFIX).unwrap_or(key);
            if let Some(own) = self.weights.held.get(name) {
                tensors.values(key, own.shape())?;
                bound.replaced.insert(name.to_string(), stored.clone());
                continue;
            }
            let ours = |m: &&str| name.strip_prefix(*m).is_some_and(|r| r.starts_with('.'));
            let unknown = !modules.keys().any(ours) && key.starts_with(PREFIX);
            return Err(match unknown {
                true => InterchangeError::OtherModel {
                    file: tensors.file.clone(),
                    name: key.clone(),
                    known: known(modules),
                },
                false => InterchangeError::Unexpected {
                    file: tensors.file.clone(),
                    tensor: key.clone(),
                    found: stored.shape().to_vec(),
                },
            });
        }
        Ok(())
    }
}

impl Bound {
    /// Number of trained values: the factors, and what is replaced as a whole.
    pub fn trainable(&self) -> usize {
        let layers = self.layers.values().map(|l| l.adapted.trainable());
        let replaced = self.replaced.values();
        let replaced = replaced.map(|s| s.shape().iter().product::<usize>());
        layers.sum::<usize>() + replaced.sum::<usize>()
    }

    /// The model's weights with the adapter folded in; the other tensors stay as they are, bit for
    /// bit. Types of floats stay.
    pub fn merge(&self, weights: &Tensors) -> Tensors {
        let mut merged = weights.clone();
        for (name, stored) in &self.replaced {
            merged.held.insert(name.clone(), stored.clone());
        }
        for (module, layer) in &self.layers {
            let weight = layer.adapted.weight();
            let factor = weight_factor(Shape::of(&weight), self.fan_in_fan_out);
            let bias = layer.merged_bias().map(values);
            let new = [("weight", Some(factor.to_stored(weight))), ("bias", bias)];
            for (name, values) in new {
                let entry = merged.held.get_mut(&format!("{module}.{name}"));
                if let (Some(entry), Some(values)) = (entry, values) {
                    *entry = entry.with(&values);
                }
            }
        }
        merged
    }
}
