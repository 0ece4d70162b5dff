//! Named real numbers in JSON, non-finite ones included.

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Named measurements, for example `loss` and `error_rate`.
pub type Measures = BTreeMap<String, f64>;

/// A number that may be NaN or infinite. JSON has neither; they are written as the strings `"nan"`,
/// `"inf"`, `"-inf"`.
pub(crate) struct Real(pub f64);

impl Serialize for Real {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            x if x.is_finite() => s.serialize_f64(x),
            x if x.is_nan() => s.serialize_str("nan"),
            x if x > 0.0 => s.serialize_str("inf"),
            _ => s.serialize_str("-inf"),
        }
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Real;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"nan\", \"inf\" or \"-inf\"")
            }

            fn visit_f64<E: Error>(self, x: f64) -> Result<Real, E> {
                Ok(Real(x))
            }

            fn visit_u64<E: Error>(self, x: u64) -> Result<Real, E> {
                Ok(Real(x as f64))
            }

            fn visit_i64<E: Error>(self, x: i64) -> Result<Real, E> {
                Ok(Real(x as f64))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Real, E> {
                match word {
                    "nan" => Ok(Real(f64::NAN)),
                    "inf" => Ok(Real(f64::INFINITY)),
                    "-inf" => Ok(Real(f64::NEG_INFINITY)),
                    other => Err(E::custom(format!("\"{other}\" is not a number"))),
                }
            }
        }
        d.deserialize_any(Number)
    }
}

/// `#[serde(with = "measures::real")]` for one `f64` that may be NaN or infinite.
pub mod real {
    use super::{Deserialize, Deserializer, Real, Serialize, Serializer};

    /// Writes a number, or its name where JSON has no number for it.
    pub fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
        Real(*x).serialize(s)
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Ok(Real::deserialize(d)?.0)
    }
}

/// `#[serde(with = "measures::map")]` for [`Measures`].
pub mod map {
    use super::{Deserializer, MapAccess, Measures, Real, Serializer, Visitor, fmt};

    /// Writes every value as [`super::real`] does.
    pub fn serialize<S: Serializer>(m: &Measures, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(m.iter().map(|(name, x)| (name, Real(*x))))
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Measures, D::Error> {
        // One map at once: a map of `Real` would have to be copied, and a log has thousands of lines.
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Measures;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of measures")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Measures, A::Error> {
                let mut measures = Measures::new();
                while let Some((name, Real(x))) = map.next_entry()? {
                    measures.insert(name, x);
                }
                Ok(measures)
            }
        }
        d.deserialize_map(Map)
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
    fn what_is_no_number_is_refused() {
        for (value, part) in [
            ("\"fast\"", "\"fast\" is not a number"),
            ("true", "expected a number"),
            ("{}", "expected a number"),
        ] {
            let text = format!("{{\"m\":{{\"a\":{value}}}}}");
            let error = serde_json::from_str::<Holder>(&text).err().unwrap();
            assert!(error.to_string().contains(part), "{error}");
        }
        let whole: Holder = serde_json::from_str(r#"{"m":{"a":3,"b":-3}}"#).unwrap();
        assert_eq!((whole.m["a"], whole.m["b"]), (3.0, -3.0));
    }
}
