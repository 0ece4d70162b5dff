//! The three million flights, from the package's parquet file.

use super::{Flight, LAST_MINUTE, Route, Timetable};
use polars_arrow::array::{Array, PrimitiveArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_buffer::Buffer;
use polars_parquet::read::{
    BasicDecompressor, ColumnChunkMetadata, PageReader, column_iter_to_arrays, read_metadata,
};
use std::collections::BTreeSet;
use std::io::Cursor;

/// Microseconds from 1970 to 2001.
const YEAR_2001: i64 = 978_307_200_000_000;
/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;
/// The least delay of a late flight, in minutes.
const LATE: i64 = 15;

/// A flight as it stands in the file.
struct Row {
    minute: u32,
    late: bool,
    miles: u16,
    origin: [u8; 3],
    destination: [u8; 3],
}

/// Reads the columns `date` (microseconds since 1970), `delay` (minutes), `distance` (miles),
/// `origin` and `destination` (three capital letters) of a parquet file. Fails with the number of
/// the row, counted from 1, where a value is missing or out of range.
pub fn parse_parquet(bytes: Vec<u8>) -> Result<Timetable, String> {
    let bytes = Buffer::from(bytes);
    let metadata = read_metadata(&mut Cursor::new(bytes.clone())).map_err(|e| e.to_string())?;
    let mut rows = Vec::new();
    for group in &metadata.row_groups {
        let column = |name: &str| {
            let mut found = group.parquet_columns().iter();
            found
                .find(|c| {
                    c.descriptor()
                        .path_in_schema
                        .first()
                        .is_some_and(|n| n == name)
                })
                .ok_or_else(|| format!("has no column `{name}`"))
        };
        let numbers = |name: &str| numbers(&bytes, column(name)?, name, rows.len());
        let codes = |name: &str| codes(&bytes, column(name)?, name, rows.len());
        let (dates, delays, miles) = (numbers("date")?, numbers("delay")?, numbers("distance")?);
        let (origins, destinations) = (codes("origin")?, codes("destination")?);
        let count = dates.len();
        let lengths = [delays.len(), miles.len(), origins.len(), destinations.len()];
        if lengths.iter().any(|length| *length != count) {
            return Err(format!(
                "columns of different lengths behind row {}",
                rows.len()
            ));
        }
        let ends = origins.into_iter().zip(destinations);
        for (((date, delay), miles), (origin, destination)) in
            dates.into_iter().zip(delays).zip(miles).zip(ends)
        {
            let number = rows.len() + 1;
            rows.push(Row {
                minute: minute(date).map_err(|m| format!("row {number}: {m}"))?,
                late: delay >= LATE,
                miles: u16::try_from(miles)
                    .map_err(|_| format!("row {number}: a distance of {miles} miles"))?,
                origin,
                destination,
            });
        }
    }
    timetable(&rows)
}

fn minute(date: i64) -> Result<u32, String> {
    let since = date.saturating_sub(YEAR_2001);
    u32::try_from(since / MINUTE)
        .ok()
        .filter(|minute| since >= 0 && since % MINUTE == 0 && *minute <= LAST_MINUTE)
        .ok_or_else(|| format!("date {date} is no minute of the first half of 2001"))
}

/// Numbers airports and routes in the order of their codes.
fn timetable(rows: &[Row]) -> Result<Timetable, String> {
    let airports: BTreeSet<[u8; 3]> = rows
        .iter()
        .flat_map(|r| [r.origin, r.destination])
        .collect();
    let airports: Vec<[u8; 3]> = airports.into_iter().collect();
    let place = |code: &[u8; 3]| {
        let at = airports.binary_search(code).unwrap_or(usize::MAX);
        u8::try_from(at).map_err(|_| format!("holds {} airports, more than 256", airports.len()))
    };
    let route = |row: &Row| {
        Ok::<_, String>(Route {
            origin: place(&row.origin)?,
            destination: place(&row.destination)?,
            miles: row.miles,
        })
    };
    let all = rows.iter().map(route).collect::<Result<Vec<_>, _>>()?;
    let routes: Vec<Route> = all
        .iter()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let flight = |(row, route): (&Row, &Route)| {
        let at = routes.binary_search(route).unwrap_or(usize::MAX);
        Ok::<_, String>(Flight {
            minute: row.minute,
            route: u16::try_from(at)
                .map_err(|_| format!("holds {} routes, more than 65536", routes.len()))?,
            late: row.late,
        })
    };
    let flights = rows
        .iter()
        .zip(&all)
        .map(flight)
        .collect::<Result<_, _>>()?;
    Ok(Timetable {
        airports,
        routes,
        flights,
    })
}

/// The arrays of one column of one row group.
fn arrays(
    bytes: &Buffer<u8>,
    column: &ColumnChunkMetadata,
    name: &str,
    dtype: ArrowDataType,
) -> Result<Vec<Box<dyn Array>>, String> {
    let range = column.byte_range();
    let (from, to) = (range.start as usize, range.end as usize);
    if from > to || to > bytes.len() {
        return Err(format!("is cut short: column `{name}` ends at byte {to}"));
    }
    let chunk = bytes.clone().sliced(from..to);
    let pages = PageReader::new(Cursor::new(chunk), column, vec![], usize::MAX);
    let field = Field::new(name.into(), dtype, true);
    let primitive = &column.descriptor().descriptor.primitive_type;
    let pages = BasicDecompressor::new(pages, vec![]);
    column_iter_to_arrays(vec![pages], vec![primitive], field, None)
        .map(|(arrays, _)| arrays)
        .map_err(|e| format!("column `{name}`: {e}"))
}

/// A column of whole numbers (dates are stored as such); `before` rows came before it.
fn numbers(
    bytes: &Buffer<u8>,
    column: &ColumnChunkMetadata,
    name: &str,
    before: usize,
) -> Result<Vec<i64>, String> {
    let mut values = Vec::new();
    for array in arrays(bytes, column, name, ArrowDataType::Int64)? {
        let array = array
            .as_any()
            .downcast_ref::<PrimitiveArray<i64>>()
            .ok_or_else(|| format!("column `{name}` does not hold whole numbers"))?;
        for value in array.iter() {
            let number = before + values.len() + 1;
            values.push(*value.ok_or_else(|| format!("row {number}: no `{name}`"))?);
        }
    }
    Ok(values)
}

/// A column of codes of airports.
fn codes(
    bytes: &Buffer<u8>,
    column: &ColumnChunkMetadata,
    name: &str,
    before: usize,
) -> Result<Vec<[u8; 3]>, String> {
    let mut values = Vec::new();
    for array in arrays(bytes, column, name, ArrowDataType::Utf8View)? {
        let array = array
            .as_any()
            .downcast_ref::<Utf8ViewArray>()
            .ok_or_else(|| format!("column `{name}` does not hold text"))?;
        for value in array.iter() {
            let number = before + values.len() + 1;
            let value = value.ok_or_else(|| format!("row {number}: no `{name}`"))?;
            let code = <[u8; 3]>::try_from(value.as_bytes()).ok().filter(is_code);
            values.push(code.ok_or_else(|| {
                format!("row {number}: `{name}` is {value:?}, not three capital letters")
            })?);
        }
    }
    Ok(values)
}

/// Whether these are three capital letters.
pub(super) fn is_code(code: &[u8; 3]) -> bool {
    code.iter().all(u8::is_ascii_uppercase)
}
