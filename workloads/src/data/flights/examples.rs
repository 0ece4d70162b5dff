//! Flights as examples: their real and categorical features.

use super::{DAY, DAYS, Flight, Flights, Route, WEEK};
use std::sync::Arc;
use velodrome_harness::contract::{Dataset, HostBatch, HostField, HostValues};

/// One split. Gives the fields `dense` (real, `[examples, 5]`: `ln(1 + miles) - 6.5`, the time of the day
/// from -1 to 1, its sine and cosine, the day from -1 to 1), `category` (integer, `[examples, columns]`:
/// rows of one embedding table, each feature behind the one before it) and `label` (integer,
/// `[examples]`: 1 for late).
#[derive(Debug, Clone)]
pub struct FlightSplit {
    pub(super) routes: Arc<[Route]>,
    pub(super) flights: Vec<Flight>,
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
        let sizes = Flights::SIZES;
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

/// Values of the categorical features.
fn categories(flight: &Flight, route: &Route) -> [usize; Flights::COLUMNS] {
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
        origin * DAYS + day,
        destination * DAYS + day,
        origin * WEEK + weekday * 24 + hour,
    ]
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
        let data = FlightSplit { routes, flights };
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
        assert_eq!(Flights::SIZES, sizes);
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
        assert_eq!(before as usize, Flights::rows());
    }

    #[test]
    fn all_rows_of_the_table_are_in_range_and_each_split_has_its_share_of_late_flights() {
        for split in Flights::open("test").unwrap() {
            let all: Vec<usize> = (0..split.len()).collect();
            let (dense, category, label) = fields(&split.batch(&all));
            assert!(dense.iter().all(|x| x.abs() <= 3.5));
            let mut from = 0;
            for (column, size) in Flights::SIZES.iter().enumerate() {
                let range = from..from + *size as i32;
                let values = category.iter().skip(column).step_by(Flights::COLUMNS);
                assert!(values.clone().all(|v| range.contains(v)), "column {column}");
                from = range.end;
            }
            let late = label.iter().sum::<i32>() as f64 / split.len() as f64;
            assert!((late - 0.208).abs() < 0.02, "{late}");
        }
    }
}
