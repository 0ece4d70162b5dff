//! Numbers, texts and values of the metadata, read one behind the other.

use super::{GgufError, Value};

/// A place in a file. All numbers have the lower bytes first.
pub(super) struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self { file, at: 0 }
    }

    /// The next `length` bytes. `field` is named in errors.
    pub(super) fn take(&mut self, length: usize, field: &str) -> Result<&'a [u8], GgufError> {
        let end = self.at.checked_add(length);
        let bytes = end.and_then(|end| self.file.get(self.at..end));
        let Some(bytes) = bytes else {
            let (at, all) = (self.at, self.file.len());
            let message = format!("{length} bytes from {at} on, of {all}: the file breaks off");
            return Err(GgufError::new(field, message));
        };
        self.at += length;
        Ok(bytes)
    }

    fn bytes<const N: usize>(&mut self, field: &str) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N, field)?);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes(field)?))
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes(field)?))
    }

    /// A length in 64 bits and as many bytes of UTF-8.
    pub(super) fn text(&mut self, field: &str) -> Result<&'a str, GgufError> {
        let length = self.u64(field)?;
        // What does not fit is longer than any file.
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX), field)?;
        std::str::from_utf8(bytes).map_err(|e| GgufError::new(field, format!("is not UTF-8: {e}")))
    }

    /// A type and a value of it.
    pub(super) fn value(&mut self, key: &str) -> Result<Value<'a>, GgufError> {
        let code = self.u32(key)?;
        match code {
            6 | 12 => Ok(Value::Real(self.real(code, key)?)),
            7 => Ok(Value::Flag(self.integer(code, key)? != 0)),
            8 => Ok(Value::Text(self.text(key)?)),
            9 => self.list(key),
            _ => Ok(Value::Integer(self.integer(code, key)?)),
        }
    }

    /// A type, a number in 64 bits, and so many values of the type. Memory grows with what is read, not
    /// with the number.
    fn list(&mut self, key: &str) -> Result<Value<'a>, GgufError> {
        let code = self.u32(key)?;
        let count = self.u64(key)?;
        let name = |at: u64| format!("{key}, element {at}");
        match code {
            6 | 12 => {
                let mut numbers = Vec::new();
                for _ in 0..count {
                    numbers.push(self.real(code, key)?);
                }
                Ok(Value::Reals(numbers))
            }
            8 => {
                let mut texts = Vec::new();
                for at in 0..count {
                    let text = self
                        .text(key)
                        .map_err(|e| GgufError::new(name(at), e.message))?;
                    texts.push(text);
                }
                Ok(Value::Texts(texts))
            }
            9 => Err(GgufError::new(key, "is a list of lists, which is not read")),
            _ => {
                let mut numbers = Vec::new();
                for _ in 0..count {
                    numbers.push(self.integer(code, key)?);
                }
                Ok(Value::Integers(numbers))
            }
        }
    }

    fn real(&mut self, code: u32, key: &str) -> Result<f64, GgufError> {
        if code == 6 {
            return Ok(f32::from_le_bytes(self.bytes(key)?).into());
        }
        Ok(f64::from_le_bytes(self.bytes(key)?))
    }

    fn integer(&mut self, code: u32, key: &str) -> Result<i64, GgufError> {
        Ok(match code {
            0 => u8::from_le_bytes(self.bytes(key)?).into(),
            1 => i8::from_le_bytes(self.bytes(key)?).into(),
            2 => u16::from_le_bytes(self.bytes(key)?).into(),
            3 => i16::from_le_bytes(self.bytes(key)?).into(),
            4 => self.u32(key)?.into(),
            5 => i32::from_le_bytes(self.bytes(key)?).into(),
            7 => match self.bytes(key)? {
                [flag @ (0 | 1)] => flag.into(),
                [other] => {
                    let message = format!("{other} is no truth value");
                    return Err(GgufError::new(key, message));
                }
            },
            10 => {
                let number = self.u64(key)?;
                i64::try_from(number)
                    .map_err(|_| GgufError::new(key, format!("{number} is too large")))?
            }
            11 => i64::from_le_bytes(self.bytes(key)?),
            _ => {
                let message = format!("{code} is no type of a value");
                return Err(GgufError::new(key, message));
            }
        })
    }

    /// What lies behind the next multiple of `alignment`.
    pub(super) fn data(&self, alignment: u64) -> &'a [u8] {
        let from = (self.at as u64).checked_next_multiple_of(alignment);
        let from = from.and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.file.get(from..)).unwrap_or(&[])
    }
}
