//! US flights of the first half of 2001, as examples for a click-through style model: will a flight
//! arrive 15 minutes late or later? Flight delays, not advertising.

mod parquet;
mod sample;

pub use parquet::parse_parquet;

use super::Embedded;
use super::fetched::FLIGHTS3M;
use std::sync::Arc;
use velodrome_harness::contract::{
    DataSource, Dataset, HostBatch, HostField, HostValues, Splits, WorkloadError,
};
use velodrome_harness::seed::mix;

pub(super) const FILE: Embedded = Embedded {
    file: "flights_100k.gz",
    sha256: "627890e96cd6262827202e35c848296e2e3dbfadadad05e364ff6d1a62ed179a",
    bytes: include_bytes!("../../../data/flights_100k.gz"),
};

/// SHA-256 of the package's `data/flights-3m.parquet`.
const WHOLE_SHA256: &str = "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0";

/// Minutes of a day.
const DAY: u32 = 1440;
/// The last minute that a flight can have: the first of 1 July 2001.
const LAST_MINUTE: u32 = 181 * DAY;

/// A route: positions of its ends among the airports, and miles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Airport of the departure.
    pub origin: u8,
    /// Airport of the arrival.
    pub destination: u8,
    /// Length in miles.
    pub miles: u16,
}

/// A flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// Minute of the (actual) departure, counted from midnight of 1 January 2001, a Monday.
    pub minute: u32,
    /// Position of its route in the table of routes.
    pub route: u16,
    /// Whether it arrived 15 minutes late or later.
    pub late: bool,
}

/// Flights in the order of their departure, with the tables that they refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    /// Codes of the airports, sorted.
    pub airports: Vec<[u8; 3]>,
    /// The routes, sorted.
    pub routes: Vec<Route>,
    /// The flights.
    pub flights: Vec<Flight>,
}

/// Which categorical features an example has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Origin, destination, route, weekday, hour, day, minute of the hour.
    Plain,
    /// These and three pairs: origin and day, destination and day, origin and hour of the week.
    Crossed,
}

impl Columns {
    /// Values of each feature.
    pub const fn sizes(self) -> &'static [usize] {
        const SIZES: [usize; 10] = {
            let (airports, days) = (Flights::AIRPORTS, 182);
            [
                airports,
                airports,
                Flights::ROUTES,
                7,
                24,
                days,
                60,
                airports * days,
                airports * days,
                airports * 168,
            ]
        };
        match self {
            Columns::Plain => SIZES.split_at(7).0,
            Columns::Crossed => &SIZES,
        }
    }

    /// Rows of an embedding table in which each feature has rows of its own.
    pub fn rows(self) -> usize {
        self.sizes().iter().sum()
    }
}

/// One split. Gives the fields `dense` (real, `[examples, 5]`: `ln(1 + miles) - 6.5`, the time of the day
/// from -1 to 1, its sine and cosine, the day from -1 to 1), `category` (integer, `[examples, columns]`:
/// rows of one embedding table, each feature behind the one before it) and `label` (integer,
/// `[examples]`: 1 for late).
#[derive(Debug, Clone)]
pub struct FlightSplit {
    routes: Arc<[Route]>,
    flights: Vec<Flight>,
    columns: Columns,
}

impl FlightSplit {
    /// The flights, in the order of their departure.
    pub fn flights(&self) -> &[Flight] {
        &self.flights
    }
}

impl Dataset for FlightSplit {
    fn len(&self) -> usize {
        self.flights.len()
    }

    /// Indices that are not below the length are left out.
    fn batch(&self, indices: &[usize]) -> HostBatch {
        let sizes = self.columns.sizes();
        let mut dense = Vec::with_capacity(indices.len() * Flights::DENSE);
        let mut category = Vec::with_capacity(indices.len() * sizes.len());
        let mut label = Vec::with_capacity(indices.len());
        for &index in indices {
            let Some(flight) = self.flights.get(index) else {
                continue;
            };
            let Some(route) = self.routes.get(usize::from(flight.route)) else {
                continue;
            };
            dense.extend(dense_features(flight, route));
            let mut before = 0;
            for (value, size) in categories(flight, route).into_iter().zip(sizes) {
                category.push((before + value) as i32);
                before += size;
            }
            label.push(i32::from(flight.late));
        }
        let examples = label.len();
        let field = |name, width: Option<usize>, values| HostField {
            name,
            shape: std::iter::once(examples).chain(width).collect(),
            values,
        };
        HostBatch {
            fields: vec![
                field("dense", Some(Flights::DENSE), HostValues::Float(dense)),
                field("category", Some(sizes.len()), HostValues::Int(category)),
                field("label", None, HostValues::Int(label)),
            ],
            examples,
            units: examples,
        }
    }
}

