//! The parquet file of the three million flights.

use polars::prelude::{Column, DataFrame, NamedFrom, ParquetWriter, Series};
use velodrome_workloads::data::{Flights, parse_parquet};

/// Microseconds of a minute of 2001.
fn date(minute: i64) -> i64 {
    978_307_200_000_000 + minute * 60_000_000
}

fn file(dates: &[Option<i64>], miles: &[i64], origins: &[&str]) -> Vec<u8> {
    let column = |series: Series| Column::from(series);
    let n = dates.len();
    let mut frame = DataFrame::new(
        n,
        vec![
            column(Series::new("date".into(), dates)),
            column(Series::new("delay".into(), [15i64, 14, -20][..n].to_vec())),
            column(Series::new("distance".into(), miles)),
            column(Series::new("origin".into(), origins)),
            column(Series::new("destination".into(), vec!["BOS"; n])),
        ],
    )
    .unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
    bytes
}

#[test]
fn flights_are_read_and_numbered() {
    let dates = [Some(date(0)), Some(date(7)), Some(date(260_640))];
    let table = parse_parquet(file(&dates, &[500, 90, 500], &["SFO", "ATL", "SFO"])).unwrap();
    assert_eq!(table.airports, [*b"ATL", *b"BOS", *b"SFO"]);
    let routes: Vec<_> = table
        .routes
        .iter()
        .map(|r| (r.origin, r.destination, r.miles))
        .collect();
    assert_eq!(routes, [(0, 1, 90), (2, 1, 500)]);
    let flights: Vec<_> = table
        .flights
        .iter()
        .map(|f| (f.minute, f.route, f.late))
        .collect();
    assert_eq!(flights, [(0, 1, true), (7, 0, false), (260_640, 1, false)]);
}

#[test]
fn bad_rows_are_named_and_a_cut_file_is_refused() {
    let good = [Some(date(0)), Some(date(7)), Some(date(9))];
    let error = |dates: &[Option<i64>], miles: &[i64], origins: &[&str]| {
        parse_parquet(file(dates, miles, origins)).unwrap_err()
    };
    let (miles, origins) = ([500, 90, 500], ["SFO", "ATL", "SFO"]);
    let hole = [good[0], None, good[2]];
    assert!(error(&hole, &miles, &origins).contains("row 2: no `date`"));
    let early = [good[0], good[1], Some(date(-1))];
    assert!(error(&early, &miles, &origins).contains("row 3: date"));
    let late = [good[0], Some(date(260_641)), good[2]];
    assert!(error(&late, &miles, &origins).contains("row 2: date"));
    assert!(error(&good, &[500, -1, 3], &origins).contains("row 2: a distance of -1"));
    assert!(error(&good, &miles, &["SFO", "AT", "SFO"]).contains("row 2: `origin` is \"AT\""));
    let whole = file(&good, &miles, &origins);
    assert!(parse_parquet(whole[..whole.len() - 9].to_vec()).is_err());
    assert!(parse_parquet(Vec::new()).is_err());
    // Well-formed, and not the package's file.
    let error = Flights::whole(whole).unwrap_err();
    assert!(error.contains("3 airports"), "{error}");
}
