//! GGUF, version 3: the files in which llama.cpp keeps quantised language models
//! (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).

mod blocks;
mod reader;
#[cfg(test)]
mod tests;

pub use blocks::Kind;

use reader::Reader;
use std::collections::BTreeMap;

/// What a file begins with.
const MAGIC: &[u8] = b"GGUF";
/// The version that is read.
const VERSION: u32 = 3;
/// The most axes of a tensor.
const MOST_AXES: u32 = 4;
/// Tensors begin at multiples of so many bytes, unless the file says otherwise.
const ALIGNMENT: u64 = 32;

/// Why a file cannot be read, or does not hold what is asked for: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct GgufError {
    /// The header, a key of the metadata or a tensor.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl GgufError {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Whole numbers of all widths.
    Integer(i64),
    /// Real numbers of both widths.
    Real(f64),
    /// A truth value.
    Flag(bool),
    /// A text.
    Text(&'a str),
    /// A list of whole numbers or truth values.
    Integers(Vec<i64>),
    /// A list of real numbers.
    Reals(Vec<f64>),
    /// A list of texts.
    Texts(Vec<&'a str>),
}

impl Value<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Value::Integer(_) => "a whole number",
            Value::Real(_) => "a real number",
            Value::Flag(_) => "a truth value",
            Value::Text(_) => "a text",
            Value::Integers(_) => "a list of whole numbers",
            Value::Reals(_) => "a list of real numbers",
            Value::Texts(_) => "a list of texts",
        }
    }
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// Sizes of its axes; neighbours along the first one are neighbours in the file.
    pub shape: Vec<usize>,
    /// How its elements are kept.
    pub kind: Kind,
    bytes: &'a [u8],
}

/// An opened file. Nothing is copied but numbers of the metadata, and no length that the file states is
/// believed before the bytes are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf<'a> {
    metadata: BTreeMap<&'a str, Value<'a>>,
    tensors: BTreeMap<&'a str, TensorInfo<'a>>,
}

/// A tensor of the list, before the data behind the list is known.
struct Listed<'a> {
    name: &'a str,
    shape: Vec<usize>,
    kind: Kind,
    offset: u64,
    length: usize,
}

impl<'a> Gguf<'a> {
    /// Reads the header, the metadata and the list of tensors of `file`, and checks that each tensor lies
    /// inside the file. Fails where the file is damaged, breaks off, is of another version or holds
    /// tensors of a kind that is not read.
    pub fn read(file: &'a [u8]) -> Result<Self, GgufError> {
        let mut reader = Reader::new(file);
        let magic = reader.take(MAGIC.len(), "header")?;
        if magic != MAGIC {
            return Err(GgufError::new("header", "does not begin with `GGUF`"));
        }
        let version = reader.u32("header, version")?;
        if version != VERSION {
            let message = format!("version {version}, expected {VERSION}");
            return Err(GgufError::new("header", message));
        }
        let tensors = reader.u64("header, number of tensors")?;
        let entries = reader.u64("header, number of entries")?;
        let mut metadata = BTreeMap::new();
        for number in 0..entries {
            let key = reader.text(&format!("metadata, key {number}"))?;
            let value = reader.value(key)?;
            if metadata.insert(key, value).is_some() {
                return Err(GgufError::new(key, "occurs twice"));
            }
        }
        let mut listed = Vec::new();
        for number in 0..tensors {
            listed.push(list(&mut reader, number)?);
        }
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(Value::Integer(n)) if *n > 0 && n % 8 == 0 => n.unsigned_abs(),
            Some(other) => {
                let message = format!("{other:?} is no multiple of 8");
                return Err(GgufError::new("general.alignment", message));
            }
        };
        let data = reader.data(alignment);
        let mut tensors = BTreeMap::new();
        for tensor in listed {
            let info = tensor.place(data, alignment)?;
            if tensors.insert(tensor.name, info).is_some() {
                return Err(GgufError::new(tensor.name, "occurs twice"));
            }
        }
        Ok(Self { metadata, tensors })
    }

    /// The value of `key`. Fails where there is none.
    pub fn value(&self, key: &str) -> Result<&Value<'a>, GgufError> {
        self.metadata
            .get(key)
            .ok_or_else(|| GgufError::new(key, "is missing in the metadata"))
    }

    fn wrong<T>(&self, key: &str, wanted: &str) -> Result<T, GgufError> {
        let kind = self.value(key)?.kind();
        let message = format!("is {kind}, expected {wanted}");
        Err(GgufError::new(key, message))
    }

    /// The whole number at `key`.
    pub fn integer(&self, key: &str) -> Result<i64, GgufError> {
        match self.value(key)? {
            Value::Integer(n) => Ok(*n),
            _ => self.wrong(key, "a whole number"),
        }
    }

    /// The real number at `key`.
    pub fn real(&self, key: &str) -> Result<f64, GgufError> {
        match self.value(key)? {
            Value::Real(x) => Ok(*x),
            _ => self.wrong(key, "a real number"),
        }
    }

    /// The text at `key`.
    pub fn text(&self, key: &str) -> Result<&'a str, GgufError> {
        match self.value(key)? {
            Value::Text(text) => Ok(text),
            _ => self.wrong(key, "a text"),
        }
    }

    /// The list of texts at `key`.
    pub fn texts(&self, key: &str) -> Result<&[&'a str], GgufError> {
        match self.value(key)? {
            Value::Texts(texts) => Ok(texts),
            _ => self.wrong(key, "a list of texts"),
        }
    }

    /// The list of whole numbers at `key`.
    pub fn integers(&self, key: &str) -> Result<&[i64], GgufError> {
        match self.value(key)? {
            Value::Integers(numbers) => Ok(numbers),
            _ => self.wrong(key, "a list of whole numbers"),
        }
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.tensors.keys().copied()
    }

    /// The tensor `name`. Fails where there is none, and where it is of another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo<'a>, GgufError> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| GgufError::new(name, "is missing among the tensors"))?;
        if tensor.shape != shape {
            let message = format!("has shape {:?}, expected {shape:?}", tensor.shape);
            return Err(GgufError::new(name, message));
        }
        Ok(tensor)
    }

    /// The elements of the tensor `name`, which must be of this shape.
    pub fn elements(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, GgufError> {
        let tensor = self.tensor(name, shape)?;
        Ok(tensor.kind.elements(tensor.bytes))
    }
}

