//! US flights of the first half of 2001, as examples for a click-through style model: will a flight
//! arrive 15 minutes late or later? Flight delays, not advertising.

mod examples;
mod parquet;
mod sample;

pub use examples::FlightSplit;
pub use parquet::parse_parquet;

use super::Embedded;
use super::fetched::FLIGHTS3M;
use std::sync::Arc;
use velodrome_harness::contract::{DataSource, Splits, WorkloadError};
use velodrome_harness::seed::mix;

pub(super) const FILE: Embedded = Embedded {
    file: "flights_400k.gz",
    sha256: "3499e743ff3ec69b24804545d679f0bed0e68f143c942f6d74afbcde0d449adb",
    bytes: include_bytes!("../../../data/flights_400k.gz"),
};

/// SHA-256 of the package's `data/flights-3m.parquet`.
const WHOLE_SHA256: &str = "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0";

/// Minutes of a day.
const DAY: u32 = 1440;
/// Days that a flight can have.
const DAYS: usize = 182;
/// Hours of a week.
const WEEK: usize = 168;
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

/// The flights.
///
/// The split is fixed by a hash of what is known of a flight before it arrives (minute, origin,
/// destination, miles): of 128 equal shares one goes to validation, one to test, the others to training.
/// So two flights that look the same are in the same split, and a flight of the sample is in the
/// split that it has in the whole. Days are shared by all splits: this measures training, not
/// forecasting.
pub struct Flights;

impl Flights {
    /// Real features.
    pub const DENSE: usize = 5;
    /// Categorical features: origin, destination, route, weekday, hour, day, minute of the hour, and
    /// three pairs: origin and day, destination and day, origin and hour of the week.
    pub const COLUMNS: usize = 10;
    /// Values of each categorical feature.
    pub const SIZES: [usize; Self::COLUMNS] = [
        Self::AIRPORTS,
        Self::AIRPORTS,
        Self::ROUTES,
        7,
        24,
        DAYS,
        60,
        Self::AIRPORTS * DAYS,
        Self::AIRPORTS * DAYS,
        Self::AIRPORTS * WEEK,
    ];
    /// Airports.
    pub const AIRPORTS: usize = 229;
    /// Routes.
    pub const ROUTES: usize = 3399;
    /// Training, validation and test flights of the sample.
    pub const SPLIT_SIZES: [usize; 3] = [393_706, 3_174, 3_120];
    /// Training, validation and test flights of the whole.
    pub const WHOLE_SPLIT_SIZES: [usize; 3] = [2_953_307, 23_354, 23_339];

    /// Rows of an embedding table in which each categorical feature has rows of its own.
    pub fn rows() -> usize {
        Self::SIZES.iter().sum()
    }

    /// Where the sample comes from.
    pub fn source() -> DataSource {
        DataSource {
            name: "US flights of 2001, 400,000 of them: delays, not advertising".into(),
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
        split(timetable, Self::SPLIT_SIZES).map_err(|m| FILE.fault(workload, &m))
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
        split(timetable, Self::WHOLE_SPLIT_SIZES)
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
    match mix(known, 0) % 128 {
        0 => 1,
        1 => 2,
        _ => 0,
    }
}

/// Splits the flights and checks the sizes.
fn split(timetable: Timetable, expected: [usize; 3]) -> Result<[FlightSplit; 3], String> {
    let routes: Arc<[Route]> = timetable.routes.into();
    let mut splits = [(); 3].map(|()| FlightSplit {
        routes: routes.clone(),
        flights: Vec::new(),
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
