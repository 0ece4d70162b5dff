//! Walks over a module's parameters: listing, showing, mapping, freezing.

use super::network::Network;
use super::params::{BUFFER_IDS, ParamInfo, ParamKind, ParamList, param_id};
use burn::module::{ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use velodrome_kernels::plain::without_graph;

pub(super) fn info_of(params: &ParamList, id: ParamId) -> Option<&ParamInfo> {
    let index = id.val().checked_sub(1)?;
    params.get(usize::try_from(index).ok()?)
}

/// Lists the parameters and gives them identities by order.
pub(super) struct Collect<N> {
    pub(super) params: Vec<ParamInfo>,
    /// Names of the parameters, as the model's code has them.
    pub(super) names: Vec<String>,
    buffers: u64,
    path: Vec<(String, String)>,
    /// Module instance that the last parameter was in, to number layers.
    last_layer: Option<String>,
    layer: usize,
    /// Paths of the repeated parts met so far.
    blocks: Vec<String>,
    network: std::marker::PhantomData<N>,
}

impl<N> Default for Collect<N> {
    fn default() -> Self {
        Self {
            params: Vec::new(),
            names: Vec::new(),
            buffers: 0,
            path: Vec::new(),
            last_layer: None,
            layer: 0,
            blocks: Vec::new(),
            network: std::marker::PhantomData,
        }
    }
}

impl<N: Network> Collect<N> {
    /// The repeated part at this path: the outermost element of a list. Elements are named by their
    /// position; a list of parameters does not count.
    fn block(blocks: &mut Vec<String>, names: &[&str]) -> Option<usize> {
        let modules = names.split_last().map_or(names, |(_, modules)| modules);
        let number = |name: &&str| name.parse::<usize>().is_ok();
        let depth = modules.iter().position(number)?;
        let path = modules.get(..=depth)?.join(".");
        let known = blocks.iter().position(|other| *other == path);
        Some(known.unwrap_or_else(|| {
            blocks.push(path);
            blocks.len() - 1
        }))
    }

    fn describe(&mut self, shape: Vec<usize>, trainable: bool) -> ParamInfo {
        let names: Vec<&str> = self.path.iter().map(|(name, _)| name.as_str()).collect();
        let full = names.join(".");
        let field = names.last().copied().unwrap_or_default();
        let container = self
            .path
            .last()
            .map(|(_, c)| c.rsplit(':').next().unwrap_or_default())
            .unwrap_or_default();
        let layer_path = full.strip_suffix(field).unwrap_or(&full).to_string();
        if self.last_layer.as_ref() != Some(&layer_path) {
            if self.last_layer.is_some() {
                self.layer += 1;
            }
            self.last_layer = Some(layer_path);
        }
        let block = Self::block(&mut self.blocks, &names);
        self.names.push(full.clone());
        let kind = N::kind_of(&full).unwrap_or_else(|| kind_from(container, field, shape.len()));
        let fan_in_axis = match kind {
            ParamKind::Matrix | ParamKind::Head => Some(0),
            ParamKind::Convolution => Some(1),
            _ => None,
        };
        ParamInfo {
            index: self.params.len(),
            kind,
            shape,
            layer: self.layer,
            block,
            fan_in_axis,
            tokens: N::tokens_of(&full),
            trainable,
        }
    }
}

/// The kind that burn's layer types imply.
fn kind_from(container: &str, field: &str, rank: usize) -> ParamKind {
    match (container, field, rank) {
        (c, "gamma", _) if c.contains("Norm") => ParamKind::NormScale,
        (c, "beta", _) if c.contains("Norm") => ParamKind::NormShift,
        (c, _, 2) if c.contains("Embedding") => ParamKind::Embedding,
        (c, "weight", _) if c.contains("Conv") => ParamKind::Convolution,
        (_, "bias", 1) => ParamKind::Bias,
        (_, "weight", 2) => ParamKind::Matrix,
        _ => ParamKind::Other,
    }
}

impl<N: Network> ModuleMapper for Collect<N> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path
            .push((name.to_string(), container_type.to_string()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, tensor, mapper) = param.consume();
        let is_buffer = self
            .path
            .last()
            .is_some_and(|(name, _)| name.starts_with("running_"));
        if is_buffer {
            self.buffers += 1;
            let id = ParamId::from(BUFFER_IDS + self.buffers);
            return Param::from_mapped_value(id, tensor, mapper);
        }
        let info = self.describe(tensor.dims().to_vec(), tensor.is_require_grad());
        let id = param_id(info.index);
        self.params.push(info);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

type EachValue<'a> = &'a mut dyn FnMut(ParamId, Tensor<1>) -> Tensor<1>;

/// Maps flat values without graph, keeping what autodiff must know about each tensor.
pub(super) struct Values<'a> {
    pub(super) each: EachValue<'a>,
}

impl ModuleMapper for Values<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let n = shape.iter().product::<usize>();
        let require_grad = tensor.is_require_grad();
        let autodiff = tensor.device().is_autodiff();
        let plain = if autodiff { tensor.inner() } else { tensor };
        let flat = (self.each)(id, plain.reshape([n]));
        let mut tensor = flat.reshape(shape);
        if autodiff {
            tensor = Tensor::from_inner(tensor).set_require_grad(require_grad);
        }
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// Puts differentiable values in the place of parameters: `each` gives the value, with its graph.
/// Buffers, for which it gives `None`, stay.
pub(super) struct Substitute<'a> {
    pub(super) each: &'a mut dyn FnMut(ParamId, Tensor<1>) -> Option<Tensor<1>>,
}

impl ModuleMapper for Substitute<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let n = shape.iter().product::<usize>();
        let flat = without_graph(tensor.clone()).reshape([n]);
        let tensor = match (self.each)(id, flat) {
            Some(value) => value.reshape(shape),
            None => tensor,
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

pub(super) struct Show<'a> {
    pub(super) each: &'a mut dyn FnMut(ParamId, Tensor<1>),
}

impl ModuleVisitor for Show<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.base();
        let n = tensor.dims().iter().product::<usize>();
        let plain = if tensor.device().is_autodiff() {
            tensor.inner()
        } else {
            tensor
        };
        (self.each)(param.id, plain.reshape([n]));
    }
}

pub(super) struct Freeze<'a> {
    pub(super) keep: &'a mut dyn FnMut(ParamId) -> bool,
}

impl ModuleMapper for Freeze<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let keep = (self.keep)(param.id);
        param.set_require_grad(keep)
    }
}
