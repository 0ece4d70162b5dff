//! Where the numbers of a column lie in an Arrow stream file, without reading them.
//!
//! The format: <https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format>. A file is a
//! schema and record batches, each a description and a body; a column of lists has four buffers in the
//! body: validity and offsets of the lists, validity and values of the numbers.

use polars_arrow::datatypes::{ArrowDataType, ArrowSchema};
use polars_arrow::io::ipc::format::ipc::planus::ReadAsRoot;
use polars_arrow::io::ipc::format::ipc::{MessageHeaderRef, MessageRef, RecordBatchRef};
use polars_arrow::io::ipc::read::read_stream_metadata;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The most bytes of a message's description.
const DESCRIPTION: usize = 1 << 24;

/// Numbers that lie one behind the other in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Byte of the first one.
    pub(super) offset: u64,
    /// How many.
    pub(super) len: u64,
}

/// The numbers of a column of lists, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Bytes of a number: 4 or 8, signed, little-endian.
    pub(super) width: u64,
    pub(super) runs: Vec<Run>,
}

/// Finds the numbers of the column `name`, which holds lists of whole numbers in 32 or 64 bits. Errors
/// name the file and the record batch, counted from 1.
pub(super) fn find(path: &Path, name: &str) -> Result<Column, String> {
    let at = |message: String| format!("{}: {message}", path.display());
    let file = File::open(path).map_err(|e| at(e.to_string()))?;
    let end = file.metadata().map_err(|e| at(e.to_string()))?.len();
    let mut reader = BufReader::with_capacity(1 << 12, file);
    let metadata = read_stream_metadata(&mut reader).map_err(|e| {
        at(format!(
            "is no Arrow stream, or breaks off at its start: {e}"
        ))
    })?;
    if !metadata.ipc_schema.is_little_endian {
        return Err(at("has big-endian numbers, which are not handled".into()));
    }
    let place = Place::new(&metadata.schema, name).map_err(at)?;
    let mut column = Column {
        width: place.width,
        runs: Vec::new(),
    };
    for number in 1.. {
        let fault = |message: String| at(format!("message {number}: {message}"));
        let Some(description) = description(&mut reader).map_err(fault)? else {
            break;
        };
        let body = reader.stream_position().map_err(|e| fault(e.to_string()))?;
        let broken = |e: &dyn std::fmt::Display| fault(format!("cannot be read: {e}"));
        let message = MessageRef::read_as_root(&description).map_err(|e| broken(&e))?;
        let length = message.body_length().map_err(|e| broken(&e))?;
        let next = u64::try_from(length)
            .ok()
            .and_then(|length| body.checked_add(length))
            .filter(|next| *next <= end)
            .ok_or_else(|| fault("breaks off: its body ends behind the file".into()))?;
        match message.header().map_err(|e| broken(&e))? {
            Some(MessageHeaderRef::RecordBatch(batch)) => {
                let body = body..next;
                let run = place.run(batch, body, &mut reader).map_err(fault)?;
                if run.len > 0 {
                    column.runs.push(run);
                }
            }
            // Of other columns.
            Some(MessageHeaderRef::DictionaryBatch(_)) => {}
            _ => return Err(fault("is no record batch".into())),
        }
        reader
            .seek(SeekFrom::Start(next))
            .map_err(|e| fault(e.to_string()))?;
    }
    Ok(column)
}

/// The description of the next message; `None` at the end of the stream.
fn description(reader: &mut impl Read) -> Result<Option<Vec<u8>>, String> {
    let mut word = || {
        let mut bytes = [0; 4];
        reader
            .read_exact(&mut bytes)
            .map(|()| i32::from_le_bytes(bytes))
            .map_err(|e| format!("breaks off before the end of the stream: {e}"))
    };
    let (marker, length) = (word()?, word()?);
    let length = usize::try_from(length).ok().filter(|l| *l <= DESCRIPTION);
    let Some(length) = length.filter(|_| marker == -1) else {
        return Err("does not begin as a message does".into());
    };
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    reader
        .read_exact(&mut bytes)
        .map_err(|e| format!("breaks off: {e}"))?;
    Ok(Some(bytes))
}

/// Which parts of a record batch belong to the column.
struct Place {
    /// Its first field node and its first buffer.
    node: usize,
    buffer: usize,
    /// Bytes of an offset.
    offsets: u64,
    /// Bytes of a number.
    width: u64,
}

