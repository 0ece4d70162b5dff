//! `adapter_config.json`: the options, and which modules are meant.

use super::{CONFIG, InterchangeError};
use regex::Regex;
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};

/// The configuration of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file, for messages.
    pub file: PathBuf,
    /// The options.
    pub values: Map<String, Value>,
}

impl Config {
    /// Reads a folder's configuration.
    pub fn read(folder: &Path) -> Result<Self, InterchangeError> {
        let file = folder.join(CONFIG);
        let text = fs::read_to_string(&file).map_err(|e| InterchangeError::read(&file, e))?;
        let damaged = |e| InterchangeError::format(&file, format!("is not JSON: {e}"));
        match serde_json::from_str(&text).map_err(damaged)? {
            Value::Object(values) => Ok(Self { file, values }),
            _ => Err(InterchangeError::format(&file, "is not a JSON object")),
        }
    }

    /// Writes it into a folder.
    pub fn write(&self, folder: &Path) -> Result<(), InterchangeError> {
        let file = folder.join(CONFIG);
        let fault = |e| InterchangeError::format(&file, format!("cannot be written: {e}"));
        let text = serde_json::to_string_pretty(&self.values).map_err(fault)?;
        fs::write(&file, text).map_err(|e| InterchangeError::written(&file, e))
    }

    /// The method's name.
    pub fn peft_type(&self) -> Result<&str, InterchangeError> {
        let found = self.values.get("peft_type").and_then(Value::as_str);
        found.ok_or_else(|| InterchangeError::format(&self.file, "`peft_type` is no text"))
    }

    /// Whether the model's weights are `[d_in, d_out]`.
    pub fn fan_in_fan_out(&self) -> bool {
        self.values.get("fan_in_fan_out") == Some(&Value::Bool(true))
    }

    /// Whether the configuration leaves it to the file which modules are adapted.
    pub fn targets_are_open(&self) -> bool {
        match self.values.get("target_modules") {
            None | Some(Value::Null) => true,
            Some(Value::String(s)) => s == "all-linear",
            Some(_) => false,
        }
    }

    /// Whether the module of this name is to be adapted; the rules are PEFT's
    /// (`check_target_module_exists`): a list holds whole names or their ends after a dot, a text is a
    /// pattern of whole names.
    pub fn targets(&self, module: &str) -> Result<bool, InterchangeError> {
        if self.names("exclude_modules", module)? {
            return Ok(false);
        }
        for saved in self.list("modules_to_save")? {
            let pattern = format!(r"^(.*\.)?{saved}($|\..*)");
            if self.regex("modules_to_save", &pattern)?.is_match(module) {
                return Ok(false);
            }
        }
        if !self.names("target_modules", module)? {
            return Ok(false);
        }
        self.layer_is_meant(module)
    }

    /// Whether the option `name` names the module.
    fn names(&self, name: &str, module: &str) -> Result<bool, InterchangeError> {
        if let Some(Value::String(pattern)) = self.values.get(name) {
            let whole = format!("^({pattern})$");
            return Ok(self.regex(name, &whole)?.is_match(module));
        }
        let ends = |end: &String| module == end || module.ends_with(&format!(".{end}"));
        Ok(self.list(name)?.iter().any(ends))
    }

    /// Whether `layers_to_transform` has the module's layer, or is not set.
    fn layer_is_meant(&self, module: &str) -> Result<bool, InterchangeError> {
        let wrong = || {
            let what = "`layers_to_transform` is neither a whole number nor a list of such";
            InterchangeError::format(&self.file, what)
        };
        let layers = match self.values.get("layers_to_transform") {
            None | Some(Value::Null) => return Ok(true),
            Some(Value::Array(all)) if all.is_empty() => return Ok(true),
            Some(Value::Array(all)) => all.iter().map(Value::as_u64).collect(),
            Some(one) => one.as_u64().map(|one| vec![one]),
        };
        let layers = layers.ok_or_else(wrong)?;
        // A pattern of whole names cannot be combined with layers: PEFT refuses it.
        let patterns = match self.values.get("layers_pattern") {
            Some(Value::String(one)) if !one.is_empty() => vec![one.clone()],
            Some(Value::Array(_)) => self.list("layers_pattern")?,
            _ => Vec::new(),
        };
        let mut patterns: Vec<String> = patterns
            .iter()
            .map(|p| format!(r"^(?:.*?\.)?{p}\.(?P<layer>\d+)\."))
            .collect();
        if patterns.is_empty() {
            patterns.push(r"^.*?\.[^.]*\.(?P<layer>\d+)\.".to_string());
        }
        for pattern in patterns {
            let regex = self.regex("layers_pattern", &pattern)?;
            if let Some(found) = regex.captures(module) {
                let layer = found.name("layer").and_then(|l| l.as_str().parse().ok());
                return Ok(layer.is_some_and(|l| layers.contains(&l)));
            }
        }
        Ok(false)
    }

    /// A list of texts; empty where the option is not set.
    fn list(&self, name: &str) -> Result<Vec<String>, InterchangeError> {
        let wrong =
            || InterchangeError::format(&self.file, format!("`{name}` is no list of names"));
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(all)) => all
                .iter()
                .map(|v| v.as_str().map(str::to_string).ok_or_else(wrong))
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    fn regex(&self, name: &str, pattern: &str) -> Result<Regex, InterchangeError> {
        Regex::new(pattern).map_err(|_| {
            let what = format!("`{name}` is not a regular expression that is read here");
            InterchangeError::format(&self.file, what)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn targets(values: Value, module: &str) -> bool {
        let config = Config {
            file: PathBuf::from("adapter_config.json"),
            values: values.as_object().unwrap().clone(),
        };
        config.targets(module).unwrap()
    }

    #[test]
    fn lists_hold_ends_and_texts_are_patterns() {
        let list = json!({"target_modules": ["q_proj", "h.0.fc"]});
        assert!(targets(list.clone(), "layers.3.q_proj"));
        assert!(targets(list.clone(), "h.0.fc") && targets(list.clone(), "model.h.0.fc"));
        assert!(!targets(list.clone(), "layers.3.seq_proj") && !targets(list, "h.10.fc"));
        let pattern = json!({"target_modules": r".*\.(q|v)_proj"});
        assert!(targets(pattern.clone(), "layers.3.v_proj") && !targets(pattern, "q_proj"));
    }

    #[test]
    fn what_is_excluded_or_saved_whole_is_no_target() {
        let values = json!({
            "target_modules": ["up", "down"], "exclude_modules": ["down"],
            "modules_to_save": ["head"],
        });
        assert!(targets(values.clone(), "a.up") && !targets(values.clone(), "a.down"));
        assert!(!targets(values, "head.up"));
    }

    #[test]
    fn layers_choose_among_targets() {
        let values = json!({"target_modules": ["up"], "layers_to_transform": [1, 3]});
        assert!(targets(values.clone(), "model.layers.3.up"));
        assert!(!targets(values.clone(), "model.layers.2.up") && !targets(values, "up"));
        let one = json!({
            "target_modules": ["up"], "layers_to_transform": 2, "layers_pattern": "h",
        });
        assert!(targets(one.clone(), "model.h.2.up") && !targets(one, "model.g.2.up"));
    }
}