/// Reads one tensor of the list.
fn list<'a>(reader: &mut Reader<'a>, number: u64) -> Result<Listed<'a>, GgufError> {
    let field = format!("tensor {number}, name");
    let name = reader.text(&field)?;
    if name.is_empty() {
        return Err(GgufError::new(field, "is empty"));
    }
    let axes = reader.u32(name)?;
    if axes == 0 || axes > MOST_AXES {
        let message = format!("{axes} axes, expected 1 to {MOST_AXES}");
        return Err(GgufError::new(name, message));
    }
    let mut shape = Vec::new();
    for _ in 0..axes {
        let size = reader.u64(name)?;
        let size = usize::try_from(size)
            .map_err(|_| GgufError::new(name, format!("an axis of {size} elements")))?;
        shape.push(size);
    }
    let code = reader.u32(name)?;
    let kind = Kind::of(code).ok_or_else(|| {
        let known = Kind::ALL.map(|kind| format!("{kind:?}")).join(", ");
        GgufError::new(name, format!("is of type {code}; what is read is {known}"))
    })?;
    let offset = reader.u64(name)?;
    let length = kind
        .bytes(&shape)
        .ok_or_else(|| GgufError::new(name, format!("{shape:?} is no shape of {kind:?}")))?;
    Ok(Listed {
        name,
        shape,
        kind,
        offset,
        length,
    })
}

impl Listed<'_> {
    /// Finds the tensor's bytes in the data behind the list.
    fn place<'a>(&self, data: &'a [u8], alignment: u64) -> Result<TensorInfo<'a>, GgufError> {
        if !self.offset.is_multiple_of(alignment) {
            let message = format!("begins at {}, no multiple of {alignment}", self.offset);
            return Err(GgufError::new(self.name, message));
        }
        let bytes = usize::try_from(self.offset)
            .ok()
            .and_then(|from| data.get(from..from.checked_add(self.length)?))
            .ok_or_else(|| {
                let (length, from, all) = (self.length, self.offset, data.len());
                let message =
                    format!("{length} bytes from {from} on, of {all}: the file breaks off");
                GgufError::new(self.name, message)
            })?;
        Ok(TensorInfo {
            shape: self.shape.clone(),
            kind: self.kind,
            bytes,
        })
    }
}