fn dense_features(flight: &Flight, route: &Route) -> [f32; Flights::DENSE] {
    let day = f64::from(flight.minute / DAY);
    let time = f64::from(flight.minute % DAY) / f64::from(DAY);
    let angle = std::f64::consts::TAU * time;
    [
        f64::from(route.miles).ln_1p() - 6.5,
        2.0 * time - 1.0,
        angle.sin(),
        angle.cos(),
        day / 90.5 - 1.0,
    ]
    .map(|x| x as f32)
}

/// Values of all features of [`Columns::Crossed`], of which the first are those of [`Columns::Plain`].
fn categories(flight: &Flight, route: &Route) -> [usize; 10] {
    let (origin, destination) = (usize::from(route.origin), usize::from(route.destination));
    let day = (flight.minute / DAY) as usize;
    let hour = (flight.minute % DAY / 60) as usize;
    let weekday = day % 7;
    [
        origin,
        destination,
        usize::from(flight.route),
        weekday,
        hour,
        day,
        (flight.minute % 60) as usize,
        origin * 182 + day,
        destination * 182 + day,
        origin * 168 + weekday * 24 + hour,
    ]
}

/// The flights.
///
/// The split is fixed by a hash of what is known of a flight before it arrives (minute, origin,
/// destination, miles): of 20 equal shares one goes to validation, one to test, the others to training.
/// So two flights that look the same are in the same split, and a flight of the sample is in the
/// split that it has in the whole. Days are shared by all splits: this measures training, not
/// forecasting.
pub struct Flights;

impl Flights {
    /// Real features.
    pub const DENSE: usize = 5;
    /// Airports.
    pub const AIRPORTS: usize = 229;
    /// Routes.
    pub const ROUTES: usize = 3399;
    /// Training, validation and test flights of the sample.
    pub const SPLIT_SIZES: [usize; 3] = [89_923, 5_026, 5_051];
    /// Training, validation and test flights of the whole.
    pub const WHOLE_SPLIT_SIZES: [usize; 3] = [2_699_841, 150_024, 150_135];

    /// Where the sample comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "US flights of 2001, 100,000 of them: delays, not advertising".into(),
            source: "vega-datasets 3.2.1 (npm), data/flights-3m.parquet".into(),
            licence: "no terms stated (data of the US Department of Transportation, 14 CFR part \
                      234), BSD-3-Clause (package)"
                .into(),
            sha256: FILE.sha256.into(),
        }
    }

    /// Where the whole comes from.
    pub fn whole_source() -> DataSource {
        DataSource {
            name: "US flights of 2001, three million: delays, not advertising".into(),
            sha256: WHOLE_SHA256.into(),
            ..Self::source()
        }
    }

    /// Opens the sample.
    pub fn open(workload: &str) -> Result<[FlightSplit; 3], WorkloadError> {
        let content = FILE.unpack(workload)?;
        let timetable = sample::parse(&content).map_err(|m| FILE.fault(workload, &m))?;
        split(timetable, Columns::Plain, Self::SPLIT_SIZES).map_err(|m| FILE.fault(workload, &m))
    }

    /// Opens the whole, the fetched set `flights3m`.
    pub fn open_whole(workload: &str) -> Result<[FlightSplit; 3], WorkloadError> {
        let (archive, file) = ("vega-datasets-3.2.1.tgz", "package/data/flights-3m.parquet");
        let bytes = FLIGHTS3M.member(workload, archive, file)?;
        Self::whole(bytes).map_err(|message| WorkloadError::Data {
            workload: workload.to_string(),
            message: format!("{file} in {archive}: {message}"),
        })
    }

    /// The whole, from the bytes of flights-3m.parquet.
    pub fn whole(bytes: Vec<u8>) -> Result<[FlightSplit; 3], String> {
        let timetable = parse_parquet(bytes)?;
        let found = (timetable.airports.len(), timetable.routes.len());
        if found != (Self::AIRPORTS, Self::ROUTES) {
            return Err(format!(
                "holds {} airports and {} routes, expected {} and {}",
                found.0,
                found.1,
                Self::AIRPORTS,
                Self::ROUTES
            ));
        }
        split(timetable, Columns::Crossed, Self::WHOLE_SPLIT_SIZES)
    }
}

/// The three splits as the harness takes them.
pub fn flight_splits([train, validation, test]: [FlightSplit; 3]) -> Splits {
    Splits::new(train, validation, test)
}

/// 0, 1 or 2: training, validation or test.
fn split_of(flight: &Flight, route: &Route) -> usize {
    let known = u64::from(flight.minute)
        | u64::from(route.origin) << 32
        | u64::from(route.destination) << 40
        | u64::from(route.miles) << 48;
    match mix(known, 0) % 20 {
        0 => 1,
        1 => 2,
        _ => 0,
    }
}

