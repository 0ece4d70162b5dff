//! Greedy and beam search over a decoder that goes one token at a time.

use velodrome_harness::contract::ModelError;

/// A possible next token and its log probability in nats.
pub type Candidate = (i32, f32);

/// A decoder in the middle of some sequences, one in each row.
pub trait Stepper {
    /// Appends `last`, one token for each row (the start at first), and gives for each row the
    /// `top` most probable next tokens, the best first; fewer where there are fewer tokens.
    fn step(&mut self, last: &[i32], top: usize) -> Result<Vec<Vec<Candidate>>, ModelError>;

    /// Goes on with the rows at `rows` of the present ones, in that order; repeats allowed.
    fn select(&mut self, rows: &[usize]) -> Result<(), ModelError>;
}

/// How a model's output is searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Sequences that are kept at a time; 1 is greedy.
    pub beam: usize,
    /// The exponent of the length penalty, at least 0; greedy search has none.
    pub length_penalty: f64,
    /// The most tokens of an output, its end included.
    pub max_length: usize,
}

impl Search {
    /// Searches for the outputs of `examples` sequences, with `start` before the first token;
    /// `end` is left out of the results.
    pub fn run(
        &self,
        stepper: &mut dyn Stepper,
        examples: usize,
        start: i32,
        end: i32,
    ) -> Result<Vec<Vec<i32>>, ModelError> {
        if self.beam <= 1 {
            greedy(stepper, examples, start, end, self.max_length)
        } else {
            let best = beam_search(stepper, examples, start, end, self)?;
            Ok(best.into_iter().map(|found| found.tokens).collect())
        }
    }
}

/// The most probable next token, again and again, up to `end` (left out) or `max_length` tokens.
/// Rows that have ended are dropped when they are half of all.
pub fn greedy(
    stepper: &mut dyn Stepper,
    examples: usize,
    start: i32,
    end: i32,
    max_length: usize,
) -> Result<Vec<Vec<i32>>, ModelError> {
    let mut found = vec![Vec::new(); examples];
    // Example, last token and whether it goes on, of each row.
    let mut rows: Vec<(usize, i32, bool)> = (0..examples).map(|e| (e, start, true)).collect();
    for _ in 0..max_length {
        if rows.iter().all(|row| !row.2) {
            break;
        }
        let last: Vec<i32> = rows.iter().map(|row| row.1).collect();
        let next = stepper.step(&last, 1)?;
        for (row, candidates) in rows.iter_mut().zip(&next) {
            let Some(&(token, _)) = candidates.first().filter(|_| row.2) else {
                continue;
            };
            row.1 = token;
            row.2 = token != end;
            if let Some(output) = found.get_mut(row.0).filter(|_| row.2) {
                output.push(token);
            }
        }
        let live: Vec<usize> = (0..rows.len()).filter(|&r| rows[r].2).collect();
        if !live.is_empty() && 2 * live.len() <= rows.len() {
            stepper.select(&live)?;
            rows = live.iter().map(|&r| rows[r]).collect();
        }
    }
    Ok(found)
}

/// An output of beam search.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its tokens, without the end.
    pub tokens: Vec<i32>,
    /// Log probability over the length penalty.
    pub score: f64,
}

/// `((5 + length) / 6)^exponent` (Wu et al. 2016, arXiv 1609.08144), of a length that counts the
/// end.
fn penalty(length: usize, exponent: f64) -> f64 {
    ((5.0 + length as f64) / 6.0).powf(exponent)
}

#[derive(Debug, Clone)]
struct Live {
    tokens: Vec<i32>,
    log_probability: f64,
}

#[derive(Debug, Default)]
struct Beam {
    live: Vec<Live>,
    finished: Vec<Found>,
}

