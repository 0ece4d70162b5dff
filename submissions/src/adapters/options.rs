//! The options of a method for one module, under the names of PEFT's `adapter_config.json`.

use super::{MethodError, Shape};
use regex::Regex;
use serde_json::{Map, Value};

/// A view of a configuration for one module.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    values: &'a Map<String, Value>,
    module: &'a str,
    /// The longest axes among all modules that share constants.
    pub largest: Shape,
    /// Whether the adapted layer has a bias.
    pub has_bias: bool,
    saved: Option<&'a dyn Saved>,
}

/// Shapes of the tensors that a file holds for the module.
pub(crate) trait Saved: std::fmt::Debug {
    /// The shape of the tensor of this name.
    fn shape(&self, module: &str, name: &str) -> Option<Vec<usize>>;
}

impl<'a> Options<'a> {
    /// Options of a single weight of this shape, whose layer has a bias.
    pub fn new(values: &'a Map<String, Value>, shape: Shape) -> Self {
        Self {
            values,
            module: "",
            largest: shape,
            has_bias: true,
            saved: None,
        }
    }

    pub(crate) fn of_module(
        values: &'a Map<String, Value>,
        module: &'a str,
        largest: Shape,
        has_bias: bool,
        saved: &'a dyn Saved,
    ) -> Self {
        Self {
            values,
            module,
            largest,
            has_bias,
            saved: Some(saved),
        }
    }

    /// The module's name.
    pub fn module(&self) -> &str {
        self.module
    }

    /// The shape that a file holds for this tensor of the module, where the options come from one.
    pub fn saved_shape(&self, name: &str) -> Option<Vec<usize>> {
        self.saved?.shape(self.module, name)
    }

    /// The value of `name`, unless it is missing or null.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).filter(|v| !v.is_null())
    }

    /// A whole number from `least` on.
    pub fn count(&self, name: &str, least: usize, default: usize) -> Result<usize, MethodError> {
        count(name, self.value(name), least, default)
    }

    /// A finite number.
    pub fn number(&self, name: &str, default: f64) -> Result<f64, MethodError> {
        number(name, self.value(name), default)
    }

    /// A truth value.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, MethodError> {
        match self.value(name) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(*b),
            Some(other) => Err(wrong(name, other, "true or false")),
        }
    }

    /// A word; `default` where there is something else.
    pub fn word(&self, name: &str, default: &'a str) -> &'a str {
        self.value(name).and_then(Value::as_str).unwrap_or(default)
    }

    /// A whole number from 1 on that a table of patterns may change for the module.
    pub fn count_by_module(
        &self,
        name: &str,
        patterns: &str,
        default: usize,
    ) -> Result<usize, MethodError> {
        match self.matching(patterns)? {
            Some((key, value)) => count(&format!("{patterns}.{key}"), Some(value), 1, default),
            None => self.count(name, 1, default),
        }
    }

    /// A finite number that a table of patterns may change for the module.
    pub fn number_by_module(
        &self,
        name: &str,
        patterns: &str,
        default: f64,
    ) -> Result<f64, MethodError> {
        match self.matching(patterns)? {
            Some((key, value)) => number(&format!("{patterns}.{key}"), Some(value), default),
            None => self.number(name, default),
        }
    }

    /// The entry of the table `patterns` whose key matches the module: the whole name, or its end
    /// after a dot. Keys are regular expressions.
    fn matching(&self, patterns: &str) -> Result<Option<(&'a String, &'a Value)>, MethodError> {
        let Some(table) = self.value(patterns) else {
            return Ok(None);
        };
        let wanted = "an object of patterns and numbers";
        let table = table
            .as_object()
            .ok_or_else(|| wrong(patterns, table, wanted))?;
        for (key, value) in table {
            let anchored = Regex::new(&format!(r"^(.*\.)?({key})$"));
            let pattern = anchored
                .map_err(|_| wrong(patterns, &Value::from(key.as_str()), "a regular expression"))?;
            if pattern.is_match(self.module) {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }

    /// An error where one of these options is set: they change what is computed, and are not done
    /// here.
    pub fn refuse(&self, names: &[&str]) -> Result<(), MethodError> {
        for name in names {
            let idle = match self.value(name) {
                None | Some(Value::Bool(false)) => true,
                Some(Value::Object(o)) => o.is_empty(),
                Some(Value::Array(a)) => a.is_empty(),
                Some(_) => false,
            };
            if let (false, Some(value)) = (idle, self.value(name)) {
                return Err(MethodError::Unsupported {
                    option: name.to_string(),
                    value: value.to_string(),
                });
            }
        }
        Ok(())
    }

    /// The error of an option with a wrong value.
    pub fn wrong(&self, name: &str, wanted: &'static str) -> MethodError {
        wrong(name, self.value(name).unwrap_or(&Value::Null), wanted)
    }
}

fn wrong(name: &str, value: &Value, wanted: &'static str) -> MethodError {
    MethodError::Option {
        option: name.to_string(),
        value: value.to_string(),
        wanted,
    }
}

fn count(
    name: &str,
    value: Option<&Value>,
    least: usize,
    default: usize,
) -> Result<usize, MethodError> {
    let Some(value) = value else {
        return Ok(default);
    };
    let wanted = match least {
        0 => "a whole number of at least 0",
        _ => "a whole number of at least 1",
    };
    let found = value.as_u64().and_then(|x| usize::try_from(x).ok());
    found
        .filter(|x| *x >= least)
        .ok_or_else(|| wrong(name, value, wanted))
}

fn number(name: &str, value: Option<&Value>, default: f64) -> Result<f64, MethodError> {
    let Some(value) = value else {
        return Ok(default);
    };
    let found = value.as_f64().filter(|x| x.is_finite());
    found.ok_or_else(|| wrong(name, value, "a finite number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug)]
    struct Nothing;

    impl Saved for Nothing {
        fn shape(&self, _: &str, _: &str) -> Option<Vec<usize>> {
            None
        }
    }

    fn rank(module: &str) -> Result<usize, MethodError> {
        let values = json!({
            "r": 4,
            "rank_pattern": {"up": 2, r"layers\.[01]\.down": 7, "^down": 9, "bad": 0},
        });
        let values = values.as_object().unwrap();
        let options = Options::of_module(values, module, Shape::new(1, 1), true, &Nothing);
        options.count_by_module("r", "rank_pattern", 8)
    }

    #[test]
    fn patterns_match_the_end_of_a_name() {
        assert_eq!(rank("model.up"), Ok(2));
        assert_eq!(rank("up"), Ok(2));
        assert_eq!(rank("model.setup"), Ok(4));
        assert_eq!(rank("model.layers.1.down"), Ok(7));
        assert_eq!(rank("down"), Ok(9));
        let error = rank("bad").unwrap_err().to_string();
        assert!(error.contains("`rank_pattern.bad` is 0"), "{error}");
    }

    #[test]
    fn what_is_set_and_not_done_is_refused() {
        let values = json!({"a": null, "b": false, "c": {}, "d": []});
        let options = Options::new(values.as_object().unwrap(), Shape::new(1, 1));
        assert!(options.refuse(&["a", "b", "c", "d", "e"]).is_ok());
        let values = json!({"use_qalora": true});
        let options = Options::new(values.as_object().unwrap(), Shape::new(1, 1));
        let error = options.refuse(&["use_qalora"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`use_qalora` is true, which is not supported"
        );
    }
}