/// Splits the flights and checks the sizes.
fn split(
    timetable: Timetable,
    columns: Columns,
    expected: [usize; 3],
) -> Result<[FlightSplit; 3], String> {
    let routes: Arc<[Route]> = timetable.routes.into();
    let mut splits = [(); 3].map(|()| FlightSplit {
        routes: routes.clone(),
        flights: Vec::new(),
        columns,
    });
    for flight in timetable.flights {
        if let Some(route) = routes.get(usize::from(flight.route)) {
            splits[split_of(&flight, route)].flights.push(flight);
        }
    }
    let found = [0, 1, 2].map(|i| splits[i].flights.len());
    if found != expected {
        return Err(format!(
            "splits into {found:?} flights, expected {expected:?}"
        ));
    }
    Ok(splits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(batch: &HostBatch) -> (Vec<f32>, Vec<i32>, Vec<i32>) {
        match [0, 1, 2].map(|i| batch.fields[i].values.clone()) {
            [HostValues::Float(d), HostValues::Int(c), HostValues::Int(l)] => (d, c, l),
            _ => panic!("fields of other types"),
        }
    }

    #[test]
    fn features_by_hand() {
        let routes: Arc<[Route]> = [
            Route {
                origin: 0,
                destination: 1,
                miles: 9,
            },
            Route {
                origin: 228,
                destination: 3,
                miles: 1999,
            },
        ]
        .into();
        let flights = vec![
            Flight {
                minute: 0,
                route: 0,
                late: false,
            },
            // Tuesday 9 January, 18:07.
            Flight {
                minute: 8 * 1440 + 18 * 60 + 7,
                route: 1,
                late: true,
            },
        ];
        let data = FlightSplit {
            routes,
            flights,
            columns: Columns::Crossed,
        };
        let batch = data.batch(&[1, 7, 0]);
        assert_eq!(batch.examples, 2);
        assert_eq!(batch.fields[0].shape, [2, 5]);
        assert_eq!(batch.fields[1].shape, [2, 10]);
        let (dense, category, label) = fields(&batch);
        assert_eq!(label, [1, 0]);
        let time: f64 = (18.0 * 60.0 + 7.0) / 1440.0;
        let expected = [
            2000f64.ln() - 6.5,
            2.0 * time - 1.0,
            (2.0 * std::f64::consts::PI * time).sin(),
            (2.0 * std::f64::consts::PI * time).cos(),
            8.0 / 90.5 - 1.0,
            10f64.ln() - 6.5,
            -1.0,
            0.0,
            1.0,
            -1.0,
        ];
        for (found, expected) in dense.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6);
        }
        let sizes = [229, 229, 3399, 7, 24, 182, 60, 41678, 41678, 38472];
        assert_eq!(Columns::Crossed.sizes(), sizes);
        assert_eq!(Columns::Plain.sizes(), &sizes[..7]);
        let values = [
            228,
            3,
            1,
            1,
            18,
            8,
            7,
            228 * 182 + 8,
            3 * 182 + 8,
            228 * 168 + 24 + 18,
        ];
        let mut before = 0;
        for (at, (value, size)) in values.into_iter().zip(sizes).enumerate() {
            assert_eq!(category[at], before + value);
            before += size as i32;
        }
        assert_eq!(before as usize, Columns::Crossed.rows());
    }

    #[test]
    fn all_rows_of_the_table_are_in_range_and_each_split_has_its_share_of_late_flights() {
        for split in Flights::open("test").unwrap() {
            let all: Vec<usize> = (0..split.len()).collect();
            let (dense, category, label) = fields(&split.batch(&all));
            assert!(dense.iter().all(|x| x.abs() <= 3.5));
            let mut from = 0;
            for (column, size) in Columns::Plain.sizes().iter().enumerate() {
                let range = from..from + *size as i32;
                let values = category.iter().skip(column).step_by(7);
                assert!(values.clone().all(|v| range.contains(v)), "column {column}");
                from = range.end;
            }
            let late = label.iter().sum::<i32>() as f64 / split.len() as f64;
            assert!((late - 0.206).abs() < 0.02, "{late}");
        }
    }

    #[test]
    fn flights_that_look_the_same_are_in_one_split() {
        use std::collections::HashSet;
        let splits = Flights::open("test").unwrap();
        let seen = |split: &FlightSplit| -> HashSet<(u32, u16)> {
            split.flights.iter().map(|f| (f.minute, f.route)).collect()
        };
        let [a, b, c] = [0, 1, 2].map(|i| seen(&splits[i]));
        assert!(a.is_disjoint(&b) && a.is_disjoint(&c) && b.is_disjoint(&c));
    }
}