impl Place {
    fn new(schema: &ArrowSchema, name: &str) -> Result<Self, String> {
        let (mut node, mut buffer) = (0, 0);
        for (field, column) in schema.iter() {
            let dtype = column.dtype();
            if field.as_str() == name {
                let (offsets, inner) = match dtype {
                    ArrowDataType::List(inner) => (4, inner.dtype()),
                    ArrowDataType::LargeList(inner) => (8, inner.dtype()),
                    other => return Err(format!("column `{name}` holds {other:?}, not lists")),
                };
                let width = match inner {
                    ArrowDataType::Int32 => 4,
                    ArrowDataType::Int64 => 8,
                    other => {
                        return Err(format!(
                            "column `{name}` holds lists of {other:?}, not of whole numbers in 32 or \
                             64 bits"
                        ));
                    }
                };
                return Ok(Self {
                    node,
                    buffer,
                    offsets,
                    width,
                });
            }
            let (nodes, buffers) = parts(dtype).ok_or_else(|| {
                format!("column `{field}` before `{name}` holds {dtype:?}, which is not handled")
            })?;
            node += nodes;
            buffer += buffers;
        }
        Err(format!("has no column `{name}`"))
    }

    /// The column's numbers in a record batch with this body.
    fn run(
        &self,
        batch: RecordBatchRef<'_>,
        body: std::ops::Range<u64>,
        file: &mut (impl Read + Seek),
    ) -> Result<Run, String> {
        let broken = |e: &dyn std::fmt::Display| format!("cannot be read: {e}");
        if batch.compression().map_err(|e| broken(&e))?.is_some() {
            return Err("is compressed, which is not handled".into());
        }
        let nodes = batch.nodes().map_err(|e| broken(&e))?;
        let node = |at: usize| {
            let node = nodes.and_then(|nodes| nodes.get(at));
            let node = node.ok_or("has too few field nodes")?;
            if node.null_count() != 0 {
                return Err("has empty places in the column".to_string());
            }
            u64::try_from(node.length()).map_err(|_| "has a negative length".to_string())
        };
        let (lists, numbers) = (node(self.node)?, node(self.node + 1)?);
        let buffers = batch.buffers().map_err(|e| broken(&e))?;
        // The first byte of a buffer that needs `count` values of `size` bytes.
        let buffer = |at: usize, count: u64, size: u64| {
            let buffer = buffers.and_then(|buffers| buffers.get(at));
            let buffer = buffer.ok_or("has too few buffers")?;
            let from = u64::try_from(buffer.offset()).ok();
            let from = from.and_then(|offset| body.start.checked_add(offset));
            let length = u64::try_from(buffer.length()).ok();
            let fits = |(from, length): &(u64, u64)| {
                let needed = count.checked_mul(size);
                let to = from.checked_add(*length);
                needed.is_some_and(|n| n <= *length) && to.is_some_and(|to| to <= body.end)
            };
            let found = from.zip(length).filter(fits);
            found.map(|(from, _)| from).ok_or_else(|| {
                format!("has a buffer that does not hold {count} values or leaves the body")
            })
        };
        if lists == 0 {
            return Ok(Run { offset: 0, len: 0 });
        }
        let ends = buffer(self.buffer + 1, lists.saturating_add(1), self.offsets)?;
        let values = buffer(self.buffer + 3, numbers, self.width)?;
        let mut end_at = |at: u64| {
            let mut bytes = [0; 8];
            let width = self.offsets as usize;
            file.seek(SeekFrom::Start(ends + at * self.offsets))
                .and_then(|_| file.read_exact(&mut bytes[..width]))
                .map_err(|e| broken(&e))?;
            // Negative ones become larger than any number of values.
            Ok::<u64, String>(u64::from_le_bytes(bytes))
        };
        let (first, last) = (end_at(0)?, end_at(lists)?);
        if first > last || last > numbers {
            return Err(format!(
                "has lists from {first} to {last} among {numbers} numbers"
            ));
        }
        Ok(Run {
            offset: values + first * self.width,
            len: last - first,
        })
    }
}

/// Field nodes and buffers of a column.
fn parts(dtype: &ArrowDataType) -> Option<(usize, usize)> {
    use ArrowDataType as D;
    match dtype {
        D::Boolean | D::Int8 | D::Int16 | D::Int32 | D::Int64 => Some((1, 2)),
        D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => Some((1, 2)),
        D::Float16 | D::Float32 | D::Float64 => Some((1, 2)),
        D::Utf8 | D::LargeUtf8 | D::Binary | D::LargeBinary => Some((1, 3)),
        D::List(inner) | D::LargeList(inner) => {
            let (nodes, buffers) = parts(inner.dtype())?;
            Some((nodes + 1, buffers + 2))
        }
        _ => None,
    }
}
