//! Named real numbers in JSON, non-finite ones included.

use std::collections::BTreeMap;

/// Named measurements, for example `loss` and `error_rate`.
pub type Measures = BTreeMap<String, f64>;

/// JSON has no NaN and no infinity; they are written as the strings `"nan"`, `"inf"`, `"-inf"`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Wire {
    Number(f64),
    Word(String),
}

fn to_wire(x: f64) -> Wire {
    if x.is_finite() {
        Wire::Number(x)
    } else if x.is_nan() {
        Wire::Word("nan".into())
    } else if x > 0.0 {
        Wire::Word("inf".into())
    } else {
        Wire::Word("-inf".into())
    }
}

fn from_wire<E: serde::de::Error>(wire: Wire) -> Result<f64, E> {
    match wire {
        Wire::Number(x) => Ok(x),
        Wire::Word(word) => match word.as_str() {
            "nan" => Ok(f64::NAN),
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            other => Err(E::custom(format!("\"{other}\" is not a number"))),
        },
    }
}

/// `#[serde(with = "measures::real")]` for one `f64` that may be NaN or infinite.
pub mod real {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a number, or its name where JSON has no number for it.
    pub fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
        super::to_wire(*x).serialize(s)
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        super::from_wire(super::Wire::deserialize(d)?)
    }
}

/// `#[serde(with = "measures::map")]` for [`Measures`].
pub mod map {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    /// Writes every value as [`super::real`] does.
    pub fn serialize<S: Serializer>(m: &super::Measures, s: S) -> Result<S::Ok, S::Error> {
        m.iter()
            .map(|(k, v)| (k.clone(), super::to_wire(*v)))
            .collect::<BTreeMap<_, _>>()
            .serialize(s)
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<super::Measures, D::Error> {
        BTreeMap::<String, super::Wire>::deserialize(d)?
            .into_iter()
            .map(|(k, v)| Ok((k, super::from_wire(v)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Holder {
        #[serde(with = "map")]
        m: Measures,
    }

    #[test]
    fn non_finite_numbers_survive_a_round_trip() {
        let m: Measures = [
            ("a", f64::NAN),
            ("b", f64::INFINITY),
            ("c", f64::NEG_INFINITY),
            ("d", 0.1 + 0.2),
        ]
        .map(|(k, v)| (k.to_string(), v))
        .into();
        let text = serde_json::to_string(&Holder { m: m.clone() }).unwrap();
        let back: Holder = serde_json::from_str(&text).unwrap();
        assert!(back.m["a"].is_nan());
        assert_eq!(back.m["b"], f64::INFINITY);
        assert_eq!(back.m["c"], f64::NEG_INFINITY);
        assert_eq!(back.m["d"].to_bits(), m["d"].to_bits());
    }

    #[test]
    fn a_word_that_is_no_number_is_refused() {
        assert!(serde_json::from_str::<Holder>(r#"{"m":{"a":"fast"}}"#).is_err());
    }
}