impl Beam {
    /// Takes one step: `candidates` of each live sequence. Gives the parent of each sequence that
    /// goes on.
    fn advance(&mut self, candidates: &[Vec<Candidate>], end: i32, search: &Search) -> Vec<usize> {
        let mut all: Vec<(f64, usize, i32)> = Vec::new();
        for (parent, (live, next)) in self.live.iter().zip(candidates).enumerate() {
            let total = |p: f32| live.log_probability + f64::from(p);
            all.extend(next.iter().map(|&(token, p)| (total(p), parent, token)));
        }
        // Ties: the earlier parent, then the smaller token.
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        // Among twice as many, enough go on even where all of one beam end.
        all.truncate(2 * search.beam);
        let (mut live, mut parents) = (Vec::new(), Vec::new());
        for (log_probability, parent, token) in all {
            let Some(mut tokens) = self.live.get(parent).map(|l| l.tokens.clone()) else {
                continue;
            };
            if token == end {
                let score = log_probability / penalty(tokens.len() + 1, search.length_penalty);
                self.finished.push(Found { tokens, score });
            } else if live.len() < search.beam {
                tokens.push(token);
                live.push(Live {
                    tokens,
                    log_probability,
                });
                parents.push(parent);
            }
        }
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(search.beam);
        self.live = live;
        parents
    }

    /// Whether no live sequence can still displace a finished one: log probabilities only fall, and
    /// the penalty of the longest output is the kindest.
    fn is_settled(&self, search: &Search) -> bool {
        let Some(best) = self.live.first() else {
            return true;
        };
        let kindest = best.log_probability / penalty(search.max_length, search.length_penalty);
        let worst = self.finished.get(search.beam - 1);
        worst.is_some_and(|worst| worst.score > kindest)
    }

    /// The best finished sequence; the best live one where none has ended.
    fn best(self) -> Found {
        let live = self.live.into_iter().next().map(|live| Found {
            tokens: live.tokens,
            score: live.log_probability,
        });
        let none = Found {
            tokens: Vec::new(),
            score: f64::NEG_INFINITY,
        };
        self.finished.into_iter().next().or(live).unwrap_or(none)
    }
}

/// Beam search with a length penalty, as AlgoPerf's translation workload decodes: `search.beam`
/// sequences go on at a time, as many finished ones are kept by score, and an example is done when
/// none of the former can displace one of the latter.
pub fn beam_search(
    stepper: &mut dyn Stepper,
    examples: usize,
    start: i32,
    end: i32,
    search: &Search,
) -> Result<Vec<Found>, ModelError> {
    let mut beams: Vec<Beam> = (0..examples)
        .map(|_| Beam {
            live: vec![Live {
                tokens: Vec::new(),
                log_probability: 0.0,
            }],
            finished: Vec::new(),
        })
        .collect();
    // The examples that go on; their live sequences lie one behind the other in the rows.
    let mut active: Vec<usize> = (0..examples).collect();
    let search = Search {
        beam: search.beam.max(1),
        ..*search
    };
    for _ in 0..search.max_length {
        let mut last = Vec::new();
        for beam in active.iter().filter_map(|&e| beams.get(e)) {
            last.extend(
                beam.live
                    .iter()
                    .map(|l| l.tokens.last().copied().unwrap_or(start)),
            );
        }
        if last.is_empty() {
            break;
        }
        let next = stepper.step(&last, 2 * search.beam)?;
        if next.len() != last.len() {
            return Err(ModelError::Compute("a step lost rows".into()));
        }
        let (mut rows, mut still, mut first) = (Vec::new(), Vec::new(), 0);
        for &example in &active {
            let Some(beam) = beams.get_mut(example) else {
                continue;
            };
            let count = beam.live.len();
            let candidates = next.get(first..first + count).unwrap_or_default();
            let parents = beam.advance(candidates, end, &search);
            if !beam.is_settled(&search) {
                rows.extend(parents.iter().map(|p| first + p));
                still.push(example);
            }
            first += count;
        }
        active = still;
        if active.is_empty() {
            break;
        }
        stepper.select(&rows)?;
    }
    Ok(beams.into_iter().map(Beam::best).collect())
}
