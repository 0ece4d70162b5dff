//! The embedded sample of flights: the format that `data/make/flights.py` describes.

use super::{Flight, Flights, LAST_MINUTE, Route, Timetable};

/// Flights of the sample.
const FLIGHTS: usize = 100_000;
/// Length of the header.
const HEADER: usize = 20;

/// Reads the sample.
pub(super) fn parse(content: &[u8]) -> Result<Timetable, String> {
    let (head, rest) = content.split_at_checked(HEADER).ok_or("is cut short")?;
    if !head.starts_with(b"VFLT") {
        return Err("does not start with `VFLT`".into());
    }
    let number = |at: usize| {
        let bytes = head[4 * at..4 * at + 4].iter().rev();
        bytes.fold(0usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let found = [1, 2, 3, 4].map(number);
    let expected = [1, Flights::AIRPORTS, Flights::ROUTES, FLIGHTS];
    if found != expected {
        return Err(format!("header is {found:?}, expected {expected:?}"));
    }
    let [_, airports, routes, flights] = expected;
    let mut rest = rest;
    let mut take = |length: usize| {
        let (part, behind) = rest.split_at_checked(length).ok_or("is cut short")?;
        rest = behind;
        Ok::<&[u8], String>(part)
    };
    let airports = read_airports(take(3 * airports)?)?;
    let routes = read_routes(take(4 * routes)?, airports.len())?;
    let steps = (take(flights)?, take(flights)?);
    let places = (take(flights)?, take(flights)?);
    let late = take(flights.div_ceil(8))?;
    if !rest.is_empty() {
        return Err(format!("holds {} bytes too many", rest.len()));
    }
    let steps = steps.0.iter().zip(steps.1);
    let places = places.0.iter().zip(places.1);
    let bits = late
        .iter()
        .flat_map(|byte| (0..8).map(move |b| byte >> b & 1 == 1));
    let wide = |(low, high): (&u8, &u8)| u16::from_le_bytes([*low, *high]);
    let mut minute = 0u32;
    let flights = steps.zip(places).zip(bits).enumerate();
    let flights = flights
        .map(|(at, ((step, route), late))| {
            minute = minute.saturating_add(u32::from(wide(step)));
            let route = wide(route);
            if minute > LAST_MINUTE || usize::from(route) >= routes.len() {
                return Err(format!(
                    "flight {}: minute {minute} or route {route} is out of range",
                    at + 1
                ));
            }
            Ok(Flight {
                minute,
                route,
                late,
            })
        })
        .collect::<Result<_, String>>()?;
    Ok(Timetable {
        airports,
        routes,
        flights,
    })
}

fn read_airports(bytes: &[u8]) -> Result<Vec<[u8; 3]>, String> {
    let (codes, _) = bytes.as_chunks::<3>();
    match codes.iter().position(|c| !super::parquet::is_code(c)) {
        Some(at) => Err(format!("airport {}: not three capital letters", at + 1)),
        None => Ok(codes.to_vec()),
    }
}

fn read_routes(bytes: &[u8], airports: usize) -> Result<Vec<Route>, String> {
    let (records, _) = bytes.as_chunks::<4>();
    let route = |(at, record): (usize, &[u8; 4])| {
        let [origin, destination, low, high] = *record;
        if usize::from(origin.max(destination)) >= airports {
            return Err(format!("route {}: an airport that is not there", at + 1));
        }
        Ok(Route {
            origin,
            destination,
            miles: u16::from_le_bytes([low, high]),
        })
    };
    records.iter().enumerate().map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_flight_are_those_of_the_package() {
        let table = parse(&super::super::FILE.unpack("test").unwrap()).unwrap();
        assert_eq!(table.flights.len(), FLIGHTS);
        assert!(table.routes.is_sorted() && table.airports.is_sorted());
        let named = |flight: &Flight| {
            let route = table.routes[usize::from(flight.route)];
            let code =
                |at: u8| String::from_utf8(table.airports[usize::from(at)].to_vec()).unwrap();
            let ends = (code(route.origin), code(route.destination));
            (flight.minute, ends.0, ends.1, route.miles, flight.late)
        };
        let [first, middle, last] = [0, 50_000, FLIGHTS - 1].map(|i| named(&table.flights[i]));
        assert_eq!(first, (1, "MCI".into(), "MDW".into(), 405, false));
        assert_eq!(middle, (131_545, "PHL".into(), "LAS".into(), 2176, false));
        assert_eq!(last, (260_639, "PIT".into(), "BOS".into(), 496, true));
        let late = table.flights.iter().filter(|f| f.late).count();
        assert_eq!(late, 20_596);
    }

    #[test]
    fn damaged_content_is_refused_with_the_record() {
        let content = super::super::FILE.unpack("test").unwrap();
        assert!(parse(&content[..10]).is_err());
        assert!(parse(&content[..content.len() - 1]).is_err());
        let mut longer = content.clone();
        longer.push(0);
        assert!(parse(&longer).unwrap_err().contains("too many"));
        let routes = HEADER + 3 * Flights::AIRPORTS;
        let steps = routes + 4 * Flights::ROUTES;
        for (at, value, message) in [
            (0, b'X', "VFLT"),
            (8, 0, "header"),
            (HEADER + 3, b'1', "airport 2"),
            (routes + 5, 229, "route 2"),
            (steps + FLIGHTS + 1, 255, "flight"),
            (steps + 3 * FLIGHTS + 4, 255, "flight 5"),
        ] {
            let mut bad = content.clone();
            bad[at] = value;
            let error = parse(&bad).unwrap_err();
            assert!(error.contains(message), "byte {at}: {error}");
        }
    }
}
